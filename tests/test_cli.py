"""The command line: what it prints, how it ends, and that it asks for nothing that it does not say."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet
import pytest
from deltalake import write_deltalake

from airflow_reportrun.__main__ import main
from airflow_reportrun.cli import planned
from airflow_reportrun.cli.dags import dag_of
from airflow_reportrun.cli.definition import COMMANDS, get_cli_commands
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.lake import manifest_of
from airflow_reportrun.landing.manifest import iso
from airflow_reportrun.landing.sql.report import DatabaseTable
from airflow_reportrun.landing.sql.warehouse import warehouse_of
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.landing.tables import land_in
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AfterSeconds, AtOnce, RunFails, RunNeverEnds, StripeSandbox
from airflow_reportrun.wire.connection import ConnectionSettings
from tests.databases import Warehouse
from tests.icebergs import needs_its_catalog
from tests.task_runner import TaskRunner
from tests.versions import AIRFLOW, AIRFLOW_2, BEFORE_3_3, needs_airflow, needs_airflow_3

TYPE = "balance_change_from_activity.itemized.3"
FIRST = datetime(2026, 11, 1, tzinfo=UTC)

DAG_FILE = """
from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_reportrun.operators import (
    StripeReportDownloadOperator, StripeReportRunOperator, StripeReportToSqlOperator
)

with DAG("books", schedule="0 13 * * *", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False) as dag:
    report = StripeReportRunOperator(
        task_id="report", report_type="{type}", interval="day", retries=3, currency="usd",
        destination="{root}/{{{{ ds }}}}/{{interval_start:%Y-%m-%d}}.csv", {options}
    )
    StripeReportDownloadOperator(
        task_id="to_lake", report_run_id=report.output, destination="{root}/lake/", format="csv.gz"
    )
    StripeReportToSqlOperator(
        task_id="to_warehouse", report_run_id=report.output, conn_id="warehouse", table="activity"
    )
"""


@pytest.fixture(autouse=True)
def sandbox(stripe_conn: StripeSandbox) -> StripeSandbox:
    end = FIRST + timedelta(days=8)
    stripe_conn.configure(transition=AtOnce(), data_available_end=int(end.timestamp()))
    return stripe_conn


@pytest.fixture(autouse=True)
def _no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's own database has no DAG runs, and the process is as it was afterwards."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    monkeypatch.setattr(planned.Existing, "of", classmethod(lambda cls, dag_id: cls()))


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Return the exit code of a command, and what it has written to stdout and stderr."""
    capsys.readouterr()
    code: Any = 0
    try:
        main([str(word) for word in words])
    except SystemExit as left:
        code = left.code
    written = capsys.readouterr()
    # Airflow 2 logs one where it looks for a connection and its database has no tables, as here.
    assert AIRFLOW_2 or "Traceback" not in written.err
    return code, written.out, written.err


def rows(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> list[dict[str, Any]]:
    """Return what a command has written as JSON."""
    left, out, err = call(capsys, *words, "--output", "json")
    assert left == code, err
    found: list[dict[str, Any]] = json.loads(out)
    return found


def day(number: int) -> list[str]:
    start = FIRST + timedelta(days=number - 1)
    return [f"--interval-start={start.isoformat()}", f"--interval-end={(start + timedelta(days=1)).isoformat()}"]


def dag_file(tmp_path: Path, options: str = "") -> Path:
    file = tmp_path / "books.py"
    file.write_text(DAG_FILE.format(type=TYPE, root=tmp_path / "reports", options=options))
    return file


def test_types_says_what_the_account_can_run(capsys: pytest.CaptureFixture[str]) -> None:
    """From when to when there is data, what is asked for, and the columns by name where they are not too many."""
    code, out, _ = call(capsys, "types")
    assert code == 0
    assert len(out.splitlines()) > len(StripeReportingHook().list_report_types())
    (row,) = rows(capsys, "types", "balance.summary.1")
    assert row == {
        "id": "balance.summary.1",
        "name": "Balance summary",
        "data_available_start": "2022-01-01T00:00:00Z",
        "data_available_end": "2026-11-09T00:00:00Z",
        "parameters": ["interval_start", "interval_end"],
        "columns": ["category", "description", "net_amount", "currency"],
        "livemode": "False",
    }
    for output in ("yaml", "plain", "table"):
        assert "net_amount" in call(capsys, "types", "balance.summary.1", "-o", output)[1]


def test_a_failure_is_one_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On stderr, with nothing on stdout: what Stripe said, what is no connection, and what is a bug."""
    code, out, err = call(capsys, "types", "balance.sumary.1")
    assert (code, out) == (1, "")
    assert err == "The account has no report type balance.sumary.1. The account has balance.summary.1.\n"
    _, _, err = call(capsys, "types", "nope.1")
    assert err.splitlines()[-1].endswith("none of a like name; airflow reportrun types lists them.")
    code, out, err = call(capsys, "types", "--stripe-conn-id", "nobody")
    assert (code, out) == (1, "")
    assert "there is no Airflow connection 'nobody'" in err.splitlines()[-1]
    monkeypatch.setattr(StripeReportingHook, "list_report_types", lambda self: 1 / 0)
    code, out, err = call(capsys, "types")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "ZeroDivisionError: division by zero (--verbose says where)"


def test_airflows_own_logs_are_for_who_asks(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback of Airflow's stands before no sentence of ours, whose own warnings stay."""

    def log(self: StripeReportingHook) -> list[Any]:
        logging.getLogger("airflow.of.theirs").error("theirs")
        logging.getLogger("airflow_reportrun.of.ours").warning("ours")
        with suppress(ImportError):  # Airflow 2 is without it
            import structlog

            structlog.get_logger(logger_name="airflow.of.theirs").error("theirs")
            structlog.get_logger(logger_name="somebody").error("somebody's")
        return []

    monkeypatch.setenv("AIRFLOW_CONN_ODD", '{"conn_type": "stripe", "password": "sk_test_odd", "extra": "{odd"}')
    code, _, err = call(capsys, "types", "--stripe-conn-id=odd")
    assert (code, len(err.splitlines())) == (1, 1), err
    monkeypatch.setattr(StripeReportingHook, "list_report_types", log)
    for verbose in ([], ["--verbose"], []):
        caplog.clear()
        err = call(capsys, "types", *verbose)[2]
        assert sorted(caplog.messages) == (["ours", "theirs"] if verbose else ["ours"])
        assert "theirs" not in err or verbose
        assert AIRFLOW_2 or (bool(verbose), True) == ("theirs" in err, "somebody's" in err)


@pytest.mark.parametrize("verbose", [[], ["--verbose"]])
def test_a_failure_shows_no_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verbose: list[str]
) -> None:
    """Whatever error quotes it."""

    def fail(self: StripeReportingHook) -> None:
        raise ValueError("no sk_test_sandbox here")

    monkeypatch.setattr(StripeReportingHook, "list_report_types", fail)
    with pytest.raises(SystemExit):
        main(["types", *verbose])
    said = capsys.readouterr().err
    assert "ValueError: no " in said
    assert "no sk_test_sandbox" not in said.replace('raise ValueError("no sk_test_sandbox here")', "")


