from __future__ import annotations

import ast
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.engine import Engine

from airflow_reportrun.landing import spool
from airflow_reportrun.landing.contract import fitting
from airflow_reportrun.landing.formats import typed
from airflow_reportrun.landing.manifest import Manifest
from airflow_reportrun.landing.sql import databases
from airflow_reportrun.landing.sql.loading import landed
from airflow_reportrun.reporting.errors import ConfigurationError, ContentsError, LandingConflictError
from tests.databases import AND_DUCKDB, WAREHOUSES, Warehouse
from tests.landings import OURS, day, land, manifest_of

TEXT = st.text(
    st.one_of(
        st.sampled_from('",\n\r\\. é李%:'), st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    ),
    max_size=12,
)


@pytest.fixture(params=[*AND_DUCKDB, "postgres as any other"])
def warehouse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """Each database, and the way for those that have none of their own, which PostgreSQL can go, too."""
    name, _, general = request.param.partition(" ")
    found: Warehouse = request.getfixturevalue(name)
    if general:
        monkeypatch.setattr(type(found.hook), "dialect_name", "other")
    return found


many_cases = pytest.mark.parametrize("warehouse", [*WAREHOUSES, "postgres as any other"], indirect=True)
"""Of these, test_sql_duckdb.py has some for DuckDB."""

SPAN = dict[str, Any]
MANIFESTS = "SELECT manifest FROM stripe_report_landings WHERE landing <> ''"


def rows_in(warehouse: Warehouse, columns: str = '"net"', table: str = "activity") -> list[Any]:
    """Return the rows of a table, in an order of no meaning."""
    rows = warehouse.query(f"SELECT {columns} FROM {table}")  # noqa: S608 - our own words
    return sorted((row[0] if len(row) == 1 else row for row in rows), key=repr)


def money(warehouse: Warehouse, *values: str) -> list[Any]:
    """Return what a database gives back of money."""
    return sorted((value if warehouse.name == "sqlite" else Decimal(value) for value in values), key=repr)


def instant(warehouse: Warehouse, utc: datetime) -> Any:
    """Return what a database gives back of an instant."""
    if warehouse.name == "sqlite":
        return f"{utc:%Y-%m-%dT%H:%M:%SZ}"
    return utc.replace(tzinfo=None) if warehouse.name == "mariadb" else utc


def is_general(warehouse: Warehouse) -> bool:
    return bool(warehouse.hook.dialect_name == "other")


def test_what_has_a_meaning_where_rows_are_sent_is_text_in_a_cell(warehouse: Warehouse) -> None:
    """As the backslashes and tabs of PostgreSQL's COPY."""
    cells = [r"\N", r"\.", "\\", r"\n\x41\101", "a\tb", "a\nb\rc\r\nd", '"', "", None]
    land(warehouse.hook, ["description"], [[cell] for cell in cells])
    assert rows_in(warehouse, "description") == sorted(cells, key=repr)


@many_cases
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(st.none() | TEXT, min_size=width, max_size=width), max_size=30)
    ),
    block=st.sampled_from([1, 40, 1 << 20]),
    ended=st.booleans(),
)
def test_text_comes_back_as_it_was(
    warehouse: Warehouse, rows: list[list[str | None]], block: int, ended: bool
) -> None:
    """Quotes, commas, line ends, backslashes and any letter; NULL is not the empty text; no rows are none."""
    if not ended and rows[-1:] == [[None]]:
        rows = [*rows, [""]]  # of a NULL alone nothing is there without its end
    warehouse.query("DROP TABLE IF EXISTS activity")
    names = [f"column {number}" for number in range(len(rows[0]) if rows else 1)]
    with mock.patch.object(typed, "BLOCK_SIZE", block):
        land(warehouse.hook, names, rows, ended=ended)
    columns = ", ".join(f'"{name}"' for name in names)
    back = warehouse.query(f"SELECT {columns} FROM activity")  # noqa: S608 - our own words
    assert sorted(map(repr, back)) == sorted(repr(tuple(row)) for row in rows)


AMOUNTS = st.builds(
    lambda sign, front, behind: f"{sign}{front}{'.' if behind else ''}{behind}",
    st.sampled_from(["", "-"]),
    st.integers(0, 10**20 - 1).map(str),
    st.text("0123456789", max_size=18),
)


@many_cases
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(st.none() | AMOUNTS, max_size=20), block=st.sampled_from([1, 100, 1 << 20]))
def test_money_comes_back_exact(warehouse: Warehouse, cells: list[str | None], block: int) -> None:
    """Up to 18 places; where the database has decimals without a scale, or none, with the digits as written."""
    warehouse.query("DROP TABLE IF EXISTS activity")
    with mock.patch.object(typed, "BLOCK_SIZE", block):
        land(warehouse.hook, ["net", "x"], [[cell, "x"] for cell in cells])
    back = [cell for (cell,) in warehouse.query("SELECT net FROM activity")]
    if warehouse.name == "sqlite":
        assert sorted(map(repr, back)) == sorted(map(repr, cells))
        return
    assert sorted(back, key=repr_of_value) == sorted(
        (None if cell is None else Decimal(cell) for cell in cells), key=repr_of_value
    )
    if warehouse.name == "postgresql" and not is_general(warehouse):
        written = [(cell[0] and str(cell[0])) for cell in warehouse.query("SELECT net::text FROM activity")]
        expected = [cell and f"{Decimal(cell):f}" for cell in cells]
        assert sorted(map(unsigned, written)) == sorted(map(unsigned, expected))


def repr_of_value(cell: Decimal | None) -> tuple[bool, Decimal]:
    return cell is None, cell or Decimal(0)


def unsigned(cell: str | None) -> str:
    """-0.00 is 0.00 in PostgreSQL."""
    return "NULL" if cell is None else cell.lstrip("-") if not cell.strip("-0.") else cell


def test_each_kind_has_a_type(warehouse: Warehouse) -> None:
    """Exact, with time zones resolved; SQLite has ISO 8601 for what it has no type for."""
    names = ["net", "count", "is_link", "created", "created_utc", "payout_expected_arrival_date", "who"]
    written = ["12.340", "7", "true", "2024-10-27 02:30:00", "2024-10-27 01:30:00", "2024-05-03", "x"]
    land(warehouse.hook, names, [written, [None] * 7], timezone="Europe/Berlin")
    nulls, values = rows_in(warehouse, ", ".join(f'"{name}"' for name in names))
    if nulls[0] is not None:
        nulls, values = values, nulls
    assert nulls == (None,) * 7
    at = instant(warehouse, datetime(2024, 10, 27, 1, 30, tzinfo=UTC))
    if warehouse.name == "sqlite":
        assert values == ("12.340", 7, 1, at, at, "2024-05-03", "x")
    else:
        assert values == (Decimal("12.34"), 7, True, at, at, date(2024, 5, 3), "x")


def test_our_columns_say_whose_row_it_is(warehouse: Warehouse) -> None:
    """And the manifest what was landed."""
    recorded = land(warehouse.hook, ["net"], [["1.00"]], account="acct_1", currency="usd")
    (row,) = rows_in(warehouse, ", ".join(OURS))
    report_type, account, filters, start, end, run_id = row
    assert (report_type, account, run_id) == ("balance_change_from_activity.itemized.3", "acct_1", "frr_1")
    assert filters == '{"currency": "usd"}'
    assert [start, end] == [instant(warehouse, datetime(2024, 5, number, tzinfo=UTC)) for number in (1, 2)]
    place = f"{warehouse.schema}.activity"
    assert (recorded.format, recorded.path, recorded.rows, recorded.columns) == ("sql", place, 1, ("net",))
    assert recorded.column_types == {"net": "money(6)"}
    assert landed(warehouse.hook, "activity", recorded) == recorded


