"""Landings in an Iceberg table that meet others between their look and their commit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from io import BytesIO
from typing import Any
from unittest import mock

import pytest

from airflow_reportrun.landing.lakehouse import loading
from airflow_reportrun.reporting.errors import ConfigurationError, LandingConflictError, ReportingError, StoreError
from tests.icebergs import Books, needs_its_catalog
from tests.landings import as_stripe_writes, day, manifest_of

pytestmark = [pytest.mark.slow, needs_its_catalog]

AT = ["look", "_begun", "_written_for", "_commit"]
"""Where somebody else comes in between: before these steps of a landing."""


@contextmanager
def meanwhile(step: str, act: Callable[[], Any], times: int = 1) -> Iterator[None]:
    """Let somebody else act before a step of a landing, the first times."""
    from airflow_reportrun.landing.lakehouse.iceberg.table import IcebergTable

    real, left = getattr(IcebergTable, step), times

    def stepping(self: Any, *args: Any) -> Any:
        nonlocal left
        if left > 0:
            left, count = 0, left  # what acts takes the same steps
            act()
            left = count - 1
        return real(self, *args)

    with mock.patch.object(IcebergTable, step, stepping):
        yield
    assert left < times, "nobody came by"


def made(number: int) -> str:
    return f"2024-06-0{number}T00:00:00Z"


MINE: dict[str, Any] = {"names": ["net"], "rows": [["1.00"], ["2.00"]], "run_id": "frr_mine", "created": made(2)}
OTHERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "the same run": (MINE, ["frr_mine"] * 2),
    "an older run": ({**MINE, "rows": [["7.00"]], "run_id": "frr_older", "created": made(1)}, ["frr_mine"] * 2),
    "a newer run": ({**MINE, "rows": [["7.00"]], "run_id": "frr_newer", "created": made(3)}, ["frr_newer"]),
    "the same figures": ({**MINE, "run_id": "frr_older", "created": made(1)}, ["frr_older"] * 2),
    "another day": (
        {**MINE, "rows": [["7.00"]], "run_id": "frr_day", "start": day(2), "end": day(3)},
        ["frr_day", "frr_mine", "frr_mine"],
    ),
    "another column": (
        {
            **{"names": ["fee", "net"], "rows": [["3.00", "7.00"]], "run_id": "frr_fee", "created": made(1)},
            **{"start": day(2), "end": day(3)},
        },
        ["frr_fee", "frr_mine", "frr_mine"],
    ),
}


@pytest.mark.parametrize(("there", "step"), [("no table", "_commit"), *(("a table", step) for step in AT)])
@pytest.mark.parametrize("other", OTHERS)
def test_whoever_comes_in_between_nothing_is_lost_or_doubled(
    books: Books, other: str, there: str, step: str
) -> None:
    """Before each step, from the look on; what was written in vain is taken away."""
    if there == "a table":
        books.land(["net"], [["9.00"]], "frr_before", start=day(8), end=day(9))
    report, expected = OTHERS[other]
    with meanwhile(step, lambda: books.land(**report)):
        landed = books.land(**MINE)
    before = ["frr_before"] if there == "a table" else []
    assert books.rows("_report_run_id") == sorted([*before, *expected])
    # The same figures are told of by the newer run, whose file was not needed.
    told = {*before, *expected} if other != "the same figures" else {*before, "frr_mine"}
    assert books.told() == sorted(told)
    assert landed.report_run_id == ("frr_newer" if other == "a newer run" else "frr_mine")
    assert not books.lost()


def test_another_ones_column_is_not_taken_for_ones_own(books: Books) -> None:
    """Two landings that both add a column: the values of each come into its own."""
    books.land(["net"], [["9.00"]], "frr_before")
    tax: dict[str, Any] = {
        "names": ["net", "tax"],
        "rows": [["1.00", "5.00"]],
        "run_id": "frr_tax",
        "start": day(2),
        "end": day(3),
    }
    with meanwhile("_commit", lambda: books.land(**tax)):
        books.land(["net", "fee"], [["2.00", "6.00"]], "frr_fee", start=day(3), end=day(4))
    assert books.rows("_report_run_id", "net", "fee", "tax") == [
        ("frr_before", Decimal(9), None, None),
        ("frr_fee", Decimal(2), Decimal(6), None),
        ("frr_tax", Decimal(1), None, Decimal(5)),
    ]
    assert not books.lost()


@pytest.mark.parametrize("step", AT)
def test_a_month_and_a_day_within_it_never_stand_beside_each_other(books: Books, step: str) -> None:
    """Whoever comes first; a month that may replace days takes those that came meanwhile, too."""
    month = {**MINE, "run_id": "frr_month", "end": day(32), "on_overlap": "replace"}
    with meanwhile(step, lambda: books.land(**month)), pytest.raises(LandingConflictError, match="frr_month"):
        books.land(**MINE, start=day(4), end=day(5))
    assert (set(books.rows("_report_run_id")), books.told()) == ({"frr_month"}, ["frr_month"])
    later: dict[str, Any] = {"start": day(32), "end": day(60)}
    books.land(["net"], [["7.00"]], "frr_day", start=day(32), end=day(33), created=made(1))
    between: dict[str, Any] = {
        "names": ["net"],
        "rows": [["8.00"]],
        "run_id": "frr_day_2",
        "start": day(33),
        "end": day(34),
    }
    with meanwhile(step, lambda: books.land(**between, created=made(1))):
        books.land(**MINE, on_overlap="replace", **later)
    assert (set(books.rows("_report_run_id")), books.told()) == (
        {"frr_mine", "frr_month"},
        ["frr_mine", "frr_month"],
    )
    assert not books.lost()


def test_what_lands_during_the_download_is_seen(books: Books) -> None:
    """The look before it decides only as long as the table has not changed."""
    contents = as_stripe_writes([["net"], ["1.00"]])
    mine = manifest_of("frr_mine", 1, contents=contents, created=made(2))
    table = books.table()
    assert loading.landed(table, mine) is None
    books.land(["net"], [["7.00"]], "frr_newer", created=made(3))
    assert loading.load(table, BytesIO(contents), mine, sleep=lambda _: None).report_run_id == "frr_newer"
    assert (books.rows("net"), books.lost()) == ([Decimal(7)], set())


def test_a_compaction_in_between_loses_nothing(books: Books) -> None:
    """All files are others then."""
    for number in (1, 2):
        books.land(["net"], [[f"{number}.00"]], f"frr_{number}", start=day(number), end=day(number + 1))

    def compact() -> None:
        table = books.native()
        table.overwrite(table.scan().to_arrow())

    with meanwhile("_commit", compact):
        books.land(["net"], [["7.00"]], "frr_3", start=day(2), end=day(3))
    assert books.rows("net") == [Decimal(1), Decimal(7)]


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_whose_answer_is_lost_counts_once(books: Books, committed: bool) -> None:
    """The next look tells whether it was one."""
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.exceptions import CommitStateUnknownException

    books.land(["net"], [["9.00"]], "frr_before", start=day(8), end=day(9))
    real, answers = SqlCatalog.commit_table, iter([False])

    def commit_table(self: Any, *args: Any) -> Any:
        if next(answers, True):
            return real(self, *args)
        if committed:
            real(self, *args)
        raise CommitStateUnknownException("502")

    with mock.patch.object(SqlCatalog, "commit_table", commit_table):
        books.land(**MINE)
    assert books.rows("_report_run_id") == ["frr_before", "frr_mine", "frr_mine"]
    assert len(books.native().snapshots()) == 2
    assert len(books.lost()) == (0 if committed else 1)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("said", ["CommitFailedException", "TableAlreadyExistsError"])
def test_a_commit_that_was_sent_again_counts_once(books: Books, said: str, before: bool) -> None:
    """Its first answer got lost, and the second one refuses what is there: nothing of it is removed."""
    from pyiceberg import exceptions
    from pyiceberg.catalog.sql import SqlCatalog

    if before:
        books.land(["net"], [["9.00"]], "frr_before", start=day(8), end=day(9))
    real, first = SqlCatalog.commit_table, iter([True])

    def commit_table(self: Any, *args: Any) -> Any:
        answer = real(self, *args)
        if next(first, False):
            raise getattr(exceptions, said)("sent again")
        return answer

    with mock.patch.object(SqlCatalog, "commit_table", commit_table):
        books.land(**MINE)
    assert books.rows("_report_run_id") == ["frr_before"] * before + ["frr_mine", "frr_mine"]
    assert len(books.native().snapshots()) == 1 + before
    assert not books.lost()


def test_a_task_that_is_ended_at_its_commit_takes_nothing_away(books: Books) -> None:
    """Airflow's timeout of a task is no Exception, and comes when the catalog has committed as well as before."""
    from pyiceberg.catalog.sql import SqlCatalog

    books.land(["net"], [["9.00"]], "frr_before", start=day(8), end=day(9))
    real = SqlCatalog.commit_table

    def commit_table(self: Any, *args: Any) -> Any:
        real(self, *args)
        raise KeyboardInterrupt

    with mock.patch.object(SqlCatalog, "commit_table", commit_table), pytest.raises(KeyboardInterrupt):
        books.land(**MINE)
    assert books.rows("_report_run_id") == ["frr_before", "frr_mine", "frr_mine"]


