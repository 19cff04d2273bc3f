"""What it costs a DAG file to import our classes, on top of Airflow's own, beside the HTTP provider's operator."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

RUNS = 9
BASE = "from airflow.sdk import DAG, BaseOperator, BaseSensorOperator"
OURS = "import airflow_reportrun.operators, airflow_reportrun.sensors, airflow_reportrun.triggers"
THEIRS = "import airflow.providers.http.operators.http"

PROGRAM = f"""
{BASE}
import sys, time
modules, started = len(sys.modules), time.perf_counter()
{{statement}}
print((time.perf_counter() - started) * 1000, len(sys.modules) - modules)
"""


def main() -> None:
    """Print the medians of alternating runs, byte code compiled beforehand."""
    figures: dict[str, list[tuple[float, int]]] = {OURS: [], THEIRS: []}
    for run in range(RUNS + 1):
        for statement, measured in figures.items():
            figure = _measure(statement)
            if run:  # the first run compiles
                measured.append(figure)
    print(f"\nImport on top of `{BASE}`, medians of {RUNS}")
    for statement, measured in figures.items():
        milliseconds = statistics.median(figure[0] for figure in measured)
        print(f"  {milliseconds:6.1f} ms  {measured[0][1]:4} modules  {statement}")


def _measure(statement: str) -> tuple[float, int]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", PROGRAM.format(statement=statement)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    milliseconds, modules = done.stdout.split()[-2:]
    return float(milliseconds), int(modules)


if __name__ == "__main__":
    main()
