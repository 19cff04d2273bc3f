"""What tables of a lakehouse promise in whichever format."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import unquote

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_reportrun.coverage.lakehouse import LakehouseTable
from airflow_reportrun.landing.contract import Contract
from airflow_reportrun.landing.formats import typed
from airflow_reportrun.reporting.errors import ConfigurationError, ContentsError, LandingConflictError
from tests.deltas import Ledger
from tests.docs_blocks import ROOT
from tests.icebergs import Books, needs_its_catalog
from tests.lakehouses import Lakehouse
from tests.landings import day
from tests.test_kept_columns import FORMS, FROZEN, ODD, ORDER, SNAKE, Rows, expected

TEXT = st.text(
    st.one_of(st.sampled_from('",\n\r\\. é李%:\0'), st.characters(exclude_categories=["Cs"])), max_size=12
)
AMOUNTS = st.builds(
    lambda sign, front, behind: f"{sign}{front}{'.' if behind else ''}{behind}",
    st.sampled_from(["", "-"]),
    st.integers(0, 10**20 - 1).map(str),
    st.text("0123456789", max_size=6),
)


@pytest.fixture(params=[pytest.param("iceberg", marks=needs_its_catalog), "delta"])
def lakehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Lakehouse:
    """A table of each format, which is not there yet."""
    return Ledger(str(tmp_path / "activity")) if request.param == "delta" else Books(tmp_path)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), block=st.sampled_from([1, 40, 1 << 20]), ended=st.booleans())
def test_contents_come_back_as_they_were(
    lakehouse: Lakehouse, data: st.DataObject, block: int, ended: bool
) -> None:
    """Money exactly, text with its quotes, line ends and NULs; NULL is not the empty text."""
    cells = st.tuples(st.none() | AMOUNTS, st.none() | TEXT, st.none() | TEXT)
    rows = [list(row) for row in data.draw(st.lists(cells, max_size=20))]
    name = data.draw(st.sampled_from(["what", "payment_metadata[order.id]", "a b", "1", "é", "a/b%20"]))
    one = lakehouse.beside(uuid.uuid4().hex)
    with mock.patch.object(typed, "BLOCK_SIZE", block):
        one.land(["net", name, "x"], rows, ended=ended)
    wanted = sorted(repr_of((None if cell is None else Decimal(cell), *texts)) for cell, *texts in rows)
    assert sorted(map(repr_of, one.rows("net", name, "x"))) == wanted
    paths = one.data_files()
    if not paths:
        assert not rows
        return
    with duckdb.connect() as connection:
        back = connection.read_parquet(paths).fetchall()
    assert sorted(repr_of(row[:3]) for row in back) == wanted


def test_a_folder_with_odd_letters_is_that_folder(lakehouse: Lakehouse) -> None:
    """As files in it show; what libraries would read in another way is refused."""
    one = lakehouse.beside("mine & Zoë's")
    one.land(["net"], [["1.00"]])
    (path,) = one.data_files()
    assert Path(unquote(path)).is_file()
    assert "mine & Zoë's" in unquote(path)
    assert one.rows("net") == [Decimal(1)]
    with pytest.raises(ConfigurationError, match="name a folder without %"):
        lakehouse.beside("a%20b").table()


def repr_of(row: Any) -> str:
    """Show a row, its decimals without the zeros that say nothing."""
    return repr([it.normalize() + 0 if isinstance(it, Decimal) else it for it in row])


def test_instants_come_in_utc(lakehouse: Lakehouse) -> None:
    """Of the time zone that the report was asked for, and dates as dates."""
    lakehouse.land(
        ["created", "day"],
        [["2024-05-01 09:30:00", "2024-05-01"]],
        timezone="America/New_York",
        column_types={"created": "timestamp", "day": "date"},
    )
    assert lakehouse.rows("created", "day") == [(datetime(2024, 5, 1, 13, 30, tzinfo=UTC), date(2024, 5, 1))]


def test_filters_accounts_and_reports_stand_beside_each_other(lakehouse: Lakehouse) -> None:
    """In one interval, and each is replaced by itself."""
    others: list[dict[str, Any]] = [
        {"currency": "usd"},
        {"currency": "eur"},
        {"account": "acct_1"},
        {"report_type": "payouts.itemized.3"},
        {"report_type": "balance.summary.1", "start": None},
        {"report_type": "payout_reconciliation.itemized.5", "start": None, "end": None, "payout": "po_1"},
    ]
    for turn in (1, 2):
        for number, about in enumerate(others):
            lakehouse.land(["net"], [[f"{turn}.0{number}"]], f"frr_{turn}{number}", **about)
    assert lakehouse.rows("net") == [Decimal(f"2.0{number}") for number in range(len(others))]
    with pytest.raises(LandingConflictError, match="usd"):
        lakehouse.land(["net"], [["1.00"]], "frr_all")
    lakehouse.land(["net"], [["9.00"]], "frr_all", on_overlap="replace")
    assert len(lakehouse.rows("net")) == len(others) - 1


def test_rows_that_were_deleted_by_hand_forbid_nothing(lakehouse: Lakehouse) -> None:
    """What is told of them is no reason to refuse a report with fewer columns; where they are, it is."""
    lakehouse.land(["net", "fee"], [["1.00", "0.10"]])
    with pytest.raises(LandingConflictError, match="columns that this report lacks: fee"):
        lakehouse.land(["net"], [["2.00"]], "frr_2")
    lakehouse.native().delete("net > 0")
    lakehouse.land(["net"], [["2.00"]], "frr_2")
    assert lakehouse.rows("net") == [Decimal(2)]


NEWER: dict[str, Any] = {"created": "2024-05-04T00:00:00Z"}


@pytest.mark.parametrize("figures", ["1.00", "2.00"])
def test_a_landing_is_told_of_its_own_rows_alone(lakehouse: Lakehouse, figures: str) -> None:
    """A rollback brings as many rows of an older report run: the newer one lands again."""
    lakehouse.land(["net"], [[figures]], created="2024-05-02T00:00:00Z")
    lakehouse.land(["net"], [["2.00"]], "frr_2", created="2024-05-03T00:00:00Z")
    lakehouse.land(["net"], [["2.00"]], "frr_3", **NEWER)
    assert (lakehouse.rows("_report_run_id"), lakehouse.told()) == ([RUNS[figures]], ["frr_3"])
    lakehouse.roll_back(1)
    assert lakehouse.landed("frr_3", **NEWER)  # of which the rows are the same
    lakehouse.roll_back(0)
    assert lakehouse.rows("net") == [Decimal(figures)]
    assert bool(lakehouse.landed("frr_3", **NEWER)) is (figures == "2.00")
    lakehouse.land(["net"], [["2.00"]], "frr_3", **NEWER)
    assert (lakehouse.rows("net"), lakehouse.told()) == ([Decimal(2)], ["frr_3"])
    assert lakehouse.landed("frr_3", **NEWER)


RUNS = {"1.00": "frr_2", "2.00": "frr_1"}
"""The report runs that the rows of the test above name."""


def test_an_older_report_run_lands_where_the_newer_one_was_rolled_back(lakehouse: Lakehouse) -> None:
    """Or one without rows was, which nothing would be lacking of."""
    older: dict[str, Any] = {"created": "2024-05-03T00:00:00Z"}
    for newer in ([["2.00"]], []):
        lakehouse.land(["net"], [["1.00"]], "frr_1", created="2024-05-02T00:00:00Z")
        lakehouse.land(["net"], newer, "frr_3", **NEWER)
        lakehouse.roll_back(0)
        assert not lakehouse.landed("frr_2", **older)
        lakehouse.land(["net"], [["3.00"]], "frr_2", **older)
        assert (lakehouse.rows("net"), lakehouse.told()) == ([Decimal(3)], ["frr_2"])
        lakehouse = lakehouse.beside("another")


@pytest.mark.parametrize("length", [3, 400])
def test_rows_that_a_rollback_brought_are_in_the_way_whatever_chose_them(
    lakehouse: Lakehouse, length: int
) -> None:
    """Long filters are a digest in rows, which is told from others by those of the report that lands."""
    about: dict[str, Any] = {"report_type": "payout_reconciliation.itemized.5", "reporting_category": "x" * length}
    lakehouse.land(["net"], [["1.00"]], "frr_1", created="2024-05-02T00:00:00Z", **about)
    lakehouse.land(["net"], [["2.00"]], "frr_2", created="2024-05-03T00:00:00Z", **about)
    lakehouse.roll_back(0)
    with pytest.raises(LandingConflictError):
        lakehouse.land(["net"], [["9.00"]], "frr_month", end=day(32), **about)
    assert lakehouse.rows("net") == [Decimal(1)]


def test_what_was_rolled_back_lands_again(lakehouse: Lakehouse) -> None:
    """A day that was landed first then, and days whose month had taken their place."""
    days: list[dict[str, Any]] = [{"start": day(number), "end": day(number + 1)} for number in (1, 2)]
    for number, about in enumerate(days):
        lakehouse.land(["net"], [[f"{number}.00"]], f"frr_{number}", **about)
    lakehouse.roll_back(0)
    assert lakehouse.landed("frr_0", **days[0])
    assert not lakehouse.landed("frr_1", **days[1])
    lakehouse.land(["net"], [["1.00"]], "frr_1", **days[1])
    lakehouse.land(["net"], [["7.00"]], "frr_month", start=day(1), end=day(32), on_overlap="replace")
    lakehouse.roll_back(-2)
    with pytest.raises(LandingConflictError, match="no manifest tells of"):
        lakehouse.landed("frr_month", start=day(1), end=day(32), on_overlap="replace")
    for number, about in enumerate(days):
        lakehouse.land(["net"], [[f"{number}.00"]], f"frr_{number}", **about)
    assert (lakehouse.rows("net"), lakehouse.told()) == ([Decimal(0), Decimal(1)], ["frr_0", "frr_1"])


def test_coverage_believes_what_the_rows_bear_out(lakehouse: Lakehouse) -> None:
    """What was rolled back, replaced by older figures, or deleted by hand, counts as missing; no rows are none."""

    def covered() -> dict[int | None, bool]:
        landings = LakehouseTable("it", "", lakehouse.table()).landings()
        return {it.interval_start: it.is_empty for it in landings}

    bounds: list[dict[str, Any]] = [{"start": day(number), "end": day(number + 1)} for number in (1, 2, 3)]
    first, second, third = bounds
    lakehouse.land(["net"], [["1.00"]], "frr_1", created="2024-05-02T00:00:00Z", **first)
    lakehouse.land(["net"], [], "frr_2", **second)
    lakehouse.land(["net"], [["2.00"], ["3.00"]], "frr_3", **third)
    starts = [it["start"] for it in bounds]
    assert covered() == dict(zip(starts, (False, True, False), strict=True))
    lakehouse.land(["net"], [["9.00"]], "frr_9", **{**NEWER, **first})
    lakehouse.roll_back(-2)
    assert covered() == dict(zip(starts[1:], (True, False), strict=True))
    lakehouse.native().delete("net = 2")
    assert covered() == {starts[1]: True}


DAYS: list[dict[str, Any]] = [{"start": day(number), "end": day(number + 1)} for number in (1, 2)]
MONTH: dict[str, Any] = {"start": day(1), "end": day(32)}


@pytest.mark.parametrize("created", [None, "2024-07-01T00:00:00Z"])
def test_an_empty_month_that_was_rolled_back_is_not_there(lakehouse: Lakehouse, created: str | None) -> None:
    """Of no rows none can be missing: it is the rows of its days that say so, and they land again."""
    older = created and "2024-06-01T00:00:00Z"
    for number, about in enumerate(DAYS):
        lakehouse.land(["net"], [[f"{number}.00"]] * 3, f"frr_{number}", created=older, **about)
    lakehouse.land(["net"], [], "frr_month", on_overlap="replace", created=created, **MONTH)
    assert lakehouse.landed("frr_month", created=created, **MONTH)
    covered = LakehouseTable("it", "", lakehouse.table())
    assert [it.is_empty for it in covered.landings()] == [True]
    lakehouse.roll_back(-2)
    assert covered.landings() == []
    for run_id in ("frr_month", "frr_newer"):
        with pytest.raises(LandingConflictError, match="no manifest tells of"):
            lakehouse.landed(run_id, on_overlap="replace", created=created, **MONTH)
        with pytest.raises(LandingConflictError, match="no manifest tells of"):
            lakehouse.land(["net"], [], run_id, on_overlap="replace", created=created, **MONTH)
    for number, about in enumerate(DAYS):
        assert not lakehouse.landed(f"frr_{number}", created=older, **about)
        lakehouse.land(["net"], [[f"{number}.00"]] * 3, f"frr_{number}", created=older, **about)
    assert lakehouse.told() == ["frr_0", "frr_1"]
    assert lakehouse.rows("net") == [Decimal(0)] * 3 + [Decimal(1)] * 3


def test_an_empty_month_is_in_the_way_of_its_days(lakehouse: Lakehouse) -> None:
    """As one with rows: nobody said that they may come back, and other filters say nothing of it."""
    lakehouse.land(["net"], [], "frr_month", currency="usd", **MONTH)
    lakehouse.land(["net"], [["1.00"]], "frr_eur", currency="eur", **DAYS[0])
    for number, about in enumerate(DAYS):
        with pytest.raises(LandingConflictError, match=r"report run frr_month"):
            lakehouse.land(["net"], [["1.00"]], f"frr_{number}", currency="usd", **about)


def test_an_empty_report_in_the_place_of_rows_says_how_many_go(
    lakehouse: Lakehouse, caplog: pytest.LogCaptureFixture
) -> None:
    """Days with figures, and a month without: more likely a mistake than news."""
    for number, about in enumerate(DAYS):
        lakehouse.land(["net"], [[f"{number}.00"]] * 3, f"frr_{number}", **about)
    lakehouse.land(["net"], [], "frr_month", on_overlap="replace", **MONTH)
    (said,) = (it.getMessage() for it in caplog.records if it.levelname == "WARNING")
    assert re.search(r"Report run frr_month has no rows, and takes the place of 2 landings with 6 rows in ", said)


def test_test_data_never_joins_live_data(lakehouse: Lakehouse) -> None:
    """Whatever its interval."""
    lakehouse.land(["net"], [["1.00"]], livemode=True)
    with pytest.raises(LandingConflictError, match="has live data"):
        lakehouse.land(["net"], [["1.00"]], "frr_2", start=day(8), end=day(9))


LANDS = """
from pathlib import PosixPath
from airflow_reportrun.reporting.errors import ReportingError
from tests.deltas import Ledger
from tests.icebergs import Books
from tests.landings import day