def test_verbose_shows_where_it_failed(capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback is for who asks for it."""
    with pytest.raises(SystemExit) as left:
        main(["types", "balance.sumary.1", "--verbose"])
    assert left.value.code == 1
    assert "Traceback" in capsys.readouterr().err


def test_run_lands_one_report(capsys: pytest.CaptureFixture[str], tmp_path: Path, sandbox: StripeSandbox) -> None:
    """With a manifest, as a task does; what is asked is what the options say."""
    (row,) = rows(capsys, "run", TYPE, f"{tmp_path}/", *day(2), "--currency=usd", "--columns=currency,gross")
    (run,) = sandbox.report_runs
    assert (row["report_run_id"], row["interval_start"]) == (run.id, "2026-11-02T00:00:00Z")
    assert run.parameters["columns"] == ["currency", "gross"]
    assert run.parameters["currency"] == "usd"
    landed = Path(row["path"])
    assert landed.stat().st_size == int(row["size"])
    assert landed.read_text().splitlines()[0].replace('"', "") == "currency,gross"
    shown = call(capsys, "run", TYPE, f"{tmp_path}/once.csv.gz", "--interval=day", "--format=csv.gz")
    assert shown[0] == 0
    assert "2026-11-08T00:00:00Z" in shown[1]
    assert "downloading" not in shown[2]  # it is drawn in a terminal alone


@pytest.mark.parametrize("no_color", [{}, {"NO_COLOR": "1"}], ids=["colours", "none"])
def test_run_draws_a_bar_that_fits_a_narrow_terminal(
    tmp_path: Path, sandbox: StripeSandbox, no_color: dict[str, str]
) -> None:
    """In one of 40 columns the bar gives way, not the time or the bytes: while it waits, and while they come."""
    sandbox.configure(transition=AfterSeconds(0.5))
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    left_out = ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR")
    env = {name: it for name, it in os.environ.items() if name not in left_out}
    command = subprocess.Popen(
        [sys.executable, "-m", "airflow_reportrun", "run", TYPE, f"{tmp_path}/", *day(2), "--output=json"],
        env={**env, "TERM": "xterm-256color", **no_color},
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    drawn = b""
    with suppress(OSError):  # of what has no writer any more
        while chunk := os.read(ours, 65536):
            drawn += chunk
    os.close(ours)
    out, _ = command.communicate()
    lines = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", drawn.decode()).replace("\r", "\n").splitlines()
    (landed,) = json.loads(out)
    assert landed["report_run_id"] == sandbox.report_runs[0].id
    waited = [line for line in lines if line.startswith("waiting")]
    assert all(re.fullmatch(r"waiting +[━╸╺ ]{4,} +\d:\d\d:\d\d", line) for line in waited), waited
    size = f"{int(landed['size']) / 1000:.1f}"
    came = [line for line in lines if line.startswith("downloading")]
    assert re.fullmatch(rf"downloading +━{{4,}} {size}/{size} kB \d:\d\d:\d\d", came[-1]), came
    assert max(map(len, (*waited, *came))) <= 40
    assert (b"\x1b[38" in drawn) is not bool(no_color)


def test_run_takes_the_names_of_columns(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sandbox: StripeSandbox
) -> None:
    """As a task does: metadata as JSON, and a schema that stays."""
    asked = ["--format=parquet", "--metadata=json", "--naming=snake_case", "--schema=freeze"]
    itemized = "balance_change_from_activity.itemized.3", f"{tmp_path}/", *asked
    columns = "--columns=net,payment_metadata[order_id]"
    (row,) = rows(capsys, "run", *itemized, *day(1), columns)
    assert pyarrow.parquet.read_schema(row["path"]).names == ["net", "payment_metadata"]
    left, _, err = call(capsys, "run", *itemized, *day(2), f"{columns},fee")
    assert (left, "lacks 'fee' (money(6))" in err) == (1, True), err


def test_run_refuses_what_is_wrong_before_it_asks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sandbox: StripeSandbox
) -> None:
    """A place where another day is landed, one that is no place, a missing bound, options that contradict."""
    rows(capsys, "run", TYPE, f"{tmp_path}/here.csv", *day(1))
    for words, code, said in (
        ([f"{tmp_path}/here.csv", *day(2)], 1, "another report is landed there"),
        (["reports/", *day(2)], 1, "is relative"),
        ([f"{tmp_path}/", day(2)[0]], 1, "interval_end"),
        ([f"{tmp_path}/", *day(2), "--interval=day"], 2, "instead of both"),
        ([f"{tmp_path}/", *day(2), "--timezone=CEST"], 2, "--timezone: 'CEST' is no IANA name"),
        ([f"{tmp_path}/", "--interval-start=2026-11-01", day(1)[1]], 1, "without an offset"),
    ):
        left, out, err = call(capsys, "run", TYPE, *words)
        assert (left, out) == (code, ""), err
        assert said in err
    assert len(sandbox.report_runs) == 1


@pytest.mark.parametrize(
    ("words", "said", "unsaid"),
    [
        (["here.csv", "--format=parquet"], ", or land csv, with --format csv.", "StripeReportDownloadOperator"),
        (["1.csv"], "Remove it, or set --overwrite to have the report in its place", "overwrite=True"),
        (["x/", "--payout=po_1"], "leave out payout.", "parameter_shape"),
        (["x/", "--format=csv", "--naming=snake_case"], "are for the format parquet", "naming="),
        (["1.parquet", "--format=parquet", "--schema=freeze"], "--schema freeze can't tell", "schema="),
        (["x/", "--stripe-conn-id=nobody"], "--stripe-conn-id: there is no Airflow", "stripe_conn_id"),
        (["old.csv"], "Ask for an interval that begins later.", "on_missing_data"),
        (["new.csv"], "Ask again later, or for an interval that ends earlier.", "wait_for_data"),
    ],
)
def test_run_speaks_of_its_own_options(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    sandbox: StripeSandbox,
    words: list[str],
    said: str,
    unsaid: str,
) -> None:
    """And not of those that operators have; which are more, so that some words are left out."""
    (tmp_path / "1.csv").write_text("mine")
    years = {"old.csv": 2001, "new.csv": 2101}
    year = years.get(words[0])
    bounds = [f"--interval-start={year}-01-01T00Z", f"--interval-end={year}-01-02T00Z"] if year else day(1)
    code, out, err = call(capsys, "run", TYPE, f"{tmp_path}/{words[0]}", *words[1:], *bounds)
    assert (code, out) == (1, ""), err
    assert said in err
    assert unsaid not in err
    assert sandbox.report_runs == []


def test_run_takes_a_key_that_does_not_tell_its_mode(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sandbox: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is for is known when the report run is there, and test data never lands beside live data."""
    root, said = f"{tmp_path}/lake/", "has live data (report run "
    sandbox.add_key("sk_live_sandbox")
    connection = {"conn_type": "stripe", "host": sandbox.url, "password": "sk_live_sandbox"}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_LIVE", json.dumps(connection))
    rows(capsys, "run", TYPE, root, "--stripe-conn-id=stripe_live", *day(1))
    code, _, err = call(capsys, "run", TYPE, root, *day(2))
    assert (code, said in err, len(sandbox.report_runs)) == (1, True, 1)
    monkeypatch.setattr(ConnectionSettings, "livemode", None)
    rows(capsys, "run", TYPE, root, "--stripe-conn-id=stripe_live", *day(2))
    code, _, err = call(capsys, "run", TYPE, root, *day(3))
    assert (code, said in err, len(sandbox.report_runs)) == (1, True, 3)


def test_run_says_how_a_report_run_ended(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sandbox: StripeSandbox
) -> None:
    """A failed one in Stripe's words; one that is pending still can be waited for again."""
    sandbox.inject(RunFails("Too much of it."))
    code, out, err = call(capsys, "run", TYPE, f"{tmp_path}/", *day(1))
    assert (code, out) == (1, "")
    assert "Too much of it." in err
    sandbox.inject(RunNeverEnds())
    code, out, err = call(capsys, "run", TYPE, f"{tmp_path}/", *day(2), "--wait-timeout=0.01")
    run = sandbox.report_runs[-1]
    assert (code, out) == (1, "")
    assert f"still pending after 0.01 s; --report-run-id {run.id} waits for it" in err
    sandbox.reset()
    sandbox.configure(transition=AtOnce())
    (row,) = rows(capsys, "run", TYPE, f"{tmp_path}/", *day(3))
    (again,) = rows(capsys, "run", TYPE, f"{tmp_path}/again.csv", f"--report-run-id={row['report_run_id']}")
    assert again["sha256"] == row["sha256"]
    assert (
        call(capsys, "run", "balance.summary.1", f"{tmp_path}/", f"--report-run-id={row['report_run_id']}")[0] == 2
    )
    assert len(sandbox.report_runs) == 1


def test_run_that_is_interrupted_says_what_goes_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: StripeSandbox
) -> None:
    """Stripe can't cancel a report run."""

    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    sandbox.inject(RunNeverEnds())
    monkeypatch.setattr("airflow_reportrun.cli.run.wait", interrupt)
    code, out, err = call(capsys, "run", TYPE, f"{tmp_path}/", *day(1))
    assert (code, out) == (130, "")
    assert f"{sandbox.report_runs[0].id} goes on at Stripe" in err