def test_landed_again_replaces_the_interval_alone(warehouse: Warehouse) -> None:
    """A retry, a clear and a restated report: no row twice, none lost; other days, accounts and reports stay."""
    others: list[dict[str, Any]] = [
        {"run_id": "frr_a", "start": day(2), "end": day(3)},
        {"run_id": "frr_b", "account": "acct_1"},
        {"run_id": "frr_c", "report_type": "balance_change_from_activity.summary.1"},
        {"run_id": "frr_d", "report_type": "balance_change_from_activity.itemized.more.1"},
    ]
    for other in others:
        land(warehouse.hook, ["net"], [["1.00"]], **other)
    for run_id, rows in (("frr_1", [["2.00"], ["3.00"]]), ("frr_1", [["2.00"], ["3.00"]]), ("frr_2", [["4.00"]])):
        land(warehouse.hook, ["net"], rows, run_id)
    assert rows_in(warehouse) == money(warehouse, "1.00", "1.00", "1.00", "1.00", "4.00")
    runs = {row[0] for row in warehouse.query("SELECT DISTINCT _report_run_id FROM activity")}
    assert runs == {"frr_a", "frr_b", "frr_c", "frr_d", "frr_2"}
    manifests = [
        Manifest.from_json(row[0])
        for row in warehouse.query("SELECT manifest FROM stripe_report_landings WHERE landing <> ''")
    ]
    assert sorted(manifest.report_run_id for manifest in manifests) == sorted(runs)


def test_a_newer_run_that_came_first_stays(warehouse: Warehouse) -> None:
    """As where the older one has waited for the table, whatever its types and columns are."""
    newer = land(warehouse.hook, ["net"], [["2.00"]], "frr_2", created="2024-05-03T09:00:00Z")
    older = "2024-05-03T08:59:59Z"
    assert land(warehouse.hook, ["net"], [["1.00"]], "frr_1", created=older) == newer
    assert land(
        warehouse.hook, ["net", "fee"], [["1.00", "x"]], "frr_1", created=older, column_types={"fee": "text"}
    )
    assert rows_in(warehouse, "*")[0][-1] == "frr_2"
    assert landed(warehouse.hook, "activity", manifest_of("frr_1", 1, created=older)) == newer
    land(warehouse.hook, ["net"], [["3.00"]], "frr_3", created="2024-05-03T09:00:00Z")
    assert warehouse.query("SELECT _report_run_id FROM activity") == [("frr_3",)]


