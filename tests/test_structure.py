"""The check of a report's bytes while they pass, held against what Python's own CSV reader finds in them."""

from __future__ import annotations

import csv
import io
import tracemalloc
from itertools import pairwise
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun.landing import structure
from airflow_reportrun.landing.structure import LONGEST_HEADER, ReportCheck, last_end
from airflow_reportrun.reporting.errors import DownloadError, ReportColumnsError

Table = list[list[str | None]]

TEXT = st.text(
    st.one_of(st.sampled_from('",\n\r\\\ufeff{<'), st.characters(codec="utf-8", exclude_characters="\0")),
    max_size=6,
)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """A header of names and rows of cells, of which None is null and "" is not."""
    width = draw(st.integers(1, 4))
    header: list[str | None] = list(draw(st.lists(TEXT.filter(bool), min_size=width, max_size=width)))
    row = st.lists(st.none() | TEXT, min_size=width, max_size=width)
    return [header, *draw(st.lists(row, max_size=6))]


def written(table: Table, end: str = "\n", bom: bool = False) -> tuple[bytes, list[int]]:
    """Return what Stripe would write, and where in it the records end."""
    whole, ends = b"\xef\xbb\xbf" if bom else b"", []
    for row in table:
        cells = ["" if cell is None else '"' + cell.replace('"', '""') + '"' for cell in row]
        whole += (",".join(cells) + end).encode()
        ends.append(len(whole))
    return whole, ends


def checked(
    contents: bytes, cuts: list[int] | None = None, columns: list[str] | None = None, step: int = structure.STEP
) -> ReportCheck:
    """Feed the contents in pieces, cut at these places; a record may be longer than a step."""
    check = ReportCheck(columns)
    borders = [0, *sorted(cut % (len(contents) + 1) for cut in cuts or []), len(contents)]
    with mock.patch.object(structure, "STEP", step):
        for start, stop in pairwise(borders):
            check.feed(contents[start:stop])
    check.end()
    return check


CUTS = st.lists(st.integers(0, 10_000), max_size=20)
ENDS = st.sampled_from(["\n", "\r\n"])
STEPS = st.sampled_from([1, 5, structure.STEP])


@given(table=tables(), cuts=CUTS, end=ENDS, bom=st.booleans())
def test_rows_and_header_are_those_that_were_written(table: Table, cuts: list[int], end: str, bom: bool) -> None:
    """Quotes, commas and newlines in cells, null and "", one column, no row: however the bytes are cut."""
    contents, _ = written(table, end, bom)
    columns = [str(name) for name in table[0]]
    check = checked(contents, cuts, columns)
    assert (check.rows, list(check.columns)) == (len(table) - 1, columns)


@given(table=tables(), cuts=CUTS, end=ENDS, step=STEPS, data=st.data())
def test_a_part_that_ends_in_a_record_is_refused(
    table: Table, cuts: list[int], end: str, step: int, data: st.DataObject
) -> None:
    """Wherever the bytes are cut; one that ends with a record, but for its newline, has the rows before."""
    contents, ends = written(table, end)
    names = [str(name) for name in table[0]]
    length = data.draw(st.integers(0, len(contents) - 1))
    part = contents[:length]
    if length in ends:
        assert checked(part, cuts, names, step).rows == ends.index(length)
    elif ends[0] - len(end) <= length and ends_whole(part, len(names)):
        assert checked(part, cuts, names, step).rows == sum(it <= length for it in ends)
    else:
        with pytest.raises(DownloadError):
            checked(part, cuts, names, step)


def ends_whole(part: bytes, width: int) -> bool:
    """Tell by Python's parser whether the last record is whole but for the end of its line."""
    *_, last = csv.reader(io.StringIO(part.decode(errors="replace"), newline=""))
    return part.count(b'"') % 2 == 0 and max(len(last), 1) == width


@given(table=tables(), times=st.integers(2, 30), cuts=CUTS)
def test_records_that_are_alike_are_counted_too(table: Table, times: int, cuts: list[int]) -> None:
    """There is a short cut for them, which must not lead astray where they only seem to be."""
    contents, _ = written([table[0], *table[1:] * times])
    assert checked(contents, cuts).rows == (len(table) - 1) * times


CELL = st.sampled_from(["a", "a\n", "a\r\n", '\n"a', "\n,a", "\na", '"', "", None])
ROW = CELL.flatmap(lambda cell: st.permutations(["a", cell]))


@given(table=st.lists(ROW, min_size=2, max_size=4), end=ENDS)
def test_long_pieces_are_counted_too(table: Table, end: str) -> None:
    """What follows a newline may tell that it ends a record, or only seem to: wherever the one cut is."""
    contents, _ = written([["a", "b"], *table], end)
    assert {checked(contents, [place]).rows for place in range(len(contents))} == {len(table)}


@given(table=st.lists(ROW, min_size=1, max_size=12), cut=st.integers(0, 200), end=ENDS)
def test_whole_records_end_where_one_does(table: Table, cut: int, end: str) -> None:
    """Wherever newlines in cells are; at none only where no record is whole."""
    whole, ends = written(table, end)
    block = whole[:cut]
    there = [place for place in ends if place <= len(block)]
    assert last_end(block) in (there or [0])


@given(table=tables().filter(lambda it: len(it[0]) > 1), cuts=CUTS)
def test_it_counts_as_a_parser_does(table: Table, cuts: list[int]) -> None:
    """The standard library's, which skips the empty lines that are rows of one null column."""
    contents, _ = written(table)
    parsed = list(csv.reader(io.StringIO(contents.decode(), newline=""), strict=True))
    assert checked(contents, cuts).rows == len(parsed) - 1