def test_coverage_is_a_calendar(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A line for each month, a sign for each day; the code says that something is missing."""
    for number in (1, 2, 4):
        rows(capsys, "run", TYPE, f"{tmp_path}/lake/", *day(number))
    what = ["coverage", f"{tmp_path}/lake/", "--to-date=2026-11-07"]
    code, out, err = call(capsys, *what)
    assert (code, err) == (3, "")
    assert [line.rstrip() for line in out.splitlines()] == [
        f"{TYPE} (test data), by day, UTC",
        "         1    6    11   16   21   26   31",
        "2026-11  ■■✗■✗✗",
        "■ 3 landed   ✗ 3 missing",
        "2026-11-03T00:00:00Z to 2026-11-04T00:00:00Z",
        "2026-11-05T00:00:00Z to 2026-11-07T00:00:00Z",
        "",
    ]
    assert call(capsys, "coverage", f"{tmp_path}/lake/", "--to-date=2026-11-03")[0] == 0
    gaps = ["coverage", f"{tmp_path}/lake/", "--to-date=2026-11-03", "--gaps"]
    assert call(capsys, *gaps) == (0, "", f"There are no gaps in {tmp_path}/lake.\n")
    assert rows(capsys, *gaps) == rows(capsys, "coverage", f"{tmp_path}/nowhere/", code=3) == []
    found = rows(capsys, *what, code=3)
    assert [it["state"] for it in found] == ["landed", "landed", "missing", "landed", "missing", "missing"]
    assert Path(found[0]["manifest"]).exists()
    assert found[2]["path"] is None
    assert call(capsys, *what, "-o", "plain")[1].count(f" {TYPE} ".lstrip()) == 6
    assert "state: missing" in call(capsys, *what, "-o", "yaml")[1]


def test_coverage_asks_stripe_where_a_connection_is_given(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sandbox: StripeSandbox
) -> None:
    """Without one, nothing is asked. Who asked the same elsewhere is told, and is no change by itself."""
    for number in (6, 7):
        rows(capsys, "run", TYPE, f"{tmp_path}/lake/", *day(number))
    sandbox.advance(60)
    newer = [rows(capsys, "run", TYPE, f"{tmp_path}/elsewhere/", *day(it))[0]["report_run_id"] for it in (6, 7)]
    asked = len(sandbox.requests)
    rows(capsys, "coverage", f"{tmp_path}/lake", code=3)
    assert len(sandbox.requests) == asked
    what = ["coverage", f"{tmp_path}/lake", "--stripe-conn-id=stripe_default"]
    code, _, err = call(capsys, *what, "--to-date=2026-11-08")
    assert (code, "newer report runs of 2 that are landed, with files of the same size" in err) == (0, True)
    note = manifest_of(place_of(rows(capsys, *what, code=3)[0]["path"]))
    told = json.loads(note.read() or b"")
    note.write(json.dumps({**told, "file_size": told["file_size"] + 1}).encode())
    found = rows(capsys, *what, code=3)
    assert [it["state"] for it in found][:4] == ["changed", "landed", "missing", "not_yet"]
    assert [it["newer_report_run"] for it in found][:3] == [*newer, None]
    assert {it.method for it in sandbox.requests[asked:]} == {"GET"}


def test_the_days_of_another_zone_are_looked_at_by_its_clocks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A month without its first day is not complete, although all that begins in it by UTC is there."""
    for number in (1, 2):
        start = datetime(2026, 10, 1 + number, tzinfo=ZoneInfo("Europe/Berlin"))
        bounds = (start, start + timedelta(days=1))
        words = [f"--interval-{name}={it.isoformat()}" for name, it in zip(("start", "end"), bounds, strict=True)]
        rows(capsys, "run", TYPE, f"{tmp_path}/lake/", *words)
    what = ["coverage", f"{tmp_path}/lake/", "--from-date=2026-10-01", "--to-date=2026-10-04"]
    for zone in ([], ["--timezone=Europe/Berlin"]):
        found = rows(capsys, *what, *zone, code=3)
        assert [it["state"] for it in found] == ["missing", "landed", "landed"]
        assert found[0]["interval_start"] == "2026-09-30T22:00:00Z"


def test_what_is_not_yet_there_is_missing_up_to_a_date(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A script that closes a month asks by it; without a date, what is under way belongs there."""
    for number in (7, 8):
        rows(capsys, "run", TYPE, f"{tmp_path}/lake/", *day(number))
    what = ["coverage", f"{tmp_path}/lake/", "--stripe-conn-id=stripe_default", "--from-date=2026-11-07"]
    assert [it["state"] for it in rows(capsys, *what)][:3] == ["landed", "landed", "not_yet"]
    assert len(rows(capsys, *what, "--to-date=2026-11-09")) == 2
    assert len(rows(capsys, *what, "--to-date=2026-11-10", code=3)) == 3
    code, _, err = call(capsys, "coverage", f"{tmp_path}/lake/", "--to-date=2026-11-03")
    assert (code, "Nothing is landed in" in err) == (3, True)


@needs_airflow_3("airflow backfill create")
def test_coverage_gives_the_backfills(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Lines to paste, of the DAG's own ticks, for what the DAG lands."""
    for number in (1, 3):
        rows(capsys, "run", TYPE, f"{tmp_path}/lake/", *day(number), "--currency=usd")
    what = ["coverage", f"{tmp_path}/lake/", "--dag-id=books", f"--dag-file={dag_file(tmp_path)}"]
    what += ["--to-date=2026-11-06"]
    line = (
        "airflow backfill create --dag-id books --from-date 2026-11-03T13:00:00+00:00"
        " --to-date 2026-11-03T13:00:00+00:00 --reprocess-behavior completed"
    )
    assert line in call(capsys, *what)[1].splitlines()
    gaps = rows(capsys, *what, "--gaps", code=3)
    assert [it["interval_start"] for it in gaps] == ["2026-11-02T00:00:00Z", "2026-11-04T00:00:00Z"]
    assert gaps[0]["backfill"] == line
    for number in (1, 3):
        rows(capsys, "run", TYPE, f"{tmp_path}/all/", *day(number))
    code, out, err = call(capsys, *what[:1], f"{tmp_path}/all/", *what[2:])
    assert (code, "backfill" in out) == (3, False)
    assert f"books does not land {TYPE}, so that no backfill of it fills what is missing." in err.splitlines()


ODD = """
from datetime import datetime, timezone

from airflow.sdk import DAG, task, task_group

from airflow_reportrun.operators import StripeReportRunOperator, StripeReportToSqlOperator


class Mine(StripeReportRunOperator):
    template_fields = ("report_type", "destination")


@task
def told():
    return None


report = {{"report_type": "{type}", "interval": "day"}}
with DAG("books", schedule="0 13 * * *", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), catchup=False):
    {tasks}
"""


@needs_airflow_3("airflow backfill create")
@pytest.mark.parametrize(
    "tasks",
    [
        'StripeReportRunOperator(task_id="it", stripe_account=told(), currency=told(), **report)',
        'StripeReportRunOperator(task_id="it", parameters=told(), **report)',
        'StripeReportRunOperator(task_id="it", parameters="{{ params.all }}", **report)',
        'Mine(task_id="it", destination="/lake/", **report)',
        'it = StripeReportRunOperator(task_id="it", currency="usd", **report); '
        'StripeReportToSqlOperator(task_id="land", report_run_id=it.output, conn_id="warehouse", table="t", '
        'hook_params={"at": datetime(2026, 1, 1)})',
        'task_group(group_id="all")(lambda it: StripeReportRunOperator(task_id="it", currency=it, **report))'
        '.expand(it=["usd", "eur"])',
    ],
    ids=["XComs", "parameters of an XCom", "parameters of a template", "a class", "a hook", "a mapped group"],
)
def test_what_only_a_task_knows_keeps_no_backfill_back(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tasks: str
) -> None:
    """It may be what the series is of."""
    for number in (1, 3):
        rows(capsys, "run", TYPE, f"{tmp_path}/lake/", *day(number), "--currency=usd")
    file = tmp_path / "books.py"
    file.write_text(ODD.format(type=TYPE, tasks=tasks))
    code, out, err = call(capsys, "coverage", f"{tmp_path}/lake/", "--dag-id=books", f"--dag-file={file}")
    assert (code, "backfill create --dag-id books" in out) == (3, True), err


def test_coverage_says_what_it_cannot_mean(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Neither store nor table, both, a date that is none, a DAG that lands nothing; and nothing is landed."""
    for words, code, said in (
        ([], 2, "Give a DESTINATION, --table and one of --conn-id, --catalog-conn-id and --warehouse, or"),
        (["--conn-id=warehouse", "--warehouse=/lake", "--table=it"], 2, "Give a DESTINATION, --table and one"),
        (["--warehouse=/nowhere", "--table=/a/b"], 2, "Give a DESTINATION, --table and one"),
        ([f"--table={tmp_path}/activity"], 3, f"There is no table in {tmp_path}/activity."),
        ([f"--warehouse={tmp_path}/lake", "--table=a.b"], 3, f"There is no table a.b in {tmp_path}/lake."),
        ([tmp_path, "--conn-id=warehouse", "--table=it"], 2, "Give a DESTINATION"),
        (["--table=it"], 2, "Give a DESTINATION"),
        ([tmp_path, "--timezone=Europe/Berlyn"], 2, "--timezone: 'Europe/Berlyn' is no IANA name of a time zone"),
        ([tmp_path, "--timezone=Europe/Berlyn"], 2, "did you mean Europe/Berlin?"),
        (["--conn-id=nobody", "--table=it"], 1, "--conn-id: there is no Airflow connection 'nobody'"),
        ([tmp_path, "--from-date=yesterday"], 2, "'yesterday' is no date"),
        ([tmp_path, "--from-date=2026-11-02", "--to-date=2026-11-02"], 2, "is not before --to-date 2026-11-02"),
        ([tmp_path, "--stripe-account=acct_1"], 2, "--stripe-account is for --stripe-conn-id"),
        (["lake/"], 1, "no absolute path"),
        (["s3://nobody@b/x/"], 1, "destination 's3://nobody@b/x/': there is no Airflow connection 'nobody'"),
        (["s3://nobody@b/{currency}.csv"], 1, "destination 's3://nobody@b/{currency}.csv': there is no"),
        (
            [tmp_path],
            3,
            f"Nothing is landed in {tmp_path}. One file lies there without a manifest; a lake that was",
        ),
        ([tmp_path / "nowhere"], 3, f"There is no folder {tmp_path}/nowhere."),
        (
            [dag_file(tmp_path)],
            3,
            f"There is no folder {tmp_path}/books.py, but a file that no manifest tells of.",
        ),
        ([tmp_path, "--dag-id=nobody", f"--dag-file={dag_file(tmp_path)}"], 1, "There is no DAG 'nobody'"),
        ([tmp_path, "--dag-id=books", f"--dag-file={tmp_path / 'books.py'}", "--task-id=x"], 2, "has no Stripe"),
    ):
        left, out, err = call(capsys, "coverage", *words)
        assert (left, out) == (code, ""), err
        assert said in err


def test_plan_says_what_the_tasks_then_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sandbox: StripeSandbox, sqlite: Warehouse
) -> None:
    """The very key, parameters and places; it sends nothing, and sees afterwards what has landed."""
    file = dag_file(tmp_path)
    what = ["plan", "books", f"--dag-file={file}", "--from-date=2026-11-04", "--to-date=2026-11-04T23:59:59"]
    before = len(sandbox.requests)
    report, to_lake, to_warehouse = rows(capsys, *what)
    assert len(sandbox.requests) == before
    assert not (tmp_path / "reports").exists()
    assert [it["task_id"] for it in (report, to_lake, to_warehouse)] == ["report", "to_lake", "to_warehouse"]
    assert json.loads(report["parameters"]) == {"currency": "usd"}
    assert {it["landed"] for it in (report, to_lake, to_warehouse)} == {None}

    dag = dag_of("books", str(file))
    at = datetime(2026, 11, 4, 13, tzinfo=UTC)
    end = at + timedelta(days=1) if AIRFLOW_2 else at
    fields = {"logical_date": at, "data_interval_start": at, "data_interval_end": end, "run_after": end}
    runner = TaskRunner(run_id=report["run_id"], dag_run={**fields, "run_type": "backfill"})
    tried = [runner.run(dag.task_dict[task_id]) for task_id in ("report", "to_lake", "to_warehouse")]
    assert [it.state for it in tried] == ["success"] * 3, [it.error for it in tried]
    (sent,) = [it for it in sandbox.requests if it.method == "POST"]
    assert sent.idempotency_key == report["idempotency_key"]
    asked = sandbox.report_runs[0].parameters
    assert iso(str(asked["interval_start"])) == report["interval_start"]
    assert [it.returned["path"] for it in tried[:2]] == [report["destination"], to_lake["destination"]]
    assert to_warehouse["destination"] == "activity of warehouse"
    again = rows(capsys, *what)
    assert [it["landed"] for it in again] == [sandbox.report_runs[0].id] * 3


def test_plan_says_what_is_known_at_run_time_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sqlite: Warehouse
) -> None:
    """Of an XCom, of a fresh run, and of what a template finds in a running task alone: no failure."""
    when = ["--from-date=2026-11-04", "--to-date=2026-11-04T23:59:59"]
    for options, words in (
        ("payout=None, parameters={'x': \"{{ ti.xcom_pull(task_ids='a') }}\"}", "parameters: an XCom"),
        (
            "connected_account=StripeReportRunOperator(task_id='a', report_type='balance.summary.1').output",
            "an XCom",
        ),
        ("fresh=True", "fresh=True makes it of when the DAG run begins"),
        ("timezone='{{ nobody.knows }}'", "timezone: UndefinedError"),
        ("timezone='{{ prev_start_date_success }}'", "timezone: "),
    ):
        planned = rows(capsys, "plan", "books", f"--dag-file={dag_file(tmp_path, options)}", *when)
        report = next(it for it in planned if it["task_id"] == "report")
        assert words in report["note"], report
        assert report["landed"] is None
        assert not report["idempotency_key"]


@pytest.mark.parametrize(
    ("before", "after", "task_id", "words"),
    [
        ('currency="usd"', "timezone='Mars/Olympus'", "report", "fails: timezone is an IANA name"),
        ('currency="usd"', "interval_start='2026-11-01'", "report", "fails: interval_start"),
        ('currency="usd"', "currency='{{{{ 1 / 0 }}}}'", "report", "fails: currency: ZeroDivisionError"),
        ('.csv"', '{{{{ var.value.nope }}}}"', "report", "fails: destination: "),
        ('.csv"', '{{nope}}.csv"', "report", "fails: destination"),
        ('.csv"', '{{{{ conn.nope.host }}}}"', "report", "fails: destination: "),
        ('/lake/"', '/{{nope}}/"', "to_lake", "fails: destination"),
        ('/lake/"', '/{{{{ var.value.nope }}}}/"', "to_lake", "fails: destination: "),
        ('format="csv.gz"', "format=\"{{{{ 'xls' }}}}\"", "to_lake", "fails: format is one of"),
        ('format="csv.gz"', "format=\"{{{{ '' }}}}\"", "to_lake", "fails: format: the template or"),
        ('conn_id="warehouse"', 'conn_id="nope"', "to_warehouse", "fails: conn_id: there is no"),
        ('table="activity"', "table=\"{{{{ 'a.b.c' }}}}\"", "to_warehouse", "fails: table 'a.b.c'"),
        ('table="activity"', "table='a', on_overlap=\"{{{{ 'no' }}}}\"", "to_warehouse", "fails: on_overlap is"),
    ],
)
def test_plan_says_which_tasks_would_fail(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    sqlite: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    after: str,
    task_id: str,
    words: str,
) -> None:
    """Before they do, to scripts, too; those that land what others create, each by itself."""
    if AIRFLOW == (3, 0) and ("var.value" in after or "conn.nope" in after):
        pytest.skip("Airflow 3.0 tells of variables and connections to running tasks alone")
    sqlite.query("CREATE TABLE other (x int)")
    monkeypatch.setattr(sys.modules[__name__], "DAG_FILE", DAG_FILE.replace(before, after))
    when = ["--from-date=2026-11-04", "--to-date=2026-11-04T23:59:59"]
    planned = rows(capsys, "plan", "books", f"--dag-file={dag_file(tmp_path)}", *when, code=3)
    assert {it["task_id"] for it in planned if it["landed"] == "fails"} == {task_id}
    (row,) = (it for it in planned if it["task_id"] == task_id)
    assert words in row["note"]


def test_plan_does_not_fail_a_task_for_what_it_can_not_know(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sqlite: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as where to land, which a task before it says; what it asks for is shown all the same."""
    later = DAG_FILE.replace('.csv"', '{{{{ ti.xcom_pull() }}}}.csv"')
    monkeypatch.setattr(sys.modules[__name__], "DAG_FILE", later)
    when = ["--from-date=2026-11-04", "--to-date=2026-11-04T23:59:59"]
    planned = rows(capsys, "plan", "books", f"--dag-file={dag_file(tmp_path)}", *when)
    (row,) = (it for it in planned if it["task_id"] == "report")
    assert row["note"] == "destination: an XCom, which is known when the task runs"
    assert row["idempotency_key"]


@pytest.mark.parametrize("output", ["table", "json", "yaml", "plain"])
def test_plan_shows_no_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sqlite: Warehouse, output: str
) -> None:
    """Neither one that a task asks with, nor one that the reason quotes for which a template gave nothing."""
    when = ["--from-date=2026-11-04", "--to-date=2026-11-04T23:59:59"]
    for options in ("reporting_category='sk_test_sandbox'", "timezone=\"{{ {}['sk_test_sandbox'] }}\""):
        file = dag_file(tmp_path, options)
        code, out, err = call(capsys, "plan", "books", f"--dag-file={file}", *when, f"--output={output}")
        assert (code, "***" in out) == (0, True), err
        assert "sk_test_sandbox" not in out + err


def test_plan_says_which_runs_would_be_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sqlite: Warehouse
) -> None:
    """Another day is landed in the place of this one."""
    file = dag_file(tmp_path)
    what = ["plan", "books", f"--dag-file={file}", "--from-date=2026-11-04", "--to-date=2026-11-05T23:59"]
    report, *_ = rows(capsys, *what)
    rows(capsys, "run", TYPE, report["destination"], *day(1))
    report, *_ = rows(capsys, *what, code=3)
    assert report["landed"] == "refused"
    assert "another report is landed there" in report["note"]
    assert f"interval_start '2026-11-01T00:00:00Z' and not '{report['interval_start']}'" in report["note"]
    none = ["plan", "books", f"--dag-file={file}", "--from-date=2026-11-04", "--to-date=2026-11-04"]
    assert rows(capsys, *none) == []
    for output, shown in (("yaml", "[]\n"), ("plain", ""), ("table", "")):
        code, out, err = call(capsys, *none, "--output", output)
        assert (code, out) == (0, shown)
        assert "has no run from 2026-11-04 to 2026-11-04" in err


def test_plan_says_what_it_cannot_mean(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Dates in the wrong order, as coverage does, and files that are not there or can't be parsed."""
    file = dag_file(tmp_path).rename(tmp_path.parent / "books.py")
    wrong, odd = tmp_path / "wrong.py", tmp_path / "odd.py"
    wrong.write_text(file.read_text().replace('interval="day"', 'interval="daily"'))
    odd.write_text("from airflow.providers.common.compat.sdk import DAG\nimport nobody.at_all\n")
    dates = ["--from-date=2026-11-04", "--to-date=2026-11-05"]
    for words, code, said in (
        (
            [file, *dates[:1], "--to-date=2026-11-03"],
            2,
            "--from-date 2026-11-04 is not before --to-date 2026-11-03.",
        ),
        ([tmp_path / "nope.py", *dates], 1, f"There is no file {tmp_path}/nope.py."),
        ([wrong, *dates], 1, f"{wrong} can't be imported: interval is one of hour, day, week, "),
        ([odd, *dates], 1, f"{odd} can't be imported: ModuleNotFoundError: No module named 'nobody'"),
        ([tmp_path, *dates], 1, f"There is no DAG 'books' in {tmp_path}. {tmp_path}/"),
    ):
        left, out, err = call(capsys, "plan", "books", f"--dag-file={words[0]}", *words[1:])
        assert (left, out) == (code, ""), err
        assert err.splitlines()[-1].startswith(said)
        assert "Error loading DAG" not in err
        assert "Failed to import" not in err + caplog.text
    with pytest.raises(SystemExit):
        main(["plan", "books", f"--dag-file={wrong}", *dates, "--verbose"])
    assert "Failed to import" in capsys.readouterr().err + caplog.text


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise RuntimeError", "RuntimeError"),
        ("raise KeyError('a')", "KeyError: 'a'"),
        ("raise ValueError('one:\\n  two\\n\\nthree: four')", "ValueError: one: two three: four"),
        ("try: 1 / 0\nexcept Exception as error: raise ValueError('last') from error", "ValueError: last"),
        ("a = (", "SyntaxError: '(' was never closed"),
        ("{", "SyntaxError: '{' was never closed"),
    ],
)
def test_a_dag_file_that_cannot_be_imported_says_why(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, code: str, said: str
) -> None:
    """All that the error says, in a sentence, however many lines it has."""
    file = tmp_path / "odd.py"
    file.write_text(f"from airflow.providers.common.compat.sdk import DAG\n{code}\n")
    words = ["plan", "books", f"--dag-file={file}", "--from-date=2026-11-04", "--to-date=2026-11-04"]
    assert call(capsys, *words) == (1, "", f"{file} can't be imported: {said}\n")


