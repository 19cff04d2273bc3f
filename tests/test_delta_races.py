"""Landings in a Delta table that meet: each looks, decides and commits, in every order of these."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from airflow_reportrun.landing.lakehouse import layout, loading
from airflow_reportrun.landing.lakehouse.delta.table import DeltaLakeTable
from airflow_reportrun.landing.lakehouse.layout import OUR_FIELDS
from airflow_reportrun.reporting.errors import ContentsError, LandingConflictError
from tests.deltas import Ledger
from tests.landings import day

pytestmark = pytest.mark.slow

Landing = Mapping[str, Any]


def of(number: int, run_id: str, *amounts: str, **about: Any) -> Landing:
    """Return a report of a day."""
    return {
        **{"names": ["net"], "rows": [[amount] for amount in amounts], "run_id": run_id},
        **{"start": day(number), "end": day(number + 1), **about},
    }


BEFORE = of(1, "frr_old", "1.00", created="2024-05-02"), of(2, "frr_beside", "2.00", created="2024-05-03")
SAME = of(1, "frr_a", "3.00", created="2024-05-04"), of(1, "frr_b", "4.00", "5.00", created="2024-05-05")
DAYS = of(5, "frr_a", "3.00"), of(6, "frr_b", "4.00")
MONTH = of(1, "frr_month", "9.00", end=day(32), created="2024-06-01", on_overlap="replace")
EMPTY = of(1, "frr_empty", created="2024-05-04")
AGAIN = of(1, "frr_again", "1.00", created="2024-05-06")
WIDE = {**of(7, "frr_wide"), "names": ["net", "fee"], "rows": [["7.00", "0.07"]]}

MEETINGS: Mapping[str, tuple[Sequence[Landing], Landing, Landing]] = {
    "the same interval of a new table": ((), *SAME),
    "two intervals of a new table": ((), *DAYS),
    "the same new interval": (BEFORE, of(5, "frr_a", "3.00"), of(5, "frr_b", "4.00")),
    "the same interval": (BEFORE, *SAME),
    "two intervals": (BEFORE, *DAYS),
    "one without rows": (BEFORE, EMPTY, SAME[1]),
    "two without rows": ((), of(1, "frr_a"), of(1, "frr_b")),
    "the same figures again": (BEFORE, AGAIN, SAME[0]),
    "a new column and another interval": (BEFORE, WIDE, DAYS[0]),
    "a month and one of its days": (BEFORE, MONTH, DAYS[0]),
    "a month and a restated day": (BEFORE, MONTH, SAME[0]),
    "a month and a day without rows": ((), MONTH, of(5, "frr_empty", created="2024-05-04")),
}


def outcome(ledger: Ledger, landing: Landing, table: DeltaLakeTable | None = None) -> str:
    """Land, and say how it ended."""
    try:
        return ledger.land(**landing, table=table).report_run_id
    except LandingConflictError:
        return "refused"


def state(ledger: Ledger) -> Any:
    return ledger.rows("net", "_report_run_id"), ledger.told()


@pytest.mark.parametrize("meeting", MEETINGS)
def test_whoever_comes_second_decides_again(ledger: Ledger, meeting: str) -> None:
    """What is there is what one after the other would have left, whoever looked first."""
    before, *both = MEETINGS[meeting]
    for first, second in itertools.permutations(both):
        one, met = (Ledger(f"{ledger.url}_{first['run_id']}_{name}") for name in ("one", "met"))
        for landing in before:
            one.land(**landing)
            met.land(**landing)
        expected = [outcome(one, first), outcome(one, second)]
        tables = met.looked_at(), met.looked_at()
        assert [outcome(met, first, tables[0]), outcome(met, second, tables[1])] == expected
        assert state(met) == state(one)


def meeting_in_the_middle(monkeypatch: pytest.MonkeyPatch, meets: Callable[[], Any]) -> None:
    """Let something happen while the rows of the next landing are on their way."""
    tables_of = layout.tables_of
    met = iter([meets])

    def tables(*args: Any) -> Iterator[Any]:
        for happen in met:
            thread = threading.Thread(target=happen)  # deltalake can't be asked from where it takes rows
            thread.start()
            thread.join()
        yield from tables_of(*args)

    monkeypatch.setattr(loading, "tables_of", tables)


@pytest.mark.parametrize("other", [SAME[1], DAYS[1]], ids=["the same interval", "another one"])
def test_a_table_that_is_created_meanwhile_keeps_its_rows(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, other: Landing
) -> None:
    """Deltalake alone would commit over it, with the rows of both and the columns of the second."""
    meeting_in_the_middle(monkeypatch, lambda: ledger.land(**other))
    ledger.land(**{**SAME[0], "names": ["fee"]})
    assert ledger.told() == (["frr_b"] if other is SAME[1] else ["frr_a", "frr_b"])
    assert {*ledger.rows("net")} == {Decimal(4), Decimal(5) if other is SAME[1] else None}


def test_live_and_test_data_that_meet_in_an_empty_table(ledger: Ledger) -> None:
    """The second is refused, whatever its interval."""
    DeltaTable.create(ledger.url, pa.schema([("net", pa.decimal128(38, 6)), *OUR_FIELDS]))
    tables = ledger.looked_at(), ledger.looked_at()
    assert outcome(ledger, {**DAYS[0], "run_id": "frr_test"}, tables[0]) == "frr_test"
    assert outcome(ledger, {**DAYS[1], "livemode": True}, tables[1]) == "refused"


def test_a_compaction_meanwhile_keeps_all_rows(ledger: Ledger) -> None:
    """Of a table whose files were put together after it was looked at."""
    for landing in BEFORE:
        ledger.land(**landing)
    table = ledger.looked_at()
    ledger.native().optimize.compact()
    assert outcome(ledger, SAME[1], table) == "frr_b"
    assert ledger.rows("net") == [Decimal(it) for it in (2, 4, 5)]


def test_an_error_that_stays_is_told_while_others_land(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another one has committed meanwhile is no reason to try rows again that a constraint refuses."""
    ledger.land(**of(9, "frr_before", "9"))
    ledger.native().alter.add_constraint({"positive": "net > 0"})
    numbers = iter(range(10, 30))
    meeting_in_the_middle(monkeypatch, lambda: ledger.land(**of(next(numbers), "frr_other", "1")))
    with pytest.raises(ContentsError, match="failed validation check"):
        ledger.land(**of(1, "frr_mine", "-1"))
    assert ledger.rows("net") == [Decimal(1), Decimal(9)]


def test_days_that_meet_write_their_rows_once(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a backfill: only days that touch one and the same in UTC decide again."""
    ledger.land(**BEFORE[0])
    tables = [ledger.looked_at() for _ in range(8)]
    written = []
    tables_of = layout.tables_of

    def counted(*args: Any) -> Iterator[Any]:
        written.append(args)
        return tables_of(*args)

    monkeypatch.setattr(loading, "tables_of", counted)
    for number, table in enumerate(tables, 10):
        ledger.land(**of(number, f"frr_{number}", f"{number}.00"), table=table)
    assert len(written) == len(tables)
    assert len(ledger.rows("net")) == 1 + len(tables)