@given(contents=st.binary(max_size=60) | st.text('"\n\r,a{<', max_size=30).map(str.encode), cuts=CUTS)
def test_any_bytes_are_a_report_or_an_error(contents: bytes, cuts: list[int]) -> None:
    """Nothing else comes of them, and no more rows than there are lines behind the header."""
    try:
        check = checked(contents, cuts)
    except DownloadError:
        return
    assert check.columns
    assert check.rows <= contents.count(b"\n")


@given(table=tables(), times=st.integers(1, 10), end=ENDS, missing=st.integers(0, 3), cuts=CUTS, step=STEPS)
def test_how_it_is_cut_changes_nothing(
    table: Table, times: int, end: str, missing: int, cuts: list[int], step: int
) -> None:
    """Not the verdict, its words or the number of rows; of a whole report, or of one that lacks its end."""
    whole, _ = written([table[0], *table[1:] * times], end)
    contents = whole[: len(whole) - missing]

    def verdict(cuts: list[int]) -> object:
        try:
            check = checked(contents, cuts, step=step)
        except DownloadError as error:
            return str(error)
        return check.rows, check.columns

    assert verdict(cuts) == verdict([]) == verdict(list(range(len(contents))))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "not even a header"),
        (b"\xef\xbb\xbf", "breaks off in its header"),
        (b'"a",', "breaks off in its header"),
        (b'"a\n', "breaks off in its header"),
        (b'"a"\n"1', "breaks off inside a quoted cell of row 1"),
        (b'"a"\n"1"\n"2\n', "breaks off inside a quoted cell of row 2"),
        (b'"a","b"\n"1"', "breaks off in row 1, which has 1 cells of 2"),
        (b'"a","b"\n"1","2"\n"1","2","3"', "breaks off in row 2, which has 3 cells of 2"),
        (b'{"error": {"message": "no"}}', "not a report, but JSON: "),
        (b'\n  [{"error": 1}]', "not a report, but JSON: "),
        (b"\r\n<!doctype html><title>Sign in</title>", "not a report, but HTML or XML: "),
        (b"\xef\xbb\xbf<html>", "not a report, but HTML or XML: "),
        (b"Bad gateway\n", "not a report as Stripe writes it, with names of columns in quotes: 'Bad gateway"),
        (b"a,b\n1,2\n", "with names of columns in quotes: 'a,b"),
        (b"\x1f\x8b\x08\x00", "with names of columns in quotes"),
        (b'"a",b\n', "header is not CSV with quoted names"),
        (b'"a"b,"c"\n', "header is not CSV with quoted names"),
        (b'"\xff"\n', "header is not UTF-8"),
        (b'"' + b"a" * LONGEST_HEADER, "header has no end in"),
    ],
)
def test_what_is_no_report_is_said(contents: bytes, message: str) -> None:
    """What it is instead, or where it ends; in few words, and worth another try."""
    with pytest.raises(DownloadError) as caught:
        checked(contents)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200
    assert caught.value.is_transient


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["a", "b", "c"], "(missing: c)"),
        (["a"], "(not asked for: b)"),
        (["a", "x", "y"], "(missing: x, y; not asked for: b)"),
        (["b", "a"], "(in another order: a, b)"),
        ([], "(not asked for: a, b)"),
    ],
)
def test_other_columns_than_were_asked_for_are_named(columns: list[str], message: str) -> None:
    """The same file keeps them, so that it is not read again."""
    with pytest.raises(ReportColumnsError) as caught:
        checked(b'"a","b"\n', columns=columns)
    assert message in str(caught.value)
    assert not caught.value.is_transient


LONG = ["x" * 70_000, "\n" * 70_000, "," * 70_000, '"' * 35_000, 'a,\n"",' * 15_000]


@pytest.mark.parametrize(
    "cuts", [[], [65_536], list(range(0, 140_000, 997))], ids=["whole", "halved", "in pieces"]
)
@pytest.mark.parametrize("cell", LONG, ids=lambda cell: repr(cell[:6]))
@pytest.mark.parametrize(
    ("before", "behind", "cells"),
    [(["1"], [None], 3), ([], [None, "3"], 3), (["1"], [], 2), ([None], ["3", "4"], 4)],
)
def test_a_last_record_may_be_long_and_lack_its_end(
    before: list[str | None], cell: str, behind: list[str | None], cells: int, cuts: list[int]
) -> None:
    """Its cells are counted as they pass; one too few or too many shows that it was cut."""
    contents, _ = written([["a", "b", "c"], ["1", None, "3"], [*before, cell, *behind]])
    contents = contents.removesuffix(b"\n")
    if cells == 3:
        assert checked(contents, cuts).rows == 2
    else:
        with pytest.raises(DownloadError, match=f"breaks off in row 2, which has {cells} cells of 3"):
            checked(contents, cuts)


def test_memory_does_not_grow() -> None:
    """Neither with rows nor with a cell that never ends nor where newlines in cells are many."""
    for chunk in (b'"a","b"\n' * 10_000, b'"' + b"a" * 80_001, b'"\n\n' * 26_666, b"\n" * 80_000):
        check = ReportCheck()
        check.feed(b'"a"\n')
        check.feed(chunk)  # the first time something may be cached
        tracemalloc.start()
        for _ in range(20):
            check.feed(chunk)
        assert tracemalloc.get_traced_memory()[1] < 20 * len(chunk)
        # Of its own alone: servers of other tests may still run in this process.
        own = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, structure.__file__)])
        tracemalloc.stop()
        assert sum(trace.size for trace in own.traces) < 70_000