def test_an_option_that_no_operator_has_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Airflow's message names the task in one line, and the option in the next."""
    file = dag_file(tmp_path, "filters={}")
    dates = ["--from-date=2026-11-04", "--to-date=2026-11-04"]
    code, _, err = call(capsys, "plan", "books", f"--dag-file={file}", *dates)
    assert code == 1
    told = r"Invalid arguments were passed to StripeReportRunOperator \(task_id: report\)\. .*\{'filters': \{\}\}"
    assert re.fullmatch(rf"{file} can't be imported: \w+: {told}\n", err), err


def test_a_landing_task_stands_for_what_creates_its_reports(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sqlite: Warehouse
) -> None:
    """To name it is to name the nearest StripeReportRunOperator before it; one without any is told of."""
    file = dag_file(tmp_path)
    code = file.read_text()
    other = f'StripeReportRunOperator(task_id="other", report_type="{TYPE}", interval="month")'
    alone = 'StripeReportDownloadOperator(task_id="alone", report_run_id="frr_1", destination="/lake/")'
    file.write_text(f"{code}    {other} >> report\n    {alone}\n")
    when = ["plan", "books", f"--dag-file={file}", "--from-date=2026-11-04", "--to-date=2026-11-04T23:59:59"]
    for task_id in ("to_lake", "to_warehouse", "report"):
        found = rows(capsys, *when, f"--task-id={task_id}")
        assert {it["task_id"] for it in found} == {"report"}
    assert call(capsys, *when, "--task-id=alone")[::2] == (
        2,
        "The DAG books has no StripeReportRunOperator before 'alone'.\n",
    )


