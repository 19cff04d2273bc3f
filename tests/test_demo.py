"""The demo's proof has to be able to fail, or it would prove nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow.providers.sqlite.hooks.sqlite import SqliteHook

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.lake import manifest_of
from airflow_reportrun.landing.report import land_report
from airflow_reportrun.landing.sql.report import DatabaseTable
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.landing.tables import land_in
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from demo.proof import DAY, TABLE, Landings, create_whole, land_whole, prove

REPORT_TYPE = "balance_change_from_activity.itemized.3"
FIRST = datetime(2024, 5, 1, tzinfo=UTC)
BEGIN = int(FIRST.timestamp())


@pytest.fixture
def landings(stripe_conn: StripeSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Landings:
    """Two days, landed as the demo's tasks do."""
    stripe_conn.configure(transition=AtOnce())
    it = Landings(tmp_path / "lake", tmp_path / "warehouse.db")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f'{{"conn_type": "sqlite", "host": "{it.warehouse}"}}')
    for day in range(2):
        land_day(it, BEGIN + day * DAY)
    hook = StripeReportingHook()
    land_whole(hook, create_whole(hook, REPORT_TYPE, FIRST, 2), tmp_path / "whole.parquet")
    return it


def land_day(landings: Landings, start: int) -> None:
    hook = StripeReportingHook()
    run = hook.create_report_run(REPORT_TYPE, ReportParameters(interval_start=start, interval_end=start + DAY))
    land_report(hook, run, place_of(f"{landings.lake}/{start}.parquet"), format="parquet")
    land_in(hook, run, DatabaseTable(SqliteHook("warehouse"), TABLE))


def remove_a_day(landings: Landings) -> None:
    path, _ = landings.files()[BEGIN]
    manifest_of(place_of(str(path))).remove()


def cut_a_file(landings: Landings) -> None:
    path, _ = landings.files()[BEGIN]
    path.write_bytes(path.read_bytes()[:-1])


def change_an_amount(landings: Landings) -> None:
    with sqlite3.connect(landings.warehouse) as database:
        database.execute(f"UPDATE {TABLE} SET net = '0.01' WHERE rowid = 1")  # noqa: S608


def land_another_report_in_the_lake(landings: Landings) -> None:
    hook = StripeReportingHook()
    run = hook.create_report_run(REPORT_TYPE, ReportParameters(interval_start=BEGIN, interval_end=BEGIN + DAY))
    land_report(hook, run, place_of(f"{landings.lake}/{BEGIN}.parquet"), format="parquet")


@pytest.mark.parametrize(
    ("tamper", "created", "problem"),
    [
        (lambda landings: None, 2, None),
        (lambda landings: None, 3, "2 report runs were created, and not 3"),
        (remove_a_day, 2, "some interval is missing"),
        (cut_a_file, 2, "is not the file that was landed"),
        (change_an_amount, 2, "do not add up"),
        (land_another_report_in_the_lake, 3, "not of the same report runs"),
        (lambda landings: land_day(landings, BEGIN + 2 * DAY), 2, "one too many"),
    ],
)
def test_the_proof_sees_what_is_not_as_it_should_be(
    landings: Landings, tmp_path: Path, tamper: Callable[[Landings], None], created: int, problem: str | None
) -> None:
    """Green for two whole days, red where one is missing, too many, cut, changed or of another report run."""
    tamper(landings)
    problems = prove(
        StripeReportingHook(),
        landings,
        REPORT_TYPE,
        FIRST,
        2,
        since=0,
        created=created,
        whole=tmp_path / "whole.parquet",
    )
    assert problems == [] if problem is None else any(problem in found for found in problems)


def test_spoiling_a_day_is_seen_and_landing_it_again_mends_it(landings: Landings) -> None:
    """In the file and in the table, and of that day alone."""
    before = [landings.state(BEGIN + day * DAY) for day in range(2)]
    landings.spoil(BEGIN)
    spoilt = landings.state(BEGIN)
    assert spoilt[0] == before[0][0]  # the same inode, with other contents
    assert len(spoilt[2]) < len(before[0][2])
    land_day(landings, BEGIN)
    assert landings.state(BEGIN)[2] == before[0][2]
    assert landings.state(BEGIN)[0] != before[0][0]
    assert landings.state(BEGIN + DAY) == before[1]
