"""A landing that is killed (-9) at any step: what a reader sees meanwhile, and what the next try makes of it.

In a local folder and in object stores. A store in memory ends with the process that is killed.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.formats import FORMATS
from airflow_reportrun.landing.manifest import Manifest
from airflow_reportrun.landing.report import finished_file, land_report
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from tests.killable import Killable, killable
from tests.shelves import STORES, Buckets, Shelf, is_told, manifest_name, require_landed, shelf

pytestmark = pytest.mark.slow

TYPE = "balance_change_from_activity.itemized.3"
SEED = 5
POINTS = 5
"""In each store and format, with and without a report that is there before; ``EVERY_POINT=1`` takes them all."""

STORING = {
    "local": {"mkdir", "flock", "fsync", "replace", "unlink"},
    "s3": {"create_multipart_upload", "upload_part", "complete_multipart_upload", "put_object"},
    "gs": {"begin", "complete", "put"},
    "abfs": {"stage_block", "commit_block_list", "upload_blob"},
}
"""What has to be among the steps, or the points would miss it."""

CASES = list(itertools.product([it for it in STORES if it != "memory"], FORMATS, ("new", "replacing")))


@pytest.fixture(scope="module")
def processes() -> Iterator[Killable]:
    with killable() as started:
        yield started


class Reader:
    """Somebody who looks at a shelf all the time.

    :ivar wrong: what should never have been seen.
    :ivar looks: how often it looked.
    """

    def __init__(self, there: Shelf, name: str, whole: tuple[bytes, ...]) -> None:
        self.wrong: list[str] = []
        self.looks = 0
        self._shelf, self._name, self._whole = there, name, whole
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._enough.set()
        self._thread.join()
        self.look()

    def _run(self) -> None:
        while not self._enough.is_set():
            self.look()

    def look(self) -> None:
        """Read the data with its manifest before and after: one that stayed is of the data in between.

        One that says that the data is being landed says nothing of what is there.
        """
        before = self._shelf.read(manifest_name(self._name))
        data = self._shelf.read(self._name)
        after = self._shelf.read(manifest_name(self._name))
        if data is not None and data not in self._whole:
            self.wrong.append(f"a part of {len(data)} bytes")
        landed = before is not None and not Manifest.from_json(before).landing
        if before is not None and landed and before == after and (data is None or not is_told(before, data)):
            self.wrong.append("a manifest of other data")
        self.looks += 1


def finished(**options: object) -> ReportRun:
    parameters = ReportParameters(interval_start=1714521600, interval_end=1714780800, **options)  # type: ignore[arg-type]
    return StripeReportingHook().create_report_run(TYPE, parameters)


def land(run: ReportRun, folder: Shelf, name: str) -> bytes:
    """Land a report here; return the contents of its file."""
    place = place_of(folder.destination(name))
    land_report(StripeReportingHook(), run, place, format=name.partition(".")[2])
    data = folder.read(name)
    assert data is not None
    return data


@pytest.mark.parametrize(("store", "format", "state"), CASES, ids=["-".join(case) for case in CASES])
def test_a_landing_that_is_killed_is_made_whole_by_the_next_try(
    stripe_conn: StripeSandbox,
    buckets: Buckets,
    processes: Killable,
    tmp_path: Path,
    store: str,
    format: str,
    state: str,
) -> None:
    """Before and after each step that touches the store; no reader ever sees a part, and nothing is left."""
    stripe_conn.configure(transition=AtOnce())
    name = f"report.{format}"
    before, run = finished(columns=("balance_transaction_id", "description", "net")), finished()
    csv = StripeReportingHook().read_file(finished_file(run), b"".join)
    elsewhere = Shelf(str(tmp_path / "elsewhere"), folder=tmp_path / "elsewhere")
    parquet = land(run, elsewhere, "x.parquet")
    whole = (land(before, elsewhere, f"before.{format}"), land(run, elsewhere, f"after.{format}"))

    def fresh() -> Shelf:
        it = shelf(store, uuid.uuid4().hex, tmp_path, buckets)
        if state == "replacing":
            land(before, it, name)
        return it

    there = fresh()
    ended, steps = processes.land(there.destination(name), run.id, format, None)
    assert ended
    require_landed(there.contents(), name, run.id, csv, parquet)
    assert STORING[store] <= {step.partition(" ")[2] for step in steps}
    rng = random.Random(f"{SEED} {store} {format} {state}")  # noqa: S311 - no secret
    every = range(len(steps))
    for at in every if os.environ.get("EVERY_POINT") else rng.sample(every, POINTS):
        there = fresh()
        with Reader(there, name, whole) as reader:
            ended, taken = processes.land(there.destination(name), run.id, format, at)
            assert not ended
            assert taken == steps[:at]
            land(run, there, name)
        assert not reader.wrong, (steps[at], at, reader.wrong)
        assert reader.looks > 1
        require_landed(there.contents(), name, run.id, csv, parquet)
