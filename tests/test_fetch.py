"""From a report run to a file: whole and checked, or an error and nothing, whatever happens on the way."""

from __future__ import annotations

import hashlib
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.report import Landed, land_report
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.reporting.errors import DownloadError, ReportColumnsError, ReportingError
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.sandbox import AtOnce, CutBody, Fault, StripeSandbox, WrongSize
from airflow_reportrun.wire import downloads
from tests.test_downloads import ALL

TYPE = "balance_change_from_activity.itemized.3"
COLUMNS = ("balance_transaction_id", "description", "net")


@pytest.fixture
def path(tmp_path: Path, stripe_conn: StripeSandbox) -> Path:
    """Where a report is to go, when the sandbox answers at once."""
    stripe_conn.configure(transition=AtOnce())
    return tmp_path / "new" / "report.csv"


def finished(**options: object) -> ReportRun:
    parameters = ReportParameters(interval_start=1714521600, interval_end=1715126400, **options)  # type: ignore[arg-type]
    return StripeReportingHook().create_report_run(TYPE, parameters)


def hook(tries: int = 2) -> StripeReportingHook:
    it = StripeReportingHook()
    it.resend_policy = ResendPolicy(max_tries=tries, first_pause=0)
    return it


def fetch(hook: StripeReportingHook, run: ReportRun, path: Path) -> Landed:
    return land_report(hook, run, place_of(str(path)))


def serve(sandbox: StripeSandbox, tmp_path: Path, contents: bytes) -> None:
    source = tmp_path / "source"
    source.write_bytes(contents)
    sandbox.serve_file(source)


def test_a_report_lands_with_the_columns_that_were_asked_for(path: Path) -> None:
    """And its size and digest are told."""
    landed = fetch(hook(), finished(columns=COLUMNS), path)
    contents = path.read_bytes()
    assert contents.startswith(b'"balance_transaction_id","description","net"\n"')
    digest = hashlib.sha256(contents).hexdigest()
    assert (landed.manifest.size, landed.manifest.sha256) == (len(contents), digest)


def test_a_header_alone_is_a_report(stripe_conn: StripeSandbox, path: Path, tmp_path: Path) -> None:
    """Nothing happened in the interval."""
    serve(stripe_conn, tmp_path, b'"balance_transaction_id","description","net"\n')
    fetch(hook(), finished(columns=COLUMNS), path)
    assert path.read_bytes().count(b"\n") == 1


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b'{"error": {"message": "An error", "type": "api_error"}}', "not a report, but JSON"),
        (b"<html><body>Sign in</body></html>", "not a report, but HTML"),
        (b'"balance_transaction_id","description","net"\n"txn_1","a', "breaks off inside a quoted cell of row 1"),
        (b"", "not even a header"),
    ],
)
def test_what_is_no_report_does_not_land(
    stripe_conn: StripeSandbox, path: Path, tmp_path: Path, contents: bytes, message: str
) -> None:
    """Also where its size is the one that Stripe says."""
    serve(stripe_conn, tmp_path, contents)
    with pytest.raises(DownloadError, match=message):
        fetch(hook(), finished(columns=COLUMNS), path)
    assert list(path.parent.iterdir()) == []


def test_a_report_that_lacks_columns_is_not_read_again(
    stripe_conn: StripeSandbox, path: Path, tmp_path: Path
) -> None:
    """The error names them, and what was there stays."""
    fetch(hook(), finished(columns=COLUMNS[:2]), path)
    before = {it.name: it.read_bytes() for it in path.parent.iterdir()}
    serve(stripe_conn, tmp_path, b'"balance_transaction_id","description"\n')
    with pytest.raises(ReportColumnsError, match="missing: net"):
        fetch(hook(), finished(columns=COLUMNS), path)
    assert {it.name: it.read_bytes() for it in path.parent.iterdir()} == before
    assert len(stripe_conn.requests_to("contents")) == 2


def test_a_compressed_file_lands_as_it_is(stripe_conn: StripeSandbox, path: Path, tmp_path: Path) -> None:
    """Who asks for one knows; it has no header to look at."""
    serve(stripe_conn, tmp_path, b"PK\3\4")
    from dataclasses import replace

    run = finished(columns=COLUMNS)
    fetch(hook(), replace(run, parameters={**run.parameters, "compress_file": True}), path)
    assert path.read_bytes() == b"PK\3\4"


def test_a_file_that_has_no_room_is_not_asked_for(stripe_conn: StripeSandbox, path: Path) -> None:
    """Nothing is sent or written; there may be room when the task is tried again."""
    stripe_conn.inject(WrongSize(by=2**50))
    with pytest.raises(DownloadError, match=r"has 1125\d+ bytes, and .* has room for \d+; nothing") as caught:
        fetch(hook(), finished(), path)
    assert caught.value.is_transient
    assert not path.parent.exists()
    assert stripe_conn.requests_to("contents") == []


FAULTS: list[Fault] = [*ALL, CutBody(5_000), CutBody(7_000)]


@pytest.mark.parametrize("seed", range(30))
def test_faults_land_the_report_or_nothing(
    stripe_conn: StripeSandbox, path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Any of them, one after the other, on a report of some chunks; no temporary file is left either."""
    monkeypatch.setattr(downloads, "CHUNK_SIZE", 1_000)
    run = finished()
    fetch(hook(), run, path)
    expected = path.read_bytes()
    shutil.rmtree(path.parent)
    rng = random.Random(seed)  # noqa: S311 - no secret
    for fault in rng.choices(FAULTS, k=5):
        stripe_conn.inject(fault, on="contents")
    with suppress(ReportingError):
        fetch(hook(tries=rng.randint(1, 6)), run, path)
    there = {it.name: it.read_bytes() for it in path.parent.iterdir()}
    assert there.pop(path.name, None) == (expected if there else None)
    assert not there or list(there) == ["_report.csv.manifest.json"]
