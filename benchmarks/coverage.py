"""Which of ten years of daily intervals are landed: on disk and in an S3, beside a plain list of the files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial

from airflow_reportrun.landing.lake import layout, manifest_of
from airflow_reportrun.landing.manifest import Manifest, iso
from airflow_reportrun.landing.stores import place_of
from benchmarks.measuring import Comparison, Figures, compare, cost, fresh
from tests.s3 import running_s3

RUNS = 3
TYPE = "balance_change_from_activity.itemized.3"
FIRST = date(2016, 1, 1)
DAYS = 3653
UNITS = {"wall": "s", "cpu": "s"}
NOTE = (
    f"{DAYS} days, of which each tenth is missing, and each seventh has no rows. Each run is a process of its own."
)


def run() -> Iterator[Comparison]:
    """Measure a lake that is landed at once, so that no manifest is older than another."""
    with tempfile.TemporaryDirectory() as folder:
        yield _compare("on disk", f"{folder}/lake")
    with running_s3() as s3:
        os.environ.update(s3.environ)
        yield _compare("in an S3 on the same machine", s3.destination("lake"))


def _compare(where: str, root: str) -> Comparison:
    _fill(root)
    contenders: dict[str, Callable[[], Figures]] = {
        "a list of the files": partial(fresh, _listed, root),
        "coverage": partial(fresh, _covered, root),
        "the command": partial(_command, root),
    }
    return compare(f"coverage of ten years {where}", UNITS, contenders, runs=RUNS, note=NOTE)


def _fill(root: str) -> None:
    """Put the files and manifests of landed days into a store."""
    header, row = (
        b"balance_transaction_id,created,currency,gross,fee,net\n",
        b"txn_1,2026-01-01,usd,1.00,0.10,0.90\n",
    )
    for number in range(DAYS):
        if number % 10 == 3:
            continue
        start = datetime.combine(FIRST + timedelta(days=number), datetime.min.time(), UTC)
        bounds = {"interval_start": start, "interval_end": start + timedelta(days=1)}
        contents = header + row * (0 if number % 7 == 5 else number % 90 + 1)
        place = place_of("/".join([root, *layout({"report_type": TYPE, **bounds}), "report.csv"]))
        mark = place.write(contents)
        told = Manifest(
            report_run_id=f"frr_{number}",
            report_run_created=iso(start.timestamp()),
            report_type=TYPE,
            parameters={name: int(it.timestamp()) for name, it in bounds.items()},
            interval_start=iso(start.timestamp()),
            interval_end=iso(bounds["interval_end"].timestamp()),
            stripe_account=None,
            livemode=False,
            file_id=f"file_{number}",
            file_size=len(contents),
            file_sha256=hashlib.sha256(contents).hexdigest(),
            rows=contents.count(b"\n") - 1,
            columns=tuple(header.decode().strip().split(",")),
            format="csv",
            path="report.csv",
            size=len(contents),
            sha256=hashlib.sha256(contents).hexdigest(),
            etag=place.etag(mark),
        )
        manifest_of(place).write(told.to_json().encode())


def _listed(root: str) -> Figures:
    place = place_of(f"{root}/_")
    return cost(lambda: place.files_below(place.folders))


def _covered(root: str) -> Figures:
    from airflow_reportrun.coverage.looking import look_at, source_of
    from airflow_reportrun.coverage.series import State

    now = datetime.combine(FIRST + timedelta(days=DAYS + 1), datetime.min.time(), UTC).timestamp()

    def look() -> None:
        (series,) = look_at(source_of(root), now=now).series
        counts = series.counts()
        missing = sum(number % 10 == 3 for number in range(DAYS))
        empty = sum(number % 7 == 5 and number % 10 != 3 for number in range(DAYS))
        if (counts[State.MISSING], counts[State.EMPTY]) != (missing, empty):
            raise RuntimeError(f"{missing} days are missing and {empty} are empty, not {counts}")

    return cost(look)


def _command(root: str) -> Figures:
    words = [
        sys.executable,
        "-m",
        "airflow",
        "reportrun",
        "coverage",
        root,
        "--to-date",
        "2026-01-01",
        "-o",
        "plain",
    ]

    def call() -> None:
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 3 or done.stdout.count("missing") < DAYS // 10:
            raise RuntimeError(done.stderr)

    return cost(call, children=True)