def test_newer_figures_that_are_not_all_there_protect_nothing(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody took rows away: the older run, which is whole, takes their place, and says so."""
    land(warehouse.hook, ["net"], [["2.00"], ["3.00"]], "frr_2", created="2024-05-03T09:00:00Z")
    warehouse.query("DELETE FROM activity WHERE net = '2.00'")
    about: SPAN = {"created": "2024-05-03T08:00:00Z"}
    assert landed(warehouse.hook, "activity", manifest_of("frr_1", 1, **about)) is None
    land(warehouse.hook, ["net"], [["1.00"]], "frr_1", **about)
    assert rows_in(warehouse) == money(warehouse, "1.00")
    assert re.search("Not all 2 rows of report run frr_2, which is newer than frr_1, .* replaced", caplog.text)


@pytest.mark.parametrize("on_overlap", ["fail", "replace"])
def test_days_of_newer_runs_are_not_replaced_by_their_month(warehouse: Warehouse, on_overlap: Any) -> None:
    """An option that lets something go says nothing of its age; rows that are gone protect nothing."""
    old, new = "2024-06-03T08:00:00Z", "2024-06-03T09:00:00Z"
    for number, created in ((1, old), (2, new), (3, new)):
        about: SPAN = {"start": day(number), "end": day(number + 1), "created": created}
        land(warehouse.hook, ["net"], [["1.00"]], f"frr_{number}", **about)
    month = {**MONTH, "created": "2024-06-03T08:30:00Z", "on_overlap": on_overlap}
    told = r"T00:00:00Z \(report run frr_2\); [^;]*frr_3\)\. Ways out: clear the task that created frr_0"
    with pytest.raises(LandingConflictError, match=told):
        land(warehouse.hook, ["net"], [["9.00"]], "frr_0", **month)
    with pytest.raises(LandingConflictError, match=told):
        landed(warehouse.hook, "activity", manifest_of("frr_0", 1, **MONTH, created=old), on_overlap=on_overlap)
    assert rows_in(warehouse) == money(warehouse, "1.00", "1.00", "1.00")
    if on_overlap == "replace":
        warehouse.query("DELETE FROM activity WHERE _report_run_id <> 'frr_1'")
        land(warehouse.hook, ["net"], [["9.00"]], "frr_0", **month)
        assert rows_in(warehouse) == money(warehouse, "9.00")


def test_the_same_figures_of_a_new_run_change_no_row(warehouse: Warehouse) -> None:
    """Values in columns of the owner's stay; the manifest tells of the new run."""
    land(warehouse.hook, ["net"], [["1.00"], ["2.00"]])
    warehouse.query("ALTER TABLE activity ADD COLUMN checked_by varchar(20)")
    warehouse.query("UPDATE activity SET checked_by = 'Jane'")
    again = land(warehouse.hook, ["net"], [["1.00"], ["2.00"]], "frr_2")
    assert rows_in(warehouse, "checked_by, _report_run_id") == [("Jane", "frr_1")] * 2
    assert again.report_run_id == "frr_2"
    assert landed(warehouse.hook, "activity", again) == again
    assert warehouse.query("SELECT report_run_id FROM stripe_report_landings WHERE landing <> ''") == [("frr_2",)]


@pytest.mark.parametrize(
    ("about", "statement"),
    [
        ({"column_types": {"at": "timestamp", "x": "integer"}}, ""),
        ({"timezone": "Europe/Berlin"}, ""),
        ({"report_type": "balance_change_from_activity.itemized.4"}, ""),
        ({}, "DELETE FROM activity WHERE x = '1'"),
        ({}, "ALTER TABLE activity DROP COLUMN x"),
    ],
)
def test_the_same_file_makes_other_rows_where_it_means_something_else(
    warehouse: Warehouse, about: dict[str, Any], statement: str
) -> None:
    """Other types, another time zone or version; or the table has lost a row or a column."""
    names = ["at", "x"]
    rows: list[list[str | None]] = [["2024-05-01 00:00:00", "1"], [None, "2"]]
    land(warehouse.hook, names, rows, column_types={"at": "timestamp"})
    if statement:
        warehouse.query(statement)
    land(warehouse.hook, names, rows, "frr_2", **{"column_types": {"at": "timestamp"}, **about})
    assert {run for (run,) in warehouse.query("SELECT _report_run_id FROM activity")} == {"frr_2"}
    assert rows_in(warehouse, "x") == ["1", "2"]


def test_a_report_of_no_rows_empties_its_interval(warehouse: Warehouse) -> None:
    """And is landed as such."""
    land(warehouse.hook, ["net"], [["1.00"]])
    recorded = land(warehouse.hook, ["net"], [], "frr_2")
    assert rows_in(warehouse) == []
    assert landed(warehouse.hook, "activity", recorded) == recorded


def test_what_is_not_there_is_not_landed(warehouse: Warehouse) -> None:
    """Neither before, nor when somebody took rows away."""
    wanted = manifest_of("frr_1", 2)
    assert landed(warehouse.hook, "activity", wanted) is None
    land(warehouse.hook, ["net"], [["1.00"], ["2.00"]])
    assert landed(warehouse.hook, "activity", manifest_of("frr_1", 2, start=day(4), end=day(5))) is None
    found = landed(warehouse.hook, "activity", wanted)
    assert found is not None
    assert found.rows == 2
    warehouse.query("DELETE FROM activity WHERE net = '1.00'")
    assert landed(warehouse.hook, "activity", wanted) is None


def test_a_column_that_its_owner_dropped_is_not_landed(warehouse: Warehouse) -> None:
    """It comes again with the next try of the same report run."""
    recorded = land(warehouse.hook, ["net", "fee"], [["1.00", "0.10"]])
    warehouse.query("ALTER TABLE activity DROP COLUMN fee")
    assert landed(warehouse.hook, "activity", recorded) is None
    land(warehouse.hook, ["net", "fee"], [["1.00", "0.10"]])
    assert rows_in(warehouse, "net, fee") == [(*money(warehouse, "1.00"), *money(warehouse, "0.10"))]
    assert landed(warehouse.hook, "activity", recorded) == recorded


MONTH: SPAN = {"start": day(1), "end": day(32)}


def test_a_manifest_tells_the_places_that_its_report_has(warehouse: Warehouse) -> None:
    """Those of fees are more than other reports' money has, as in files; the table has room for both."""
    fees: dict[str, Any] = {"report_type": "all_fees.incurred_at.itemized.2"}
    for about, places in ((fees, 18), ({}, 6)):
        told = land(warehouse.hook, ["net"], [["0.000001"]], **about)
        assert told.column_types == {"net": f"money({places})"}
        assert landed(warehouse.hook, "activity", manifest_of("frr_1", 1, **about))


def test_rows_of_a_renamed_table_are_not_counted_twice(warehouse: Warehouse) -> None:
    """No manifest tells of them under the new name, until exactly their interval lands again."""
    land(warehouse.hook, ["net"], [["1.00"]])
    warehouse.query("ALTER TABLE activity RENAME TO kept")
    month: SPAN = {"table": "kept", "on_overlap": "replace", **MONTH}
    with pytest.raises(LandingConflictError, match=r"2024-05-01T.* to 2024-05-02T.*land exactly that again"):
        landed(warehouse.hook, "kept", manifest_of("frr_2", 1, **MONTH), on_overlap="replace")
    with pytest.raises(LandingConflictError, match="that no manifest tells of"):
        land(warehouse.hook, ["net"], [["9.00"]], "frr_2", **month)
    assert rows_in(warehouse, table="kept") == money(warehouse, "1.00")
    land(warehouse.hook, ["net"], [["2.00"]], table="kept")
    land(warehouse.hook, ["net"], [["9.00"]], "frr_2", **month)
    assert rows_in(warehouse, table="kept") == money(warehouse, "9.00")


def test_rows_of_a_table_that_came_back_are_not_counted_twice(warehouse: Warehouse) -> None:
    """Its manifests went when another table took its name; those that landed since don't hide it."""
    for number in (1, 2, 5):
        land(warehouse.hook, ["net"], [["1.00"]], start=day(number), end=day(number + 1))
    warehouse.query("ALTER TABLE activity RENAME TO kept")
    land(warehouse.hook, ["net"], [["1.00"]], start=day(8), end=day(9))
    warehouse.query("DROP TABLE activity")
    warehouse.query("ALTER TABLE kept RENAME TO activity")
    for number in (2, 8):
        land(warehouse.hook, ["net"], [["3.00"]], "frr_3", start=day(number), end=day(number + 1))
    for _ in range(2):
        with pytest.raises(LandingConflictError, match=r"05-01T.*; .* from 2024-05-05T.*Ways out"):
            land(warehouse.hook, ["net"], [["9.00"]], "frr_9", on_overlap="replace", **MONTH)
        warehouse.query("DELETE FROM stripe_report_landings WHERE report <> ''")  # nor do any
        land(warehouse.hook, ["net"], [["3.00"]], "frr_3", start=day(8), end=day(9))
        land(warehouse.hook, ["net"], [["3.00"]], "frr_3", start=day(2), end=day(3))


def test_an_empty_month_over_rows_that_came_back_is_not_there(warehouse: Warehouse) -> None:
    """The table was restored, and not the one of manifests: its days land again, in the month's place."""
    days: list[SPAN] = [{"start": day(number), "end": day(number + 1)} for number in (1, 2)]
    for number, about in enumerate(days):
        land(warehouse.hook, ["net"], [["1.00"]], f"frr_{number}", **about)
    warehouse.query("CREATE TABLE kept AS SELECT * FROM activity")
    land(warehouse.hook, ["net"], [], "frr_month", on_overlap="replace", created="2024-07-01T00:00:00Z", **MONTH)
    warehouse.query("INSERT INTO activity SELECT * FROM kept")
    month = manifest_of("frr_month", 0, created="2024-07-01T00:00:00Z", **MONTH)
    with pytest.raises(LandingConflictError, match="that no manifest tells of"):
        landed(warehouse.hook, "activity", month, on_overlap="replace")
    with pytest.raises(LandingConflictError, match="that no manifest tells of"):
        land(warehouse.hook, ["net"], [], "frr_month", on_overlap="replace", **MONTH)
    for number, about in enumerate(days):
        assert landed(warehouse.hook, "activity", manifest_of(f"frr_{number}", 1, **about)) is None
        land(warehouse.hook, ["net"], [["1.00"]], f"frr_{number}", **about)
    assert rows_in(warehouse) == money(warehouse, "1.00", "1.00")
    told = warehouse.query("SELECT report_run_id FROM stripe_report_landings WHERE report <> ''")
    assert sorted(told) == [("frr_0",), ("frr_1",)]


def test_an_empty_month_is_in_the_way_of_its_days(warehouse: Warehouse) -> None:
    """As one with rows: nobody said that they may come back, and other filters say nothing of it."""
    land(warehouse.hook, ["net"], [], "frr_month", currency="usd", **MONTH)
    land(warehouse.hook, ["net"], [["1.00"]], "frr_eur", currency="eur")
    with pytest.raises(LandingConflictError, match="report run frr_month"):
        land(warehouse.hook, ["net"], [["1.00"]], currency="usd")


def test_an_empty_report_in_the_place_of_rows_says_how_many_go(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    """Days with figures, and a month without: more likely a mistake than news."""
    for number in (1, 2):
        about: SPAN = {"start": day(number), "end": day(number + 1)}
        land(warehouse.hook, ["net"], [["1.00"]] * 3, f"frr_{number}", **about)
    land(warehouse.hook, ["net"], [], "frr_month", on_overlap="replace", **MONTH)
    (said,) = (it.getMessage() for it in caplog.records if it.levelname == "WARNING")
    assert said.startswith("Report run frr_month has no rows, and takes the place of 2 landings with 6 rows in ")


USD: SPAN = {"currency": "usd"}
NOW: SPAN = {"start": None, "end": day(2)}
PAYOUT: SPAN = {"start": None, "end": None, "payout": "po_1"}


@many_cases
@pytest.mark.parametrize(
    ("forgotten", "new"),
    [
        (MONTH, {}),
        (MONTH, {"start": day(31), "end": day(32)}),
        (MONTH, {"start": day(31), "end": day(40)}),
        ({"start": day(3), "end": day(4)}, MONTH),
        ({"report_type": "balance_change_from_activity.itemized.2"}, MONTH),
        ({"account": "acct_1"}, {"account": "acct_1", **MONTH}),
        (USD, {}),
        ({}, USD),
        (MONTH, USD),
        (USD, {**USD, **MONTH}),
        ({**USD, **MONTH}, {**USD, "connected_account": "acct_1"}),
        ({**NOW, **USD}, NOW),
        ({**PAYOUT}, {**PAYOUT, **USD}),
    ],
)
def test_rows_without_a_manifest_are_in_the_way(warehouse: Warehouse, forgotten: SPAN, new: SPAN) -> None:
    """As those with one are, beside others that are told of; deleted, they let the landing by."""
    for number in (-1, 50):
        apart: SPAN = {"start": day(number), "end": day(number + 1)}
        if "payout" in new:
            apart = {"payout": f"po_{number}"}
        elif "start" in new and new["start"] is None:
            apart = {"end": day(number)}
        land(warehouse.hook, ["net"], [["1.00"]], **{**new, **apart})
    warehouse.query("UPDATE stripe_report_landings SET table_name = 'there' WHERE landing <> ''")
    land(warehouse.hook, ["net"], [["5.00"]], "frr_5", **forgotten)
    warehouse.query("DELETE FROM stripe_report_landings WHERE report_run_id = 'frr_5'")
    warehouse.query("UPDATE stripe_report_landings SET table_name = 'activity' WHERE landing <> ''")
    with pytest.raises(LandingConflictError, match="that no manifest tells of"):
        landed(warehouse.hook, "activity", manifest_of("frr_9", 1, **new), on_overlap="replace")
    with pytest.raises(LandingConflictError, match="that no manifest tells of"):
        land(warehouse.hook, ["net"], [["9.00"]], "frr_9", on_overlap="replace", **new)
    warehouse.query("DELETE FROM activity WHERE _report_run_id = 'frr_5'")
    land(warehouse.hook, ["net"], [["9.00"]], "frr_9", **new)


@many_cases
@pytest.mark.parametrize(
    ("forgotten", "new"),
    [
        ({}, {}),
        (MONTH, MONTH),
        ({}, {"start": day(2), "end": day(3)}),
        ({"start": day(2), "end": day(3)}, {}),
        ({"report_type": "balance.summary.1"}, MONTH),
        ({"account": "acct_1"}, MONTH),
        (USD, {"currency": "eur", **MONTH}),
        (NOW, {"start": None, "end": day(3)}),
        (PAYOUT, {**PAYOUT, "payout": "po_2"}),
    ],
)
def test_rows_without_a_manifest_that_count_nothing_twice_stay(
    warehouse: Warehouse, forgotten: SPAN, new: SPAN
) -> None:
    """And those of the very same report are replaced."""
    land(warehouse.hook, ["net"], [["5.00"]], "frr_5", **forgotten)
    warehouse.query("DELETE FROM stripe_report_landings WHERE report_run_id = 'frr_5'")
    assert landed(warehouse.hook, "activity", manifest_of("frr_9", 1, **new)) is None
    land(warehouse.hook, ["net"], [["9.00"]], "frr_9", **new)
    expected = ["9.00"] if forgotten == new else ["5.00", "9.00"]
    assert rows_in(warehouse) == money(warehouse, *expected)


@pytest.mark.parametrize("landed_before", [day(1), day(31)])
def test_a_month_over_a_day_is_refused_or_replaces_it(warehouse: Warehouse, landed_before: int) -> None:
    """Sums stay true; what to do is for the author to say."""
    land(warehouse.hook, ["net"], [["1.00"]], start=landed_before, end=landed_before + 86400)
    with pytest.raises(LandingConflictError, match=r"2024-05-.*on_overlap='replace'"):
        land(warehouse.hook, ["net"], [["9.00"]], "frr_2", **MONTH)
    assert rows_in(warehouse) == money(warehouse, "1.00")
    recorded = land(warehouse.hook, ["net"], [["9.00"]], "frr_2", on_overlap="replace", **MONTH)
    assert rows_in(warehouse) == money(warehouse, "9.00")
    count = "SELECT count(*) FROM stripe_report_landings WHERE landing <> ''"
    assert warehouse.query(count) == [(1,)]
    assert landed(warehouse.hook, "activity", recorded) == recorded


@many_cases
@pytest.mark.parametrize(
    "about",
    [
        {"start": day(3), "end": day(4)},
        {"start": day(20), "end": day(40)},
        {**MONTH, "currency": "usd"},
        {"start": day(1), "end": day(40), "currency": "usd"},
    ],
)
def test_what_would_lose_rows_is_refused_always(warehouse: Warehouse, about: SPAN) -> None:
    """A day of a landed month can't take its place, nor one currency that of all."""
    land(warehouse.hook, ["net"], [["1.00"]], **MONTH)
    for on_overlap in ("fail", "replace"):
        with pytest.raises(LandingConflictError, match="replacing them would lose a part"):
            land(warehouse.hook, ["net"], [["2.00"]], "frr_2", on_overlap=on_overlap, **about)
    assert rows_in(warehouse) == money(warehouse, "1.00")


@many_cases
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"start": day(2), "end": day(3)}),
        ({"currency": "usd"}, {"currency": "eur"}),
        ({}, {"account": "acct_1"}),
        ({"start": None, "end": day(1)}, {"start": None, "end": day(2)}),
        ({"start": None, "end": None, "payout": "po_1"}, {"start": None, "end": None, "payout": "po_2"}),
        ({}, {"report_type": "balance.summary.1"}),
    ],
)
def test_what_counts_nothing_twice_stands_side_by_side(warehouse: Warehouse, one: SPAN, other: SPAN) -> None:
    """Days, currencies, accounts, snapshots, payouts and reports; each can be landed again."""
    for time in ("once", "again"):
        land(warehouse.hook, ["net", "x"], [["1.00", time]], **one)
        land(warehouse.hook, ["net", "x"], [["2.00", time]], "frr_2", **other)
    assert rows_in(warehouse) == money(warehouse, "1.00", "2.00")