@pytest.mark.parametrize("schedule", ["None", "[Asset('https://lake/books')]", "'@once'"])
def test_plan_says_that_a_dag_has_no_dates(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, schedule: str
) -> None:
    """Rather than that there is no run between them. Before Airflow 3.3 what runs once is backfilled."""
    if BEFORE_3_3 and "once" in schedule:
        pytest.skip("before Airflow 3.3 it makes this run")
    file = dag_file(tmp_path)
    code = file.read_text().replace('"0 13 * * *"', schedule)
    file.write_text(code.replace("compat.sdk import DAG", "compat.sdk import DAG, Asset"))
    words = ["plan", "books", f"--dag-file={file}", "--from-date=2026-11-04", "--to-date=2026-11-05"]
    assert call(capsys, *words) == (0, "", "books has no schedule that a backfill could walk.\n")


def test_plan_says_where_a_file_is_nobodys(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sqlite: Warehouse
) -> None:
    """No task takes its place, but for one that may, or of which that is known when it runs."""
    when = ["--from-date=2026-11-04", "--to-date=2026-11-04T23:59:59"]
    report, *_ = rows(capsys, "plan", "books", f"--dag-file={dag_file(tmp_path)}", *when)
    Path(report["destination"]).parent.mkdir(parents=True)
    Path(report["destination"]).write_text("mine")
    for options, landed in (
        ("", "refused"),
        ("overwrite=True", None),
        ("overwrite=\"{{ ti.xcom_pull(task_ids='a') }}\"", None),
    ):
        file = dag_file(tmp_path, options)
        report, *_ = rows(capsys, "plan", "books", f"--dag-file={file}", *when, code=3 if landed else 0)
        assert report["landed"] == landed
        assert ("no manifest says that it is a report of ours" in (report["note"] or "")) is bool(landed)


