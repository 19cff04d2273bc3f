"""What a report replaces in a table, and what it can't stand beside: the decisions, of a table that is told of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from airflow_reportrun.landing.contract import PLAIN, Contract
from airflow_reportrun.landing.decision import Answer
from airflow_reportrun.landing.formats.columns import Column
from airflow_reportrun.landing.manifest import Manifest, Subject
from airflow_reportrun.landing.neighbours import SHOWN, Neighbourhood
from airflow_reportrun.reporting.errors import LandingConflictError
from tests.landings import day, manifest_of

TYPES = {"net": "money(6)", "who": "text"}
COLUMNS = [Column("net", "money", 6), Column("who", "text")]


def typed(run_id: str, rows: int = 2, first: int = 1, last: int = 2, **about: Any) -> Manifest:
    """Return the manifest of a report of these days of May, with two columns."""
    found = manifest_of(run_id, rows, start=day(first), end=day(last), **about)
    return replace(found, columns=("net", "who"), column_types=TYPES)


MINE = typed("frr_2", contents=b"mine", created="2024-05-03T12:00:00Z")
OLDER = typed("frr_1", contents=b"older", created="2024-05-03T11:00:00Z")
NEWER = typed("frr_3", contents=b"newer", created="2024-05-03T13:00:00Z")
SAME = typed("frr_1", contents=b"mine", created="2024-05-03T11:00:00Z")


class Table(Neighbourhood):
    """A table of whose landings and rows a test tells."""

    def __init__(
        self,
        mine: Manifest,
        *landed: Manifest,
        rows: Mapping[str, int] | None = None,
        other_mode: str | None = None,
        untold: Sequence[Subject] = (),
    ) -> None:
        super().__init__(mine, "the_table", "the_manifests")
        self.landed = landed
        self.rows = rows or {}
        self.other_mode = other_mode
        self.untold = untold
        self.asked: list[Sequence[Subject]] = []

    @property
    def same(self) -> Manifest | None:
        """What is landed of the same subject."""
        return next((it for it in self.landed if it.subject == self._subject), None)

    def rows_there(self, of: Manifest) -> int:
        """Count what a test tells of, or all."""
        return self.rows.get(of.report_run_id, of.rows or 0)

    def _seen_from(self, manifest: Manifest) -> Table:
        return Table(manifest, *self.landed, rows=self.rows, other_mode=self.other_mode, untold=self.untold)

    def _of_other_mode(self) -> str | None:
        return self.other_mode

    def _near(self) -> Sequence[Manifest]:
        return self.landed

    def _untold(self, replaced: Sequence[Subject]) -> Sequence[Subject]:
        self.asked.append(replaced)
        return self.untold


def settled(
    table: Table, *, columns: Sequence[Column] = COLUMNS, lacks: bool = False, contract: Contract = PLAIN
) -> Manifest | None:
    asked: list[Sequence[str]] = []

    def columns_of(names: Sequence[str]) -> Sequence[Column]:
        asked.append(names)
        return columns

    found = table.settled(columns_of, lambda wanted: lacks and wanted == columns, contract, may_go=False)
    assert asked == ([] if table.same is None else [table.same.columns or ()])
    return found


# Before the download


def test_what_is_landed_and_as_it_is_wanted_stays() -> None:
    """Of the same report run, or of a newer one."""
    assert settled(Table(MINE, MINE)) == MINE
    assert settled(Table(MINE, NEWER)) == NEWER
    assert settled(Table(MINE)) is None
    assert settled(Table(MINE, OLDER)) is None


@pytest.mark.parametrize(
    "why",
    [
        {"lacks": True},
        {"columns": [Column("net", "money", 8), Column("who", "text")]},
        {"contract": Contract(naming="snake_case")},
    ],
)
def test_what_is_wanted_in_another_form_is_landed_again(why: dict[str, Any]) -> None:
    """In other types, under other names, or in a table that has lost a column; a newer one stays all the same."""
    assert settled(Table(MINE, MINE), **why) is None
    assert settled(Table(MINE, NEWER), **why) == NEWER


def test_what_lost_rows_is_landed_again() -> None:
    """Whoever deleted them."""
    assert settled(Table(MINE, MINE, rows={"frr_2": 1})) is None
    assert settled(Table(MINE, NEWER, rows={"frr_3": 1})) is None


def test_nothing_is_downloaded_for_what_can_not_land() -> None:
    """Beside another interval, or beside rows that no manifest tells of."""
    with pytest.raises(LandingConflictError, match="set on_overlap='replace'"):
        settled(Table(typed("frr_2", 1, 1, 3), OLDER))
    with pytest.raises(LandingConflictError, match="that no manifest tells of"):
        settled(Table(MINE, untold=[OLDER.subject]))


def test_what_is_covered_goes_where_it_may() -> None:
    """And is told of to who looks for rows without a manifest."""
    table = Table(typed("frr_2", 1, 1, 3), OLDER)
    assert table.settled(lambda names: COLUMNS, lambda wanted: False, PLAIN, may_go=True) is None
    assert table.asked == [[OLDER.subject]]


# Whether something newer is there


@pytest.mark.parametrize(
    ("there", "exists", "stays"),
    [(NEWER, True, True), (NEWER, False, False), (MINE, True, False), (OLDER, True, False)],
)
def test_what_is_newer_stays(there: Manifest, exists: bool, stays: bool) -> None:
    """In whatever form, as long as its table is there."""
    assert Table(MINE, there).newer(lambda: exists) == (there if stays else None)


def test_what_is_newer_and_not_whole_does_not_stay() -> None:
    """Nor does nothing."""
    assert Table(MINE, NEWER, rows={"frr_3": 1}).newer(lambda: True) is None
    assert Table(MINE).newer(lambda: True) is None


def test_the_table_is_looked_for_only_where_something_newer_is_told_of() -> None:
    """It is a question to a database or a catalog."""
    asked: list[None] = []
    for there in (OLDER, MINE):
        Table(MINE, there).newer(lambda: not asked.append(None))  # type: ignore[func-returns-value]
    assert asked == []


# At the publication


@pytest.mark.parametrize(
    ("there", "lacking", "answer"),
    [
        (MINE, False, Answer.LANDED),
        (MINE, True, Answer.REPLACE),
        (SAME, False, Answer.CONFIRMED),
        (SAME, True, Answer.REPLACE),
        (OLDER, False, Answer.REPLACE),
        (replace(SAME, rows=3), False, Answer.REPLACE),
        (replace(SAME, columns=("who", "net")), False, Answer.REPLACE),
        (replace(SAME, column_types={**TYPES, "net": "money(8)"}), False, Answer.REPLACE),
        (replace(SAME, naming="snake_case"), False, Answer.REPLACE),
        (replace(SAME, metadata="json"), False, Answer.REPLACE),
        (replace(SAME, report_type="balance_change_from_activity.itemized.4"), False, Answer.REPLACE),
        (replace(SAME, parameters={**SAME.parameters, "timezone": "Etc/UTC"}), False, Answer.REPLACE),
        (replace(SAME, parameters={**SAME.parameters, "decimal_separator": ","}), False, Answer.REPLACE),
        (replace(SAME, parameters={**SAME.parameters, "compress_file": True}), False, Answer.CONFIRMED),
    ],
)
def test_the_same_rows_are_not_written_again(there: Manifest, lacking: bool, answer: Answer) -> None:
    """Where the same file would make them: of the same version, names, types, time zone and decimal separator."""
    assert Table(MINE, there).verdict(lacking=lacking, may_go=False) == (answer, ())


def test_a_time_zone_that_both_have_is_the_same() -> None:
    """As all else that the rows are made by."""
    mine, there = (replace(it, parameters={**it.parameters, "timezone": "Europe/Berlin"}) for it in (MINE, SAME))
    assert Table(mine, there).verdict(lacking=False, may_go=False) == (Answer.CONFIRMED, ())


def test_rows_are_written_where_there_are_none() -> None:
    """For the first time, or after some were deleted."""
    assert Table(MINE).verdict(lacking=False, may_go=False) == (Answer.REPLACE, ())
    assert Table(MINE, SAME, rows={"frr_1": 1}).verdict(lacking=False, may_go=False) == (Answer.REPLACE, ())


def test_what_is_covered_goes_and_the_rest_is_written_again() -> None:
    """Also where the same rows are there: those of other bounds would count beside them."""
    part = replace(OLDER, parameters={**OLDER.parameters, "currency": "usd"})
    table = Table(MINE, SAME, part)
    with pytest.raises(LandingConflictError, match="set on_overlap='replace'"):
        table.verdict(lacking=False, may_go=False)
    assert table.verdict(lacking=False, may_go=True) == (Answer.REPLACE, [part])
    assert table.asked == [[part.subject]]


def test_rows_that_no_manifest_tells_of_stop_a_publication() -> None:
    """They came between the look before the download and now."""
    with pytest.raises(LandingConflictError, match="that no manifest tells of"):
        Table(MINE, untold=[OLDER.subject]).verdict(lacking=False, may_go=False)


def test_to_replace_newer_figures_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """Which happens where some of their rows are gone."""
    Table(MINE, OLDER).verdict(lacking=False, may_go=False)
    assert caplog.messages == []
    Table(MINE, NEWER, rows={"frr_3": 1}).verdict(lacking=False, may_go=False)
    assert caplog.messages == [
        "Not all 2 rows of report run frr_3, which is newer than frr_2, are in the_table any longer: "
        "it is replaced."
    ]


def test_less_of_a_report_does_not_take_the_place_of_more() -> None:
    """Of the same version, as long as there are rows that have the columns."""
    more = replace(OLDER, columns=("fee", "net", "tax", "who"))
    with pytest.raises(LandingConflictError) as caught:
        Table(MINE, more).verdict(lacking=False, may_go=False)
    assert str(caught.value) == (
        "balance_change_from_activity.itemized from 2024-05-01T00:00:00Z to 2024-05-02T00:00:00Z is landed in "
        "the_table with columns that this report lacks: fee, tax. Ask for these columns, too, land it in another "
        "table, or delete its rows and its manifest in the_manifests."
    )
    for table in (
        Table(MINE, more, rows={"frr_1": 0}),
        Table(MINE, replace(more, report_type="balance_change_from_activity.itemized.4")),
        Table(MINE, replace(more, columns=None)),
        Table(MINE, replace(more, columns=("net",))),
    ):
        assert table.verdict(lacking=False, may_go=False)[0] is Answer.REPLACE


@pytest.mark.parametrize("mine", [(), None])
def test_an_empty_report_has_no_columns_to_lose(mine: tuple[str, ...] | None) -> None:
    """One that is landed without rows keeps its header; some of it is lost with any rows or none."""
    for there in (OLDER, replace(OLDER, rows=0)):
        with pytest.raises(LandingConflictError, match="lacks: net, who"):
            Table(replace(MINE, columns=mine), there).require_no_less(there)


# What stands beside it

REPORT = "balance_change_from_activity.itemized"


def days(first: int, last: int) -> str:
    return f"{REPORT} from 2024-05-{first:02}T00:00:00Z to 2024-05-{last:02}T00:00:00Z"


def refused(table: Table, *, may_go: bool) -> str:
    with pytest.raises(LandingConflictError) as caught:
        table.covered(may_go=may_go)
    return str(caught.value)


def test_what_is_apart_is_no_matter() -> None:
    """Nor is what is of the same subject."""
    table = Table(MINE, OLDER, typed("frr_4", 1, 2, 3), typed("frr_5", 1, 1, 9, account="acct_1"))
    assert table.covered(may_go=True) == table.covered(may_go=False) == ()


def test_what_is_covered_is_named_in_the_order_of_time() -> None:
    """Whatever the table finds first."""
    landed = [typed(f"frr_{n}", 1, n, n + 1) for n in (3, 1, 2)]
    covered = Table(typed("frr_9", 1, 1, 4), *landed).covered(may_go=True)
    assert covered == [landed[1], landed[2], landed[0]]


def test_what_is_covered_goes_only_where_that_is_said() -> None:
    """The error says how to say it, and names some of what would go."""
    landed = [typed(f"frr_{n}", 1, n, n + 1) for n in range(1, SHOWN + 3)]
    month = typed("frr_9", 1, 1, 20)
    shown = "; ".join(f"{days(n, n + 1)} (report run frr_{n})" for n in range(1, SHOWN + 1))
    words = refused(Table(month, *landed), may_go=False)
    assert words == (
        f"{days(1, 20)} would count the same twice beside what is landed in the_table: {shown} and 2 more. "
        "Ways out: set on_overlap='replace' to put this landing in their place, land it in another table, or "
        "delete those rows and their manifests in the_manifests."
    )
    assert "more" not in refused(Table(month, *landed[:SHOWN]), may_go=False)


def test_nothing_goes_of_which_a_part_would_be_lost() -> None:
    """All that is in the way is named."""
    words = refused(Table(typed("frr_9", 1, 1, 3), typed("frr_1", 1), typed("frr_2", 1, 2, 4)), may_go=True)
    assert f"{days(1, 2)} (report run frr_1); {days(2, 4)} (report run frr_2). Ways out: land what covers" in words
    assert "covers them whole, since replacing them would lose a part, land it in" in words


def test_newer_figures_do_not_go() -> None:
    """As long as they are there; only they are named."""
    month = typed("frr_9", 1, 1, 4, created="2024-05-03T12:00:00Z")
    old = typed("frr_1", 1, created="2024-05-03T11:00:00Z")
    new = typed("frr_2", 1, 2, 3, created="2024-05-03T13:00:00Z")
    words = refused(Table(month, old, new), may_go=True)
    assert f"the_table: {days(2, 3)} (report run frr_2). Ways out: clear the task that created frr_9, " in words
    assert "frr_9, which is older, for fresh figures, land it in another table" in words
    gone = Table(month, old, new, rows={"frr_2": 0})
    assert gone.covered(may_go=True) == [old, new]


@pytest.mark.parametrize(("livemode", "mine", "its"), [(True, "live", "test"), (False, "test", "live")])
def test_live_and_test_data_do_not_meet(livemode: bool, mine: str, its: str) -> None:
    """In one table a sum would have both."""
    words = refused(Table(replace(MINE, livemode=livemode), other_mode="frr_7"), may_go=True)
    assert words == (
        f"the_table has {its} data (report run frr_7), and frr_2 is of {mine} data: land it in another table."
    )


def test_rows_that_no_manifest_tells_of_are_named() -> None:
    """A few of them."""
    untold = [typed("frr_1", 1, n, n + 1).subject for n in range(1, SHOWN + 2)]
    table = Table(MINE, untold=untold)
    with pytest.raises(LandingConflictError) as caught:
        table.require_told(())
    shown = "; ".join(days(n, n + 1) for n in range(1, SHOWN + 1))
    assert str(caught.value) == (
        f"{days(1, 2)} would count the same twice beside rows in the_table that no manifest tells of, as after a "
        f"table was renamed or restored: {shown} and more. Ways out: delete those rows, land exactly that again, "
        "which brings its manifest back, or land this in another table."
    )
    table.untold = untold[:SHOWN]
    with pytest.raises(LandingConflictError, match=r"2024-05-06T00:00:00Z\. Ways out"):
        table.require_told(())
    table.untold = ()
    table.require_told(())