ODD = [
    "a.itemized.3",
    "a.itemized.beta",
    "a.itemized.3b",
    "a.itemized.x.3",
    "a",
    "b",
    "a1.2x",
    "a_.1%",
]


@many_cases
@pytest.mark.parametrize("report_type", ODD)
def test_an_id_without_a_version_is_a_report_of_its_own(warehouse: Warehouse, report_type: str) -> None:
    """Each replaces its own rows, and those of no other name that goes on or is cut in another way."""
    for which in ODD:
        land(warehouse.hook, ["net", "x"], [["1.00", "before"]], report_type=which)
    before = rows_in(warehouse, "_report_type, net")
    land(warehouse.hook, ["net", "x"], [["1.00", "after"]], "frr_2", report_type=report_type)
    assert rows_in(warehouse, "_report_type, net") == before
    assert warehouse.query("SELECT _report_type FROM activity WHERE _report_run_id = 'frr_2'") == [(report_type,)]


def test_all_currencies_replace_one(warehouse: Warehouse) -> None:
    """It is in them."""
    land(warehouse.hook, ["net"], [["1.00"]], currency="usd")
    with pytest.raises(LandingConflictError):
        land(warehouse.hook, ["net"], [["2.00"]], "frr_2")
    land(warehouse.hook, ["net"], [["2.00"]], "frr_2", on_overlap="replace")
    assert rows_in(warehouse) == money(warehouse, "2.00")