def test_plan_leaves_a_manifest_where_an_earlier_version_left_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sqlite: Warehouse
) -> None:
    """And believes it."""
    when = ["--from-date=2026-11-04", "--to-date=2026-11-04T23:59:59"]
    what = ["plan", "books", f"--dag-file={dag_file(tmp_path)}", *when]
    report, *_ = rows(capsys, *what)
    place = place_of(report["destination"])
    interval = [f"--interval-start={report['interval_start']}", f"--interval-end={report['interval_end']}"]
    (landed,) = rows(capsys, "run", TYPE, place.url, *interval, "--currency=usd")
    manifest, former = manifest_of(place), place.beside(f"_{place.name}.manifest.json")
    former.write(manifest.read() or b"")
    manifest.remove()
    report, *_ = rows(capsys, *what)
    assert report["landed"] == landed["report_run_id"]
    assert manifest.read() is None
    assert former.read() is not None


def test_plan_says_what_would_count_twice_in_a_table(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sqlite: Warehouse
) -> None:
    """A week over a day that is landed, unless the day is to go."""
    for on_overlap, landed in (("fail", "refused"), ("replace", None)):
        file = dag_file(tmp_path)
        weekly = file.read_text().replace('interval="day"', 'interval="week"')
        weekly = weekly.replace('table="activity"', f'table="activity", on_overlap="{on_overlap}"')
        file.write_text(weekly)
        if on_overlap == "fail":
            start = int((FIRST + timedelta(days=2)).timestamp())
            asked = ReportParameters(interval_start=start, interval_end=start + 86_400, currency="usd")
            run = StripeReportingHook().create_report_run(TYPE, asked)
            land_in(StripeReportingHook(), run, DatabaseTable(warehouse_of("warehouse", None), "activity"))
        what = ["plan", "books", f"--dag-file={file}", "--from-date=2026-11-09T13", "--to-date=2026-11-09T13"]
        code = 3 if landed else 0
        (row,) = (it for it in rows(capsys, *what, code=code) if it["task_id"] == "to_warehouse")
        assert row["landed"] == landed
        words = "would count the same twice beside what is landed in" if landed else "replaces"
        assert words in row["note"]
        assert "balance_change_from_activity.itemized from 2026-11-03T00:00:00Z" in row["note"]
        assert "(report run frr_" in row["note"]


TABLE_FILE = """
from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_reportrun.operators import (
    StripeReportDownloadOperator, StripeReportRunOperator, StripeReportToDeltaOperator,
    StripeReportToIcebergOperator, StripeReportToSqlOperator
)

with DAG("books", schedule="0 13 * * *", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False) as dag:
    report = StripeReportRunOperator(task_id="report", report_type="{type}", interval="day", {run})
    {operator}(task_id="land", report_run_id=report.output, {options})
"""
TABLES = {
    "sql": ("StripeReportToSqlOperator", 'conn_id="warehouse", table="activity"'),
    "delta": ("StripeReportToDeltaOperator", 'table="{folder}"'),
    "iceberg": ("StripeReportToIcebergOperator", 'warehouse="{folder}", table="books.activity"'),
}
DAYS = ["--from-date=2026-11-04", "--to-date=2026-11-05T23:59:59"]