try:
    {}.land(["net"], [["2.00"]], "frr_2", start=day(2), end=day(3))
except ReportingError as error:
    print(type(error).__name__, error)
"""


def obey_modes() -> None:
    """Let a process of root be one that modes hold for, from its next program on."""
    if os.getuid() == 0:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def test_a_place_that_can_not_be_written_to_is_said(lakehouse: Lakehouse, tmp_path: Path) -> None:
    """No retry would help, and what is landed stays as it is."""
    lakehouse.land(["net"], [["1.00"]])
    paths = [tmp_path, *sorted(tmp_path.rglob("*"))]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        done = subprocess.run(
            [sys.executable, "-c", LANDS.format(lakehouse)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            preexec_fn=obey_modes,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        for path in paths:
            path.chmod(path.stat().st_mode | 0o200)
    assert re.search("^ConfigurationError table .*", done.stdout, re.MULTILINE), done.stdout + done.stderr
    assert [tmp_path, *sorted(tmp_path.rglob("*"))] == paths
    assert (lakehouse.rows("net"), lakehouse.told()) == ([Decimal(1)], ["frr_1"])


@pytest.mark.parametrize("contract", FORMS)
def test_what_is_kept_in_a_lakehouse_is_what_stripe_wrote(lakehouse: Lakehouse, contract: Contract) -> None:
    """As in other tables."""
    first: Rows = [{"description": "a", ORDER: "1", ODD: None}, {"description": "b", ORDER: None, ODD: 'x"'}]
    second: Rows = [{"description": "c", ORDER: "", "payment_metadata[size]": "ü"}]
    for rows, run_id, start in ((first, "frr_1", 1), (second, "frr_2", 2), (first, "frr_3", 1)):
        cells = [list(row.values()) for row in rows]
        about: dict[str, Any] = {"start": day(start), "end": day(start + 1)}
        told = lakehouse.land(list(rows[0]), cells, run_id, contract=contract, **about)
        assert (told.naming, told.metadata) == (contract.naming, contract.metadata)
    wanted = [expected(contract, row) for row in (*first, *second)]
    names = list(dict.fromkeys(name for row in wanted for name in row))
    assert lakehouse.rows(*names) == [tuple(row.get(name) for name in names) for row in wanted]


def test_a_lakehouse_in_another_form_or_frozen_stays_as_it_is(lakehouse: Lakehouse) -> None:
    """Nothing is written by names that would make two columns of one, or what a frozen table would change for."""
    lakehouse.land(["net", ORDER], [["1.00", "a"]], contract=FROZEN)
    later: dict[str, Any] = {"start": day(2), "end": day(3)}
    with pytest.raises(
        LandingConflictError, match=r"'payment_metadata\[order_id\]' is 'payment_metadata__order_id'"
    ):
        lakehouse.land(["net", ORDER], [["2.00", "b"]], "frr_2", contract=SNAKE, **later)
    said = r"lacks 'fee' \(money\(6\)\); its 'net' is decimal.*, and the report's is money\(2\)"
    later["contract"] = FROZEN
    with pytest.raises(ContentsError, match=said):
        lakehouse.land(["net", "fee"], [["2.00", "0.1"]], "frr_2", column_types={"net": "money(2)"}, **later)
    assert lakehouse.rows(ORDER) == ["a"]
    lakehouse.land(["net", ORDER], [["2.00", "b"]], "frr_2", **later)
    assert lakehouse.rows(ORDER) == ["a", "b"]