def test_test_data_never_joins_live_data(warehouse: Warehouse) -> None:
    """Whichever came first, and whatever the interval."""
    land(warehouse.hook, ["net"], [["1.00"]], livemode=True)
    with pytest.raises(LandingConflictError, match="live data"):
        land(warehouse.hook, ["net"], [["2.00"]], "frr_2", start=day(9), end=day(10), on_overlap="replace")
    land(warehouse.hook, ["net"], [["2.00"]], "frr_2", table="test_activity")
    assert rows_in(warehouse) == money(warehouse, "1.00")


def test_a_newer_version_brings_its_columns(warehouse: Warehouse) -> None:
    """In the place of the older one's rows; rows of other days have nothing in them, as it has in what is gone."""
    for first in (1, 2):
        land(warehouse.hook, ["net", "gone"], [["1.00", "x"]], start=day(first), end=day(first + 1))
    newer = "balance_change_from_activity.itemized.4"
    land(warehouse.hook, ["new % [a]", "net"], [["y", "2.00"]], "frr_2", report_type=newer)
    assert rows_in(warehouse, '"net", "gone", "new % [a]"') == [
        (*money(warehouse, "1.00"), "x", None),
        (*money(warehouse, "2.00"), None, "y"),
    ]


def test_a_table_owners_things_survive(warehouse: Warehouse) -> None:
    """Columns, indexes, constraints and views, through a landing that replaces and one that adds a column."""
    land(warehouse.hook, ["net"], [["1.00"]])
    for statement in (
        "ALTER TABLE activity ADD COLUMN checked_by text DEFAULT 'nobody'",
        "CREATE UNIQUE INDEX of_the_owner ON activity (net, _report_run_id)",
        "CREATE VIEW total AS SELECT count(*) AS number FROM activity",
    ):
        warehouse.query(statement)
    land(warehouse.hook, ["net", "fee"], [["2.00", "0.10"], ["3.00", "0.20"]], "frr_2")
    assert rows_in(warehouse, "net, checked_by") == [(net, "nobody") for net in money(warehouse, "2.00", "3.00")]
    assert warehouse.query("SELECT number FROM total") == [(2,)]
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        land(warehouse.hook, ["net", "fee"], [["5.00", None], ["5.00", None]], "frr_3")
    assert rows_in(warehouse) == money(warehouse, "2.00", "3.00")


def test_a_table_that_its_owner_made_is_filled(postgres: Warehouse) -> None:
    """With types of the owner's, as far as they hold what comes."""
    ours = "_report_type text, _stripe_account text, _filters text, _interval_start timestamptz"
    theirs = "net numeric(12, 3) NOT NULL, created timestamp, count int, fee varchar(20), gross numeric(12, 2)"
    postgres.query("CREATE SCHEMA finance")
    try:
        postgres.query(
            f"CREATE TABLE finance.activity ({theirs}, {ours}, _interval_end timestamptz, _report_run_id text)"
        )
        row = ["1.5000", "2024-05-01 02:00:00", "3", "0.10", "1.6"]
        names = ["net", "created", "count", "fee", "gross"]
        land(postgres.hook, names, [row], table="finance.activity", timezone="Europe/Berlin")
        (back,) = rows_in(postgres, ", ".join(names), "finance.activity")
        assert back == (Decimal("1.500"), datetime(2024, 5, 1), 3, "0.10", Decimal("1.6"))
        rows = [["1.5001", *row[1:]], [*row[:-1], "1.605"]]
        both = "Row 1 of column 'net' has more than the 3 decimal places.*; Row 2 of column 'gross' has more than"
        with pytest.raises(ContentsError, match=both):
            land(postgres.hook, names, rows, table="finance.activity")
        rows = [["-1000000000", *row[1:]], [*row[:-1], "09999999999.6"], [*row[:-1], "10000000000"]]
        both = "Row 1 of column 'net' has more than the 9 digits.*; Row 3 of column 'gross' has more than the 10"
        with pytest.raises(ContentsError, match=both):
            land(postgres.hook, names, rows, table="finance.activity")
    finally:
        postgres.query("DROP SCHEMA finance CASCADE")


def test_an_amount_that_is_too_large_is_named_with_a_way_out(warehouse: Warehouse) -> None:
    """Where the database's decimals have an end; as text it lands there, too."""
    rows = [["1.00"], [f"-{10**20}.5"]]
    if warehouse.name == "sqlite" or (warehouse.name == "postgresql" and not is_general(warehouse)):
        land(warehouse.hook, ["net"], rows)
        assert rows_in(warehouse) == money(warehouse, *(cell for (cell,) in rows))
        return
    with pytest.raises(ContentsError, match=r"^Row 2 of column 'net' has more than the 20 digits") as caught:
        land(warehouse.hook, ["net"], rows)
    assert str(10**20) not in str(caught.value)
    (advised,) = re.findall(r"column_types=(\{.*?\})", str(caught.value))
    warehouse.query("DROP TABLE IF EXISTS activity")
    land(warehouse.hook, ["net"], rows, column_types=ast.literal_eval(advised))
    assert rows_in(warehouse) == sorted(cell for (cell,) in rows)


def test_texts_of_a_limited_length_are_texts(warehouse: Warehouse) -> None:
    """In a table that its owner made, in whichever database."""
    land(warehouse.hook, ["net"], [["1.00"]])
    warehouse.query("ALTER TABLE activity ADD COLUMN id varchar(20)")
    land(warehouse.hook, ["net", "id"], [["1.00", "txn_1"]], "frr_2")
    assert rows_in(warehouse, "id") == ["txn_1"]


@pytest.mark.parametrize("kind", ["date", "timestamp", "text"])
def test_our_columns_have_to_hold_instants(postgres: Warehouse, kind: str) -> None:
    """In a table that its owner made: rows that can't be found again would be there twice."""
    texts = "_report_type text, _stripe_account text, _filters text, _report_run_id text"
    bounds = f"_interval_start {kind}, _interval_end timestamptz"
    postgres.query(f"CREATE TABLE activity (net numeric, {texts}, {bounds})")
    with pytest.raises(LandingConflictError, match=r"'_interval_start' .* has to be timestamp with time zone"):
        land(postgres.hook, ["net"], [["1.00"]])
    assert rows_in(postgres) == []


def test_long_filters_are_told_apart(warehouse: Warehouse) -> None:
    """By a digest: they are in an index."""
    accounts = [f"acct_{number:020}" for number in range(20)]
    for run_id, chosen in (("frr_1", accounts), ("frr_2", accounts[1:]), ("frr_3", accounts)):
        rows = [["1.00", run_id]]
        land(warehouse.hook, ["net", "x"], rows, run_id, table=f"t{len(chosen)}", connected_accounts=chosen)
    assert warehouse.query("SELECT _report_run_id, length(_filters) FROM t20") == [("frr_3", 71)]


def test_columns_that_would_be_lost_are_named(warehouse: Warehouse) -> None:
    """Where two tasks ask for different columns of one report, the sums over one of them would shrink unseen."""
    land(warehouse.hook, ["net", "fee"], [["1.00", "0.10"]])
    with pytest.raises(LandingConflictError, match="with columns that this report lacks: net"):
        land(warehouse.hook, ["fee"], [["0.20"]], "frr_2")
    assert rows_in(warehouse, "fee, net") == [tuple(money(warehouse, "0.10", "1.00"))]
    land(warehouse.hook, ["fee"], [["0.20"]], "frr_2", start=day(2), end=day(3))
    newer = "balance_change_from_activity.itemized.4"
    land(warehouse.hook, ["fee"], [["0.30"]], "frr_3", report_type=newer)
    assert len(rows_in(warehouse, "fee")) == 2