def planned_table(tmp_path: Path, operator: str, options: str, run: str = "") -> list[str]:
    """Write a DAG that lands in a table, and return the words that plan two days of it."""
    file = tmp_path / "books.py"
    file.write_text(TABLE_FILE.format(type=TYPE, operator=operator, options=options, run=run))
    return ["plan", "books", f"--dag-file={file}", *DAYS]


KINDS = ["sql", "delta", pytest.param("iceberg", marks=needs_its_catalog)]


def land(file: Path, *, start: datetime, **parameters: Any) -> str:
    """Land one day in the table of a DAG, and return the id of its report run."""
    hook, task = StripeReportingHook(), dag_of("books", str(file)).task_dict["land"]
    vars(task)["hook"] = hook
    at = int(start.timestamp())
    run = hook.create_report_run(TYPE, ReportParameters(interval_start=at, interval_end=at + 86_400, **parameters))
    land_in(hook, run, task.asked_table())
    return run.id


@pytest.mark.parametrize("kind", KINDS)
def test_plan_says_which_tables_are_of_others(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sqlite: Warehouse, kind: str
) -> None:
    """In the words of the task; of one that is yet to be made nothing is said, and nothing made."""
    operator, options = TABLES[kind]
    what = planned_table(tmp_path, operator, options.format(folder=tmp_path / "tables"))
    assert [it["landed"] for it in rows(capsys, *what)] == [None] * 4
    assert not any((tmp_path / name).exists() for name in ("tables", "warehouse.db"))
    there = pa.table({"net": pa.array([], pa.string())})
    if kind == "sql":
        sqlite.query("CREATE TABLE activity (net text)")
    elif kind == "delta":
        write_deltalake(str(tmp_path / "tables"), there)
    else:
        from airflow_reportrun.landing.lakehouse.iceberg.catalogs import lakehouse_of

        catalog = lakehouse_of(None, str(tmp_path / "tables")).catalog
        catalog.create_namespace("books")
        catalog.create_table("books.activity", there.schema)
    planned = rows(capsys, *what, code=3)
    assert [it["landed"] for it in planned] == [None, "refused"] * 2
    assert "exists and lacks _report_type, " in planned[1]["note"]


def test_plan_makes_no_database(capsys: pytest.CaptureFixture[str], tmp_path: Path, duckdb: Warehouse) -> None:
    """To connect to a file that is not there would; and it is looked at from the second time on."""
    operator, options = TABLES["sql"]
    what = planned_table(tmp_path, operator, options)
    for command, code in ((what, 0), (["coverage", "--conn-id=warehouse", "--table=activity"], 3)):
        assert rows(capsys, *command, code=code) is not None
        assert not (tmp_path / "warehouse.duckdb").exists()
    duckdb.query("CREATE TABLE activity (net text)")
    assert [it["landed"] for it in rows(capsys, *what, code=3)] == [None, "refused"] * 2


def test_plan_says_which_folder_can_be_no_table(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sqlite: Warehouse
) -> None:
    """Since it has files of others."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.csv").write_text("mine")
    what = planned_table(tmp_path, "StripeReportToDeltaOperator", f'table="{tmp_path}/full"')
    planned = rows(capsys, *what, code=3)
    assert [it["landed"] for it in planned] == [None, "refused"] * 2
    assert "is no Delta table, and has other files, such as a.csv" in planned[1]["note"]


@pytest.mark.parametrize("kind", KINDS)
def test_plan_knows_which_columns_a_table_would_not_take(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sqlite: Warehouse, kind: str
) -> None:
    """As far as they are asked for: what is frozen lacks one, or has it by another name."""
    operator, options = TABLES[kind]
    options = options.format(folder=tmp_path / "tables")
    planned_table(tmp_path, operator, options)
    land(tmp_path / "books.py", start=FIRST, columns=["net", "payment_metadata[a]"])
    columns = 'columns=["net", "payment_metadata[a]"{}]'
    for asked, more, words in (
        (', "fee"', ', schema="freeze"', "lacks 'fee'"),
        ("", ', naming="snake_case"', "has columns by other names"),
        (', "fee"', "", None),
    ):
        what = planned_table(tmp_path, operator, options + more, columns.format(asked))
        planned = rows(capsys, *what, code=3 if words else 0)
        assert [it["landed"] for it in planned] == [None, "refused" if words else None] * 2
        assert (words or "") in (planned[1]["note"] or "")


def test_plan_knows_which_columns_a_lake_would_not_take(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The same of Parquet files; where that can't be known, the tasks would fail."""
    asked = ["--format=parquet", "--schema=freeze", "--columns=net"]
    rows(capsys, "run", TYPE, f"{tmp_path}/lake/", *day(1), *asked)
    options = f'destination="{tmp_path}/lake/", format="parquet", schema="freeze"'
    for columns, to, landed in (
        ('"net"', "lake/", None),
        ('"net", "fee"', "lake/", "refused"),
        ('"net"', "{interval_start:%d}.parquet", "fails"),
    ):
        there = options.replace("lake/", to)
        what = planned_table(tmp_path, "StripeReportDownloadOperator", there, f"columns=[{columns}]")
        planned = rows(capsys, *what, code=3 if landed else 0)
        assert [it["landed"] for it in planned] == [None, landed] * 2


@pytest.mark.parametrize("kind", ["sql", "delta"])
def test_plan_says_which_rows_no_manifest_tells_of(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sqlite: Warehouse, kind: str
) -> None:
    """They would count twice, as after a table was restored."""
    operator, options = TABLES[kind]
    options = options.format(folder=tmp_path / "tables")
    planned_table(tmp_path, operator, options)
    land(tmp_path / "books.py", start=FIRST + timedelta(hours=12))
    if kind == "sql":
        sqlite.query("DELETE FROM stripe_report_landings")
    else:
        shutil.rmtree(tmp_path / "tables" / "_stripe_report_landings")
    what = planned_table(tmp_path, operator, options)[:3]
    what += ["--from-date=2026-11-02", "--to-date=2026-11-03T23:59"]
    planned = rows(capsys, *what, code=3)
    assert "refused" in [it["landed"] for it in planned]
    assert any("that no manifest tells of" in (it["note"] or "") for it in planned)


def test_plan_says_which_of_its_runs_are_in_each_others_way(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sqlite: Warehouse
) -> None:
    """In one file, in the default layout and in a table: the first lands, and the next are refused."""
    file = dag_file(tmp_path)
    written = file.read_text()
    what = ["plan", "books", f"--dag-file={file}", *DAYS]
    one_file = written.replace("/{{ ds }}/{interval_start:%Y-%m-%d}.csv", "/one.csv")
    assert one_file != written
    file.write_text(one_file)
    planned = rows(capsys, *what, code=3)
    assert [it["landed"] for it in planned] == [*[None] * 3, "refused", None, None]
    days = [it["interval_start"] for it in planned]
    assert f"another report is landed there (interval_start '{days[0]}' and not '{days[3]}'" in planned[3]["note"]
    file.write_text(one_file.replace('interval="day"', 'interval="month"'))
    assert [it["landed"] for it in rows(capsys, *what)] == [None] * 6  # of which both ask for the same
    span = "interval_start='{{ macros.ds_add(ds, -7) }}T00:00:00Z', interval_end='{{ ds }}T00:00:00Z'"
    file.write_text(written.replace('interval="day"', span))
    planned = rows(capsys, *what, code=3)
    assert [it["landed"] for it in planned] == [*[None] * 4, "refused", "refused"]
    assert "would count the same twice beside what is landed below the same root" in planned[4]["note"]
    assert "would count the same twice beside what runs before it land there" in planned[5]["note"]
    assert planned[0]["run_id"] in planned[5]["note"]
    other = "StripeReportDownloadOperator(task_id='other', report_run_id=report.output, destination='{}/lake/')"
    file.write_text(written + f"    {other.format(tmp_path / 'reports')}\n")
    planned = rows(capsys, *what, code=3)
    assert {it["task_id"] for it in planned if it["landed"] == "refused"} == {"other"}
    assert any("has the same rows, and readers of CSV would count them" in (it["note"] or "") for it in planned)
    assert not (tmp_path / "reports").exists()


