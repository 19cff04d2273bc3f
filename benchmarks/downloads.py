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
from multiprocessing.connection import Connection
from pathlib import Path

RUNS = 5
SIZES = (64 << 20, 1 << 30)

# The figures of the download alone: a task has Airflow imported anyway. Either program begins just after the
# other's file was deleted: freeing or first touching a gigabyte of memory costs more than downloading it.
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
    with_curl, with_us = [], []
    for _ in range(RUNS):
        target.unlink(missing_ok=True)
        with_curl.append(_curl(curl, file_url, connection["password"], target))
        command = [sys.executable, "-c", PROGRAM, run_id, str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        with_us.append(json.loads(done.stdout.splitlines()[-1]))
    server.terminate()
    server.join()
    cpu, wall, memory = (statistics.median(figures) for figures in zip(*with_us, strict=True))
    curl_cpu, curl_wall = (statistics.median(figures) for figures in zip(*with_curl, strict=True))
    print(f"\nDownload of {size >> 20} MiB to a new file, medians of {RUNS}")
    print(f"  curl -o                        {curl_cpu:5.2f} s CPU  {curl_wall:5.2f} s")
    print(
        f"  ours, size checked and sha256  {cpu:5.2f} s CPU  {wall:5.2f} s  "
        f"{cpu / curl_cpu:.2f} of curl's CPU, {memory:.1f} MiB above the start"
    )


def _curl(curl: str, url: str, api_key: str, target: Path) -> tuple[float, float]:
    import time

    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([curl, "-sf", "-H", f"Authorization: Bearer {api_key}", "-o", str(target), url], check=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


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