def test_a_catalog_that_never_knows_is_an_error_of_its_own(books: Books) -> None:
    """After one more look: not an hour of tries, and not the fault of others."""
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.exceptions import CommitStateUnknownException

    books.land(["net"], [["9.00"]], "frr_before", start=day(8), end=day(9))
    said = CommitStateUnknownException("502")
    with (
        mock.patch.object(SqlCatalog, "commit_table", side_effect=said) as asked,
        pytest.raises(StoreError, match="CommitStateUnknownException: 502"),
    ):
        books.land(**MINE)
    assert asked.call_count == 2


@pytest.mark.parametrize(
    ("refused", "kind"),
    [
        (PermissionError("The provided token has expired."), StoreError),
        (PermissionError(13, "Permission denied"), ConfigurationError),
    ],
)
def test_a_store_that_refuses_is_worth_a_retry_and_a_disk_is_not(
    books: Books, refused: PermissionError, kind: type[ReportingError]
) -> None:
    """Of the same class: of a store, credentials that have expired are this, too."""
    from pyiceberg.io.pyarrow import PyArrowFileIO

    books.land(**MINE)
    table = books.table()
    with (
        mock.patch.object(PyArrowFileIO, "new_input", side_effect=refused),
        pytest.raises(ReportingError) as said,
        table.errors(),
    ):
        table.look()
    assert type(said.value) is kind


