"""What it costs a DAG file to import our classes, on top of Airflow's own, beside the HTTP provider's operator."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.measuring import Comparison, Figures, compare

RUNS = 5
BASE = "from airflow.sdk import DAG, BaseOperator, BaseSensorOperator"
MODULES = {
    "HttpOperator": "airflow.providers.http.operators.http",
    "ours: operators, sensors, triggers": (
        "airflow_reportrun.operators, airflow_reportrun.sensors, airflow_reportrun.triggers"
    ),
}

PROGRAM = f"""
{BASE}
import json, sys, time
modules, cpu, started = len(sys.modules), time.process_time(), time.perf_counter()
import {{modules}}
wall = time.perf_counter() - started
cpu = time.process_time() - cpu
print(json.dumps({{{{"cpu": cpu * 1000, "wall": wall * 1000, "modules": len(sys.modules) - modules}}}}))
"""


def run() -> Iterator[Comparison]:
    """Measure with byte code compiled: the first import of each is not counted."""
    contenders = {name: partial(_import, modules) for name, modules in MODULES.items()}
    for contender in contenders.values():
        contender()
    units = {"cpu": "ms", "wall": "ms", "modules": "count"}
    yield compare("import on top of airflow.sdk", units, contenders, runs=RUNS)


def _import(modules: str) -> Figures:
    program = [sys.executable, "-c", PROGRAM.format(modules=modules)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures
