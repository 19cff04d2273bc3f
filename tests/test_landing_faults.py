"""Every fault of a download, in each format and store: the right report or a clear error, never a wrong file."""

from __future__ import annotations

import gc
import io
import itertools
import json
import os
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.formats import FORMATS
from airflow_reportrun.landing.formats.parquet import write_parquet
from airflow_reportrun.landing.report import Landed, finished_file, land_report
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.reporting.errors import DownloadError, ReportingError
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.sandbox import (
    AtOnce,
    CutBody,
    Drips,
    Fault,
    Framed,
    Garbage,
    Gzipped,
    IgnoresRange,
    OtherRange,
    ProxyPage,
    RateLimited,
    SharesFile,
    ShortContents,
    Stalls,
    StripeSandbox,
    WrongLength,
    WrongSize,
)
from airflow_reportrun.wire import downloads
from tests.shelves import STORES, Buckets, Shelf, require_landed, shelf
from tests.test_downloads import ALL
from tests.test_faults_by_call import DOWNLOADS, TIMEOUT, Case, hasty

pytestmark = pytest.mark.slow

TYPE = "balance_change_from_activity.itemized.3"
COLUMNS = ("balance_transaction_id", "description", "net")
TRIES = 2
CHUNK = 1_000
"""Bytes, here, so that a small report is of several chunks."""

CORNERS = tuple(itertools.product(STORES, FORMATS))
Corner = tuple[str, str]
"""A store and a format."""


@dataclass
class Landing:
    """A report that landed before, and one that is to take its place.

    :param run: the one to come.
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
        """What the file is called."""
        return f"report.{self.format}"

    def land(self, run: ReportRun | None = None, tries: int = TRIES) -> Landed:
        """Land a report run, the one to come unless told otherwise."""
        place = place_of(self.shelf.destination(self.name))
        return land_report(hook(tries), run or self.run, place, format=self.format)

    def require_new(self, run: ReportRun | None = None) -> None:
        """Assert that the report that was to come is there, whole, and nothing besides."""
        require_landed(self.shelf.contents(), self.name, (run or self.run).id, self.csv, self.parquet)
        assert self.shelf.unfinished() == []

    def require_old(self) -> None:
        """Assert that all is as it was."""
        assert self.shelf.contents() == self.old
        assert self.shelf.unfinished() == []


def hook(tries: int = TRIES) -> StripeReportingHook:
    it = StripeReportingHook()
    it.resend_policy = hasty(tries) if tries > 1 else ResendPolicy(max_tries=1, max_refused=0)
    return it


def finished(**options: object) -> ReportRun:
    parameters = ReportParameters(interval_start=1714521600, interval_end=1714780800, **options)  # type: ignore[arg-type]
    return hook().create_report_run(TYPE, parameters)


@pytest.fixture(scope="module")
def expected() -> Iterator[dict[str, bytes]]:
    """The report's contents by format: the sandbox writes the same for the same interval."""
    gc.freeze()  # of all that is imported here, so that the collections of `Shelf.unfinished` are quick
    yield {}
    gc.unfreeze()


@pytest.fixture
def landing(
    stripe_conn: StripeSandbox,
    buckets: Buckets,
    tmp_path: Path,
    corner: Corner,
    expected: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> Landing:
    """A report of three days, over one of the same days with fewer columns."""
    monkeypatch.setattr(downloads, "CHUNK_SIZE", CHUNK)
    stripe_conn.configure(transition=AtOnce())
    store, format = corner
    before, run = finished(columns=COLUMNS), finished()
    if not expected:
        expected["csv"] = hook().read_file(finished_file(run), b"".join)
        target = io.BytesIO()
        write_parquet([expected["csv"]], target)
        expected["parquet"] = target.getvalue()
    it = Landing(shelf(store, uuid.uuid4().hex, tmp_path, buckets), format, run, {}, **expected)
    it.land(before)
    it.old = it.shelf.contents()
    assert len(it.old) == 2
    return it


def named(case: object, corner: Corner) -> object:
    fault = case.fault if isinstance(case, Case) else case
    return pytest.param(case, corner, id=f"{fault!r}-{'-'.join(corner)}")


def in_corners(*cases: object) -> pytest.MarkDecorator:
    """Run a test in each store and format."""
    return pytest.mark.parametrize(
        ("case", "corner"), [named(case, corner) for case in cases for corner in CORNERS]
    )


def in_turn(*cases: object) -> pytest.MarkDecorator:
    """Run a test in one store and format after the other."""
    return pytest.mark.parametrize(
        ("case", "corner"),
        [named(case, corner) for case, corner in zip(cases, itertools.cycle(CORNERS), strict=False)],
    )


IN_THE_BODY = (CutBody, Framed, Garbage, Gzipped, Stalls, WrongLength)
BODIES = [case for case in DOWNLOADS if isinstance(case.fault, IN_THE_BODY) and not case.takes_time]
TIMES = [case for case in DOWNLOADS if case.takes_time and case.fault != Drips(0.05, after=300)]  # takes longer
OTHERS = [case for case in DOWNLOADS if case not in BODIES and not case.takes_time]


def require_right(landing: Landing, stripe: StripeSandbox, case: Case) -> None:
    """Let a fault stay, and then happen once more and pass."""
    if case.error:
        # Refusals are not counted: one that stays is one that is not sent again.
        tries = TRIES if case.again and not isinstance(case.fault, RateLimited) else 1
        stripe.inject(case.fault, times=tries, on="contents")
        with pytest.raises(case.error):
            landing.land(tries=tries)
        landing.require_old()
    if not case.error or case.again:
        stripe.inject(case.fault, on="contents")
    landing.land()
    landing.require_new()


@in_corners(*BODIES)
def test_a_fault_in_the_bytes_lands_the_report_or_nothing(
    landing: Landing, stripe_conn: StripeSandbox, case: Case
) -> None:
    """Where it stays it is an error, and the old report stays; where it passes the new one is there."""
    require_right(landing, stripe_conn, case)


@in_turn(*OTHERS)
def test_a_fault_before_the_bytes_lands_the_report_or_nothing(
    landing: Landing, stripe_conn: StripeSandbox, case: Case
) -> None:
    """The same, where no byte of a report comes: stores and formats see no difference."""
    require_right(landing, stripe_conn, case)


@in_turn(*TIMES)
def test_a_download_that_takes_too_long_lands_nothing(
    landing: Landing, stripe_conn: StripeSandbox, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old report stays."""
    assert case.error
    connection = json.loads(os.environ["AIRFLOW_CONN_STRIPE_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps({**connection, "extra": {"timeout": TIMEOUT}}))
    stripe_conn.inject(case.fault, times=1000, on="contents")
    with pytest.raises(case.error):
        landing.land(tries=1)
    landing.require_old()


@in_corners(ShortContents(kept=5_000), CutBody(5_000, "close"), WrongLength(-10), ProxyPage(200))
def test_bytes_that_are_not_the_file_do_not_land(
    landing: Landing, stripe_conn: StripeSandbox, case: Fault
) -> None:
    """HTTP has nothing to say against them; the File has."""
    stripe_conn.inject(case, times=TRIES, on="contents")
    with pytest.raises(ReportingError) as caught:
        landing.land()
    assert caught.value.is_transient
    landing.require_old()
    stripe_conn.inject(case, on="contents")
    landing.land()
    landing.require_new()


@in_corners(IgnoresRange(), OtherRange(), OtherRange(by=-500), CutBody(2_000), Garbage(after=3_000))
def test_a_report_that_goes_on_after_a_cut_is_the_same(
    landing: Landing, stripe_conn: StripeSandbox, case: Fault
) -> None:
    """Also where the server knows no ranges, sends another one, or breaks off again."""
    stripe_conn.inject(CutBody(6_000), on="contents")
    stripe_conn.inject(case, on="contents")
    landing.land(tries=4)
    landing.require_new()


NO_REPORTS = {
    "JSON": b'{"error": {"message": "An error", "type": "api_error"}}',
    "HTML": b"<html><body>Sign in</body></html>",
    "half a row": b'"balance_transaction_id","description","net"\n"txn_1","a',
    "nothing": b"",
}


@in_corners(*NO_REPORTS)
def test_what_is_no_report_does_not_land(
    landing: Landing, stripe_conn: StripeSandbox, tmp_path: Path, case: str
) -> None:
    """Although its size is the one that Stripe says."""
    (tmp_path / "source").write_bytes(NO_REPORTS[case])
    stripe_conn.serve_file(tmp_path / "source")
    with pytest.raises(DownloadError):
        landing.land(finished(columns=COLUMNS))
    landing.require_old()


@in_turn(*(WrongSize(by) for by in (-1, 1, 100) for _ in STORES))
def test_a_file_of_another_size_does_not_land(landing: Landing, stripe_conn: StripeSandbox, case: Fault) -> None:
    """Stripe's own word is what it is held against."""
    stripe_conn.inject(case)
    with pytest.raises(DownloadError):
        landing.land(finished())
    landing.require_old()


@in_corners("expired")
def test_a_file_that_expired_leaves_what_is_there(landing: Landing, stripe_conn: StripeSandbox, case: str) -> None:
    """It is an error that stays."""
    stripe_conn.advance(366 * 86_400)
    with pytest.raises(ReportingError) as caught:
        landing.land()
    assert not caught.value.is_transient
    landing.require_old()


@in_corners(SharesFile())
def test_a_file_that_another_run_landed_is_not_transferred_again(
    landing: Landing, stripe_conn: StripeSandbox, case: Fault
) -> None:
    """The manifest goes on telling of the run that did."""
    landing.land()
    stripe_conn.inject(case)
    other = finished()
    assert finished_file(other) == finished_file(landing.run)
    before = len(stripe_conn.requests_to("contents"))
    assert landing.land(other).manifest.report_run_id == landing.run.id
    assert len(stripe_conn.requests_to("contents")) == before
    landing.require_new()


@in_corners("same contents")
def test_the_same_contents_in_another_file_leave_the_data_alone(landing: Landing, case: str) -> None:
    """It is not published again; the manifest tells of the newer run."""
    landing.land()
    before = landing.shelf.stamp(landing.name)
    other = finished()
    landing.land(other)
    landing.require_new(other)
    assert landing.shelf.stamp(landing.name) == before


BREAKS: tuple[Fault, ...] = (*ALL, CutBody(2_000), CutBody(5_000), CutBody(9_000, "chunked"), CutBody(12_000))


@in_corners(0, 1)
def test_no_sequence_of_faults_makes_a_wrong_file(landing: Landing, stripe_conn: StripeSandbox, case: int) -> None:
    """The new report or the old one, whatever happens in which order."""
    rng = random.Random(f"{case}-{landing.format}-{landing.shelf.url[:3]}")  # noqa: S311 - no secret
    for fault in rng.choices(BREAKS, k=6):
        stripe_conn.inject(fault, on="contents")
    try:
        landing.land(tries=rng.randint(1, 7))
    except ReportingError:
        landing.require_old()
    else:
        landing.require_new()