def test_a_column_without_a_name_is_refused(warehouse: Warehouse) -> None:
    """It can't be asked for, and databases have none."""
    with pytest.raises(ContentsError, match="Column 2 of the report has no name"):
        land(warehouse.hook, ["net", ""], [["1.00", "x"]])


@pytest.mark.parametrize(
    ("first", "second"),
    [("text", "timestamp"), ("integer", "money"), ("text", "integer"), ("boolean", "text"), ("money", "integer")],
)
def test_a_column_of_another_type_takes_all_or_is_refused(warehouse: Warehouse, first: str, second: str) -> None:
    """Text takes what Stripe wrote; otherwise the error names both types, and nothing has changed."""
    cells = {"text": "x", "timestamp": "2024-05-01 00:00:00", "integer": "7", "money": "7.50", "boolean": "true"}
    land(warehouse.hook, ["a"], [[cells[first]]], column_types={"a": first})
    before = rows_in(warehouse, "a")

    def again() -> None:
        land(
            warehouse.hook, ["a"], [[cells[second]]], "frr_2", start=day(2), end=day(3), column_types={"a": second}
        )

    takes = {("text", "timestamp"), ("text", "integer"), ("money", "integer")}
    if (first, second) in takes:
        again()
        assert len(rows_in(warehouse, "a")) == 2
    else:
        with pytest.raises(ContentsError, match=rf"column 'a' of the table .* the report's is {second}"):
            again()
        assert rows_in(warehouse, "a") == before


def test_a_table_of_somebody_else_is_left_alone(warehouse: Warehouse) -> None:
    """It has none of our columns, so it can't tell whose rows are whose."""
    warehouse.query("CREATE TABLE activity (net text)")
    with pytest.raises(LandingConflictError, match="activity exists and lacks _report_type"):
        land(warehouse.hook, ["net"], [["1.00"]])
    assert rows_in(warehouse) == []


def test_contents_that_do_not_fit_change_nothing(warehouse: Warehouse) -> None:
    """Neither an interval that is there, nor the table; the first time there is no table at all."""
    rows = [["1.00", "1"], ["2.00", "one"]]
    with pytest.raises(ContentsError, match=r"Row 2 of column 'count'.*column_types=\{'count': 'text'\}"):
        land(warehouse.hook, ["net", "count"], rows)
    as_text = {"count": "text"}
    land(warehouse.hook, ["net", "count"], rows, column_types=as_text)
    with pytest.raises(ContentsError, match="Row 1 of column 'fee'"):
        land(warehouse.hook, ["net", "count", "fee"], [["1.00", "1", "free"]], "frr_2", column_types=as_text)
    assert rows_in(warehouse) == money(warehouse, "1.00", "2.00")
    as_text["fee"] = "text"
    land(warehouse.hook, ["net", "count", "fee"], [["3.00", "1", "free"]], "frr_2", column_types=as_text)
    assert rows_in(warehouse, "net, fee") == [(*money(warehouse, "3.00"), "free")]