def test_what_is_no_table_of_icebergs_is_told_at_once(books: Books) -> None:
    """A table of another format before the download, and a view, which is not found, by the second look."""
    from pyiceberg import exceptions
    from pyiceberg.catalog.sql import SqlCatalog

    books.folder.mkdir(exist_ok=True)
    other = exceptions.NoSuchIcebergTableError("it is a Hive table")
    with (
        mock.patch.object(SqlCatalog, "load_table", side_effect=other),
        pytest.raises(ConfigurationError, match="it is a Hive table"),
    ):
        books.landed()
    taken = exceptions.TableAlreadyExistsError("it is there")
    with (
        mock.patch.object(SqlCatalog, "commit_table", side_effect=taken),
        pytest.raises(LandingConflictError, match="something else of this name"),
    ):
        books.land(**MINE)
    assert not books.files()


def test_who_is_overtaken_for_too_long_gives_up(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """The try ends with what would help, and leaves no file."""
    books.land(["net"], [["9.00"]], "frr_before", start=day(8), end=day(9))
    monkeypatch.setattr(loading, "PATIENCE", 0.0)
    numbers = iter(range(10, 30))

    def other() -> None:
        number = next(numbers)
        books.land(["net"], [["1.00"]], f"frr_{number}", start=day(number), end=day(number + 1))

    with meanwhile("_commit", other, times=2), pytest.raises(StoreError, match="others land there all the time"):
        books.land(**MINE)
    assert "frr_mine" not in books.told()
    assert not books.lost()


def test_an_error_of_the_catalog_says_what_it_was(books: Books) -> None:
    """In one line, as an error that a retry may mend."""
    from pyiceberg.catalog.sql import SqlCatalog

    books.land(["net"], [["9.00"]], "frr_before", start=day(8), end=day(9))
    said = OSError("the network is down\nand more")
    with mock.patch.object(SqlCatalog, "commit_table", side_effect=said), pytest.raises(ReportingError) as error:
        books.land(**MINE)
    assert re.fullmatch("table books.activity: OSError: the network is down", str(error.value))
    assert isinstance(error.value, StoreError)
    assert error.value.__context__ is None
