"""A report's way to the disk, checked and hashed, beside ``curl -o`` of the same file."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

RUNS = 5
SIZES = (64 << 20, 1 << 30)

# The figures of the download alone: a task has Airflow imported anyway.
PROGRAM = """
import json, resource, sys, time
from pathlib import Path
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.files import land
hook = StripeReportingHook()
file = hook.retrieve_report_run(sys.argv[1]).result
Path(sys.argv[2]).unlink()
before = resource.getrusage(resource.RUSAGE_SELF)
started = time.perf_counter()
hook.read_file(file, lambda chunks: land(chunks, Path(sys.argv[2]), expected_size=file.size))
wall = time.perf_counter() - started
after = resource.getrusage(resource.RUSAGE_SELF)
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps([cpu, wall, (after.ru_maxrss - before.ru_maxrss) / 1024]))
"""


class Figures(NamedTuple):
    """CPU and wall time in seconds, memory in MiB above what the process had before."""

    cpu: float
    wall: float
    memory: float = 0.0


def main() -> None:
    """Print the medians of alternating runs."""
    curl = shutil.which("curl")
    if curl is None:
        raise SystemExit("The comparison needs curl.")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            _compare(curl, Path(folder), size)


def _compare(curl: str, folder: Path, size: int) -> None:
    source, target = folder / "source.csv", folder / "target.csv"
    with source.open("wb") as file:
        block = b'"txn_0123456789","2024-05-01 00:00:00","usd","12.34"\n' * 20_000
        for _ in range(size // len(block) + 1):
            file.write(block)
        file.truncate(size)
    ours, pipe = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(source, pipe))
    server.start()
    run_id, file_url, connection = ours.recv()
    os.environ["AIRFLOW_CONN_STRIPE_DEFAULT"] = json.dumps(connection)
    url, key = file_url, connection["password"]
    programs: dict[str, Callable[[], Figures]] = {
        "curl -o": lambda: _curl(curl, url, key, target),
        "curl -o, then sync": lambda: _curl(curl, url, key, target, then_sync=True),
        "ours: size, sha256, fsync": lambda: _ours(run_id, target),
    }
    figures: dict[str, list[Figures]] = {name: [] for name in programs}
    for _ in range(RUNS):
        for name, program in programs.items():
            # Each program twice, and the second run counts: the memory that the file before gives back costs
            # more or less to take, depending on who wrote that one.
            program()
            figures[name].append(program())
    server.terminate()
    server.join()
    print(f"\nDownload of {size >> 20} MiB to a new file, medians of {RUNS}")
    baseline = statistics.median(figure.cpu for figure in figures["curl -o"])
    for name, measured in figures.items():
        cpu = statistics.median(figure.cpu for figure in measured)
        wall = statistics.median(figure.wall for figure in measured)
        memory = statistics.median(figure.memory for figure in measured)
        print(
            f"  {name:26} {cpu:5.2f} s CPU, {cpu / baseline:4.2f} of curl's  {wall:5.2f} s  "
            f"{memory:5.1f} MiB above the start"
        )


def _curl(curl: str, url: str, api_key: str, target: Path, *, then_sync: bool = False) -> Figures:
    target.unlink(missing_ok=True)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([curl, "-sf", "-H", f"Authorization: Bearer {api_key}", "-o", str(target), url], check=True)
    if then_sync:
        subprocess.run(["sync", str(target)], check=True)  # noqa: S607 - wherever the system has it
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Figures(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall)


def _ours(run_id: str, target: Path) -> Figures:
    command = [sys.executable, "-c", PROGRAM, run_id, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Figures(*json.loads(done.stdout.splitlines()[-1]))


def _serve(source: Path, pipe: Connection) -> None:
    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.reporting.parameters import ReportParameters
    from airflow_reportrun.sandbox import AtOnce, StripeSandbox

    with StripeSandbox(transition=AtOnce()) as sandbox:
        sandbox.serve_file(source)
        connection = {"conn_type": "stripe", "host": sandbox.url, "password": sandbox.api_key}
        os.environ["AIRFLOW_CONN_STRIPE_DEFAULT"] = json.dumps(connection)
        parameters = ReportParameters(interval_start=1714521600, interval_end=1714608000)
        run = StripeReportingHook().create_report_run("balance.summary.1", parameters)
        pipe.send((run.id, run.result.url if run.result else "", connection))
        pipe.recv_bytes()


if __name__ == "__main__":
    main()