def test_all_columns_that_do_not_fit_are_named_at_once(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the first cell of each, wherever it is, and types to paste, the task's own among them."""
    monkeypatch.setattr(typed, "BLOCK_SIZE", 64)
    monkeypatch.setattr(spool, "_CHUNK_SIZE", 64)
    rows = [["1.00", "1", "2024-05-01 00:00:00", "7"] for _ in range(20)]
    rows[2][1], rows[9][0], rows[18][2], rows[19][1] = "one", "free", "soon", "two"
    names, types = ["net", "count", "created", "tax_code"], {"tax_code": "integer"}
    with pytest.raises(ContentsError) as caught:
        land(warehouse.hook, names, rows, column_types=types)
    for said in ("Row 3 of column 'count'", "Row 10 of column 'net'", "Row 19 of column 'created'"):
        assert said in str(caught.value)
    pasted = {**types, "net": "text", "count": "text", "created": "text"}
    assert f"column_types={pasted}" in str(caught.value)
    land(warehouse.hook, names, rows, column_types=pasted)
    assert len(rows_in(warehouse)) == 20


def test_a_kind_of_ones_own_that_does_not_fit_gives_way_to_the_packages(warehouse: Warehouse) -> None:
    """What was money before it was called something else is money still."""
    with pytest.raises(ContentsError) as caught:
        land(warehouse.hook, ["net"], [["24.28"]], column_types={"net": "integer"})
    assert "column_types={'net': 'money(6)'}" in str(caught.value)
    land(warehouse.hook, ["net"], [["24.28"]], column_types={"net": "money(6)"})


def test_all_columns_of_a_table_that_do_not_fit_are_named_at_once(warehouse: Warehouse) -> None:
    """With the kinds that they hold, and nothing has changed."""
    kinds = {"a": "money", "b": "integer", "c": "timestamp"}
    land(warehouse.hook, list(kinds), [["1.00", "1", "2024-05-01 00:00:00"]], column_types=kinds)
    other = {"a": "text", "b": "text", "c": "integer"}
    row = ["1.00", "1", "1"]
    if warehouse.name == "sqlite":  # text holds all kinds but the integer there
        other, row = {"a": "text", "b": "text", "c": "text"}, ["1.00", "x", "1"]
        wrong = ["b"]
    else:
        wrong = ["a", "b", "c"]
    with pytest.raises(ContentsError) as caught:
        land(warehouse.hook, list(kinds), [row], "frr_2", start=day(2), end=day(3), column_types=other)
    for name in wrong:
        assert f"he column {name!r} of the table" in str(caught.value)
    held = {name: kinds[name] for name in wrong}
    assert f"column_types={held}" in str(caught.value)
    assert len(rows_in(warehouse, "a")) == 1


def test_kinds_are_advised_that_the_table_takes(sqlite: Warehouse) -> None:
    """Money is text in SQLite, so that a column of numbers has no room for it, and for whole numbers it has."""
    land(sqlite.hook, ["gross"], [["1.00"]])
    sqlite.query("ALTER TABLE activity ADD COLUMN net numeric")
    sqlite.query("ALTER TABLE activity ADD COLUMN created timestamp")
    about: dict[str, Any] = {"start": day(2), "end": day(3)}
    names, rows = ["gross", "net", "created"], [["1.00", "1", "2024-05-01 00:00:00"]]
    with pytest.raises(ContentsError, match=r"'net' of the table.*'created' of the table") as caught:
        land(sqlite.hook, names, rows, "frr_2", **about)
    (advised,) = re.findall(r"column_types=(\{.*?\})", str(caught.value))
    assert advised == "{'net': 'integer'}"
    sqlite.query("ALTER TABLE activity DROP COLUMN created")
    land(sqlite.hook, names, rows, "frr_2", column_types=ast.literal_eval(advised), **about)
    assert rows_in(sqlite, "gross, net") == [("1.00", 1), ("1.00", None)]


KEEPERS = {
    "sqlite": [
        "CREATE TRIGGER soft BEFORE DELETE ON activity BEGIN "
        "UPDATE activity SET deleted = 'yes' WHERE rowid = OLD.rowid; SELECT RAISE(IGNORE); END"
    ],
    "postgresql": [
        "CREATE FUNCTION soft() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "UPDATE activity SET deleted = 'yes' WHERE ctid = OLD.ctid; RETURN NULL; END $$; "
        "CREATE TRIGGER soft BEFORE DELETE ON activity FOR EACH ROW EXECUTE FUNCTION soft()",
        "CREATE RULE soft AS ON DELETE TO activity DO INSTEAD "
        "UPDATE activity SET deleted = 'yes' WHERE ctid = OLD.ctid",
        "CREATE RULE soft AS ON DELETE TO activity DO INSTEAD NOTHING",
    ],
}


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("about", [{}, {"end": day(32), "on_overlap": "replace"}], ids=["again", "covered"])
def test_rows_that_a_table_keeps_are_noticed(warehouse: Warehouse, number: int, about: dict[str, Any]) -> None:
    """A trigger or a rule that marks rows as deleted would leave them beside the new ones."""
    if number >= len(keepers := KEEPERS.get(warehouse.name, [])):
        pytest.skip("the database has no other way")
    land(warehouse.hook, ["net"], [["1.00"], ["2.00"]])
    warehouse.query("ALTER TABLE activity ADD COLUMN deleted varchar(3)")
    before = warehouse.query(MANIFESTS)
    warehouse.query(keepers[number])
    with pytest.raises(
        LandingConflictError, match=r"activity keeps rows that are deleted, as a trigger or a rule"
    ):
        land(warehouse.hook, ["net"], [["3.00"], ["4.00"]], "frr_2", **about)
    assert rows_in(warehouse, "net, deleted") == [(net, None) for net in money(warehouse, "1.00", "2.00")]
    assert warehouse.query(MANIFESTS) == before
    land(warehouse.hook, ["net"], [["1.00"]], "frr_3", start=day(40), end=day(41))


SPOILERS = {
    "sqlite": [
        "CREATE TRIGGER spoil AFTER INSERT ON activity BEGIN "
        "UPDATE activity SET _filters = 'x' WHERE rowid = NEW.rowid; END",
        "CREATE TRIGGER spoil BEFORE INSERT ON activity WHEN NEW.net = '4.00' BEGIN SELECT RAISE(IGNORE); END",
    ],
    "postgresql": [
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "NEW._filters := 'x'; RETURN NEW; END $$; "
        "CREATE TRIGGER spoil BEFORE INSERT ON activity FOR EACH ROW EXECUTE FUNCTION spoil()",
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF pg_trigger_depth() = 1 THEN INSERT INTO activity SELECT NEW.*; END IF; RETURN NEW; END $$; "
        "CREATE TRIGGER spoil BEFORE INSERT ON activity FOR EACH ROW EXECUTE FUNCTION spoil()",
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "DELETE FROM activity WHERE net = NEW.net; RETURN NULL; END $$; "
        "CREATE CONSTRAINT TRIGGER spoil AFTER INSERT ON activity DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION spoil()",
    ],
    "mariadb": ["CREATE TRIGGER spoil BEFORE INSERT ON activity FOR EACH ROW SET NEW._filters = 'x'"],
}


@pytest.mark.parametrize("number", range(3))
def test_rows_that_come_as_others_or_twice_are_noticed(warehouse: Warehouse, number: int) -> None:
    """What is counted is what can be found again, whatever the database says that it took."""
    if number >= len(spoilers := SPOILERS.get(warehouse.name, [])):
        pytest.skip("the database has no other way")
    land(warehouse.hook, ["net"], [["1.00"], ["2.00"]])
    warehouse.query(spoilers[number])
    with pytest.raises(
        ContentsError, match="a trigger or a rule of the table keeps some out, alters or adds some"
    ):
        land(warehouse.hook, ["net"], [["3.00"], ["4.00"]], "frr_2")
    assert rows_in(warehouse) == money(warehouse, "1.00", "2.00")


@pytest.mark.parametrize(
    ("about", "match"), [({}, "came into"), ({"end": day(32)}, "keeps rows that are deleted")]
)
def test_rows_that_a_commit_would_bring_back_are_noticed(
    postgres: Warehouse, about: dict[str, Any], match: str
) -> None:
    """By a trigger that waits for it, whether they are those of the same interval or of a covered one."""
    land(postgres.hook, ["net"], [["1.00"]])
    postgres.query(
        "CREATE FUNCTION kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO activity SELECT OLD.*; RETURN NULL; END $$; "
        "CREATE CONSTRAINT TRIGGER kept AFTER DELETE ON activity DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION kept()"
    )
    with pytest.raises((ContentsError, LandingConflictError), match=match):
        land(postgres.hook, ["net"], [["2.00"]], "frr_2", on_overlap="replace", **about)
    assert rows_in(postgres) == money(postgres, "1.00")


def test_what_waits_for_the_commit_may_wait_for_the_rows(postgres: Warehouse) -> None:
    """A key of the owner's into the table finds the new rows where it found those that they replace."""
    land(postgres.hook, ["net"], [["1.00"]])
    postgres.query(
        "ALTER TABLE activity ADD UNIQUE (net); CREATE TABLE mine (net numeric REFERENCES activity (net) "
        "DEFERRABLE INITIALLY DEFERRED); INSERT INTO mine VALUES (1)"
    )
    land(postgres.hook, ["net"], [["1.00"], ["2.00"]], "frr_2")
    assert rows_in(postgres) == money(postgres, "1.00", "2.00")


def test_rows_that_do_not_arrive_are_noticed(warehouse: Warehouse) -> None:
    """The interval stays as it was."""
    land(warehouse.hook, ["net"], [["1.00"]])
    with pytest.raises(ContentsError, match="has 3 rows, and 2 of them came"):
        land(warehouse.hook, ["net"], [["2.00"], ["3.00"]], "frr_2", claimed=3)
    assert rows_in(warehouse) == money(warehouse, "1.00")


@pytest.mark.parametrize("name", ["_filters", "_FILTERS"])
def test_a_column_with_one_of_our_names_is_refused(warehouse: Warehouse, name: str) -> None:
    """Also one that the database alone takes for the same."""
    if name != "_filters" and warehouse.name == "postgresql" and not is_general(warehouse):
        land(warehouse.hook, [name], [["x"]])
        assert rows_in(warehouse, '"_FILTERS", _filters') == [("x", None)]
        return
    with pytest.raises(ContentsError, match="this package has of its own"):
        land(warehouse.hook, [name], [["x"]])


def test_names_that_differ_in_case_alone_are_two_or_refused(warehouse: Warehouse) -> None:
    """Nothing is overwritten."""
    if warehouse.name == "postgresql" and not is_general(warehouse):
        land(warehouse.hook, ["m[Key]", "m[key]"], [["a", "b"]])
        assert rows_in(warehouse, '"m[Key]", "m[key]"') == [("a", "b")]
        return
    with pytest.raises(ContentsError, match=r"'m\[key\]' would be the same .* 'm\[Key\]'"):
        land(warehouse.hook, ["m[Key]", "m[key]"], [["a", "b"]])


def test_long_names_are_cut_and_stay_apart(warehouse: Warehouse) -> None:
    """PostgreSQL would cut them without a word."""
    names = [f"destination_payment_metadata[{'é' * 20}{end}]" for end in ("a", "b")]
    for first in ("0", "1"):
        land(warehouse.hook, names, [[first, "2"]])
    short = [fitting(name) for name in names]
    assert len(set(short)) == 2
    assert all(len(name.encode()) <= 63 and name.startswith("destination_payment_metadata[éé") for name in short)
    assert rows_in(warehouse, ", ".join(f'"{name}"' for name in short)) == [("1", "2")]


def test_names_are_never_sql(warehouse: Warehouse) -> None:
    """Of tables and columns, whatever is in them."""
    names = ['a"; DROP TABLE activity; --', "100%", "%s", ":net", "select", "(x)", "a'b", "$1", "?"]
    table = 'my "table" %s'
    land(warehouse.hook, ["net"], [["1.00"]])
    for cells in ("54321", "12345"):
        land(warehouse.hook, names[:5], [list(cells)], table=table)
    land(warehouse.hook, names, [list("123456789")], table=table)
    quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    assert rows_in(warehouse, quoted, '"my ""table"" %s"') == [tuple("123456789")]
    assert rows_in(warehouse) == money(warehouse, "1.00")


def test_nul_is_refused_where_the_database_has_no_room_for_it(warehouse: Warehouse) -> None:
    """With its row and column."""
    rows = [["a", "b"], ["c", "d\0"]]
    if warehouse.name != "postgresql":
        land(warehouse.hook, ["x", "y"], rows)
        assert rows_in(warehouse, "x, y") == [tuple(row) for row in rows]
    elif not is_general(warehouse):
        with pytest.raises(ContentsError, match="Row 2 of column 'y' has the character NUL"):
            land(warehouse.hook, ["x", "y"], rows)


QUOTED = ['"Activity"', 'main."Activity"', '"main".activity', "`activity`", "'activity'", "[activity]", '"a.b"']


@pytest.mark.parametrize("table", ["", "a.b.c", ".a", "a.", "x" * 64, "stripe_report_landings", *QUOTED])
def test_a_table_that_can_not_be_is_refused(sqlite: Warehouse, table: str) -> None:
    """Before anything is written; quotes would be of its name."""
    why = "give the name without quotes" if table in QUOTED else "table"
    with pytest.raises(ConfigurationError, match=why):
        land(sqlite.hook, ["net"], [["1.00"]], table=table)
    assert sqlite.query("SELECT count(*) FROM sqlite_master") == [(0,)]


def test_money_with_a_comma_has_a_point_in_the_table(warehouse: Warehouse) -> None:
    """What Stripe calls the decimal separator is the reader's business, not the database's."""
    land(warehouse.hook, ["net"], [["1,50"]], decimal_separator=",")
    assert rows_in(warehouse) == money(warehouse, "1.50")


@pytest.fixture(params=[{"cursor": "dictcursor"}, {"options": "-c default_transaction_isolation=serializable"}])
def eccentric(request: pytest.FixtureRequest, postgres: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """A connection with something in its extra."""
    connection = {**postgres.connection, "extra": request.param}
    return Warehouse("postgresql", connection).known(monkeypatch)


def test_a_connections_extra_holds_and_does_no_harm(eccentric: Warehouse) -> None:
    """Rows as dictionaries are for others, and no snapshot may be older than the lock."""
    for run_id in ("frr_1", "frr_2"):
        recorded = land(eccentric.hook, ["net", "x"], [["1.00", run_id]], run_id)
    assert landed(eccentric.hook, "activity", recorded) == recorded


def test_connection_options_reach_the_server(postgres: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a search path, whose first schema is the one without a name."""
    postgres.query("CREATE SCHEMA IF NOT EXISTS finance")
    extra = {"options": "-c search_path=finance,public"}
    finance = Warehouse("postgresql", {**postgres.connection, "extra": extra}).known(monkeypatch)
    assert land(finance.hook, ["net"], [["1.00"]]).path == "finance.activity"
    postgres.query("DROP SCHEMA finance CASCADE")


def test_a_general_database_is_reached_by_its_engine(warehouse: Warehouse) -> None:
    """Each database has its own way, and others have one."""
    database = databases.open_database(warehouse.hook)
    kinds = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mariadb": "MySQL", "duckdb": "DuckDB"}
    assert type(database).__name__ == ("Database" if is_general(warehouse) else kinds[warehouse.name])
    with database.connected():
        pass


def test_many_rows_come_in_several_statements(warehouse: Warehouse) -> None:
    """All of them; a server may limit the size of one."""
    rows = [[f"{number}.00"] for number in range(7)]
    with mock.patch.object(databases.general, "_ROWS_IN_A_STATEMENT", 3):
        land(warehouse.hook, ["net"], rows)
    assert rows_in(warehouse) == money(warehouse, *(cell for (cell,) in rows))


@pytest.mark.parametrize("table", ["activity", "a" * 63, "é" * 31])
def test_a_table_that_was_renamed_leaves_its_name_free(warehouse: Warehouse, table: str) -> None:
    """Its index has gone along with the name that it had, and what the new table has of its days is nothing."""
    for number in (1, 2):
        land(warehouse.hook, ["net"], [["1.00"]], table=table, start=day(number), end=day(number + 1))
    warehouse.query(f'ALTER TABLE "{table}" RENAME TO kept')
    recorded = land(warehouse.hook, ["net"], [["2.00"]], table=table, end=day(3))
    assert rows_in(warehouse, table=f'"{table}"') == money(warehouse, "2.00")
    assert landed(warehouse.hook, table, recorded) == recorded
    land(warehouse.hook, ["net"], [["3.00"]], table="kept")
    assert rows_in(warehouse, table="kept") == money(warehouse, "1.00", "3.00")


def test_manifests_that_were_renamed_are_begun_anew(warehouse: Warehouse) -> None:
    """Their key has a name, too, in some databases; what the table has of an interval is still replaced."""
    land(warehouse.hook, ["net"], [["1.00"]])
    warehouse.query("ALTER TABLE stripe_report_landings RENAME TO kept")
    recorded = land(warehouse.hook, ["net"], [["2.00"]], "frr_2")
    assert landed(warehouse.hook, "activity", recorded) == recorded
    assert rows_in(warehouse) == money(warehouse, "2.00")


def test_a_table_may_have_the_name_that_an_index_would(warehouse: Warehouse) -> None:
    """Whichever of them comes first, and whatever else its schema has."""
    warehouse.query("CREATE TABLE third_landing (net int)")
    for table in ("activity", "activity_landing", "activity_landing_landing", "second_landing", "second", "third"):
        land(warehouse.hook, ["net"], [["1.00"]], table=table)
        assert rows_in(warehouse, table=table) == money(warehouse, "1.00")


def test_manifests_of_a_dropped_table_go_before_another_one_comes(warehouse: Warehouse) -> None:
    """Where making a table ends the transaction, another landing's manifest could be among them afterwards."""
    land(warehouse.hook, ["net"], [["1.00"]])
    warehouse.query("DROP TABLE activity")
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        statements.append(" ".join(statement.split()[:2]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        land(warehouse.hook, ["net"], [["1.00"]])
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert statements.index("DELETE FROM") < statements.index("CREATE TABLE")


@pytest.mark.parametrize("library", ["pyarrow", "sqlalchemy"])
def test_without_the_extra_the_error_says_what_to_install(library: str) -> None:
    """It is not for everybody."""
    code = f"import sys; sys.modules['{library}'] = None; import airflow_reportrun.landing.sql.loading"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigurationError: " in done.stderr
    assert "pip install sqlalchemy pyarrow" in done.stderr


def test_a_table_has_one_name_where_case_makes_none(sqlite: Warehouse) -> None:
    """Or a month could stand beside its days."""
    land(sqlite.hook, ["net"], [["1.00"]], table="activity")
    with pytest.raises(LandingConflictError):
        land(sqlite.hook, ["net"], [["1.00"]], table="Activity", end=day(8))
