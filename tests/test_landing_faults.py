"""Every fault of a download, in each format and store: the right report or a clear error, never a wrong file."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_reportrun import downloads
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.report import FORMATS, Landed, land_report
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.reporting.errors import DownloadError, ReportingError
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.retries import RetryPolicy
from airflow_reportrun.sandbox import (
    AtOnce,
    CutBody,
    Fault,
    IgnoresRange,
    OtherRange,
    ProxyPage,
    SharesFile,
    ShortContents,
    StripeSandbox,
    WrongLength,
    WrongSize,
)
from tests.s3 import S3
from tests.shelves import STORES, Shelf, require_landed, shelf
from tests.test_downloads import ALL
from tests.test_faults_by_call import DOWNLOADS, TIMEOUT, Case

TYPE = "balance_change_from_activity.itemized.3"
COLUMNS = ("balance_transaction_id", "description", "net")
TRIES = 2
CHUNK = 1_000
"""Bytes, here, so that a small report is of several chunks."""

CORNERS = list(itertools.product(STORES, FORMATS))


@dataclass
class Landing:
    """A report that landed before, and one that is to take its place.

    :param old: what is there: the file, and what tells of it.
    :param csv: the contents of the one to come, as Stripe wrote them.
    :param parquet: the same as Parquet.
    """

    shelf: Shelf
    format: str
    run: ReportRun
    old: dict[str, bytes]
    csv: bytes
    parquet: bytes

    @property
    def name(self) -> str:
        return f"report.{self.format}"

    def land(self, run: ReportRun | None = None, tries: int = TRIES) -> Landed:
        place = place_of(self.shelf.destination(self.name))
        return land_report(hook(tries), run or self.run, place, format=self.format)

    def require_new(self, run: ReportRun | None = None) -> None:
        require_landed(self.shelf.contents(), self.name, (run or self.run).id, self.csv, self.parquet)
        assert self.shelf.unfinished() == []

    def require_old(self) -> None:
        assert self.shelf.contents() == self.old
        assert self.shelf.unfinished() == []


def hook(tries: int = TRIES) -> StripeReportingHook:
    it = StripeReportingHook()
    it.retry_policy = RetryPolicy(max_tries=tries, first_pause=0)
    return it


def finished(**options: object) -> ReportRun:
    parameters = ReportParameters(interval_start=1714521600, interval_end=1714780800, **options)  # type: ignore[arg-type]
    return hook().create_report_run(TYPE, parameters)


@pytest.fixture
def corner(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The store and the format."""
    found: tuple[str, str] = request.param
    return found


@pytest.fixture
def landing(
    stripe_conn: StripeSandbox,
    s3: S3,
    tmp_path: Path,
    corner: tuple[str, str],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Landing:
    """A report of three days over the same three days with fewer columns."""
    monkeypatch.setattr(downloads, "CHUNK_SIZE", CHUNK)
    stripe_conn.configure(transition=AtOnce())
    store, format = corner
    name = re.sub(r"\W+", "-", request.node.name)
    before, run = finished(columns=COLUMNS), finished()
    for format_ in ("csv", "parquet"):
        land_report(hook(), run, place_of(str(tmp_path / "expected" / f"x.{format_}")), format=format_)
    csv, parquet = ((tmp_path / "expected" / f"x.{it}").read_bytes() for it in ("csv", "parquet"))
    it = Landing(shelf(store, name, tmp_path, s3), format, run, {}, csv, parquet)
    it.land(before)
    it.old = it.shelf.contents()
    assert len(it.old) == 2
    return it


def in_corners(*cases: Case | Fault, every: bool = True) -> pytest.MarkDecorator:
    """Run a test with each case in every store and format, or in turn in one of them."""
    if every:
        pairs = list(itertools.product(cases, CORNERS))
    else:
        pairs = list(zip(cases, itertools.cycle(CORNERS), strict=False))
    return pytest.mark.parametrize(
        ("fault", "corner"),
        [
            pytest.param(case, corner, id=f"{case.fault if isinstance(case, Case) else case!r}-{'-'.join(corner)}")
            for case, corner in pairs
        ],
        indirect=["corner"],
    )


QUICK = [case for case in DOWNLOADS if not case.takes_time]
SLOW = [case for case in DOWNLOADS if case.takes_time]


@in_corners(*QUICK)
def test_a_fault_that_passes_lands_the_report(landing: Landing, stripe_conn: StripeSandbox, fault: Case) -> None:
    """What is not worth another try is an error at once, and what was there stays."""
    stripe_conn.inject(fault.fault, on="contents")
    if fault.error and not fault.again:
        with pytest.raises(fault.error):
            landing.land()
        landing.require_old()
    else:
        landing.land()
        landing.require_new()


@in_corners(*[case for case in QUICK if case.error])
def test_a_fault_that_stays_is_an_error_and_the_old_report_stays(
    landing: Landing, stripe_conn: StripeSandbox, fault: Case
) -> None:
    """With its manifest, and nothing beside them; once the fault is over the new one lands."""
    assert fault.error
    stripe_conn.inject(fault.fault, times=TRIES, on="contents")
    with pytest.raises(fault.error):
        landing.land(tries=TRIES if fault.again else 1)
    landing.require_old()