def test_plan_says_that_test_data_is_in_the_way_of_live_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sqlite: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the very place, below the same root and in the same table; of a key that does not tell, nobody knows."""
    what = ["plan", "books", f"--dag-file={dag_file(tmp_path)}", "--from-date=2026-11-04"]
    report, to_lake, _ = rows(capsys, *what, "--to-date=2026-11-04T23:59:59")
    start = int(datetime.fromisoformat(report["interval_start"]).timestamp())
    asked = ReportParameters(interval_start=start, interval_end=start + 86_400, currency="usd")
    run = StripeReportingHook().create_report_run(TYPE, asked)
    land_in(StripeReportingHook(), run, DatabaseTable(warehouse_of("warehouse", None), "activity"))
    existing = f"--report-run-id={run.id}"
    for destination, format in ((report["destination"], "csv"), (to_lake["destination"], "csv.gz")):
        rows(capsys, "run", TYPE, destination, existing, f"--format={format}")
    monkeypatch.setattr(ConnectionSettings, "livemode", True)
    planned = rows(capsys, *what, "--to-date=2026-11-05T23:59:59", code=3)
    assert [it["landed"] for it in planned] == [*["refused"] * 3, None, *["refused"] * 2]
    assert f"/lake/ has test data (report run {run.id})" in planned[4]["note"]
    assert f"activity has test data (report run {run.id})" in planned[5]["note"]
    monkeypatch.setattr(ConnectionSettings, "livemode", None)
    planned = rows(capsys, *what, "--to-date=2026-11-05T23:59:59")
    assert [it["landed"] for it in planned] == [*[run.id] * 3, *[None] * 3]


def test_a_dag_is_found_where_airflow_looks_without_telling_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database of the tests has no tables; what lies beside the file can be imported."""
    (tmp_path / "books_and_what_they_share.py").write_text("")
    file = dag_file(tmp_path)
    file.write_text(f"import books_and_what_they_share\n{file.read_text()}")
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path))
    monkeypatch.setattr("airflow.settings.DAGS_FOLDER", str(tmp_path))
    # Airflow 2 has the folder there from its start.
    monkeypatch.setattr(sys, "path", [*sys.path, *[str(tmp_path)] * AIRFLOW_2])
    assert dag_of("books", None).dag_id == "books"
    with pytest.raises(Exception, match="There is no DAG 'nobody' where Airflow looks"):
        dag_of("nobody", None)


def test_plan_takes_the_runs_that_are_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite: Warehouse
) -> None:
    """A scheduled run keeps its id, and with it its key; so does a task that was cleared."""
    at = datetime(2026, 11, 4, 13, tzinfo=UTC)
    there = planned.Existing({at: "scheduled__it"}, {("scheduled__it", "report"): 7})
    monkeypatch.setattr(planned.Existing, "of", classmethod(lambda cls, dag_id: there))
    what = ["plan", "books", f"--dag-file={dag_file(tmp_path)}", "--from-date=2026-11-04T13:00"]
    first, *_ = rows(capsys, *what, "--to-date=2026-11-04T13:00")
    there.max_tries.clear()
    second, *_ = rows(capsys, *what, "--to-date=2026-11-04T13:00")
    assert first["run_id"] == second["run_id"] == "scheduled__it"
    assert first["idempotency_key"] != second["idempotency_key"]


def test_each_command_can_be_loaded() -> None:
    """Airflow has their names from the definition, and loads what they do when one is called."""
    (group,) = get_cli_commands()
    assert (group.name, tuple(group.subcommands)) == ("reportrun", COMMANDS)
    for command in COMMANDS:
        from importlib import import_module

        module = import_module(f"airflow_reportrun.cli.{command.name}")
        assert callable(getattr(module, command.name))


def test_the_definition_loads_nothing_more_than_airflows_own() -> None:
    """Each airflow command pays for it."""
    program = (
        "import airflow.cli.cli_config, sys; before = set(sys.modules)\n"
        "import airflow_reportrun.cli.definition; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.splitlines()[-1].split()) <= {
        "airflow_reportrun",
        "airflow_reportrun.cli",
        "airflow_reportrun.cli.definition",
    }


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(["airflow", "reportrun"], marks=needs_airflow(3, 2, "commands of providers"), id="airflow"),
        pytest.param(["airflow_reportrun"], id="python -m"),
    ],
)
def test_it_is_a_command(program: list[str], sandbox: StripeSandbox) -> None:
    """In a process of its own, where stdout has the result and nothing else."""
    done = subprocess.run(
        [sys.executable, "-m", *program, "types", "balance.summary.1", "--output", "json"],
        env=os.environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["id"] == "balance.summary.1"
    failed = subprocess.run(
        [sys.executable, "-m", *program, "coverage", "lake/"], env=os.environ, capture_output=True, text=True
    )
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.splitlines()[-1] == "destination 'lake/' is no absolute path and no URL."


@pytest.mark.parametrize("command", ["types", "run", "plan", "coverage"])
def test_who_reads_no_more_ends_a_command_quietly(
    capsys: pytest.CaptureFixture[str], sandbox: StripeSandbox, tmp_path: Path, command: str
) -> None:
    """As ``head`` ends other tools: by the signal of the pipe, without a word."""
    lake = f"{tmp_path}/lake/"
    rows(capsys, "run", TYPE, lake, *day(1))
    words: dict[str, list[Any]] = {
        "types": ["types"],
        "run": ["run", TYPE, f"{tmp_path}/other/", *day(1)],
        "plan": [
            "plan",
            "books",
            f"--dag-file={dag_file(tmp_path)}",
            "--from-date=2026-11-01",
            "--to-date=2026-11-02",
        ],
        "coverage": ["coverage", lake],
    }
    for output in ([], ["--output=json"]):
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write, "w") as nobody_reads:
            done = subprocess.run(
                [sys.executable, "-m", "airflow_reportrun", *map(str, words[command]), *output],
                env=os.environ,
                stdout=nobody_reads,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == -signal.SIGPIPE, done.stderr
        assert "BrokenPipe" not in done.stderr


def test_a_landing_goes_on_when_nobody_reads_what_is_said(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """Its report run is created: to stop there would leave it for nobody."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as nobody_reads:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "airflow_reportrun",
                "run",
                TYPE,
                f"{tmp_path}/x.csv",
                *day(1),
                "--output=json",
            ],
            env={**os.environ, "PYTHONWARNINGS": "ignore"},  # what Airflow 2 says as it loads would end it there
            stdout=subprocess.PIPE,
            stderr=nobody_reads,
            check=False,
        )
    assert done.returncode == 0
    assert json.loads(done.stdout)[0]["path"] == f"{tmp_path}/x.csv"
    assert (tmp_path / "x.csv").exists()
