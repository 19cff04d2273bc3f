"""What holds the docs must not hold anything, or it holds nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs_tables import hold, hold_file, table

PAGE = "Before.\n\n<!-- cities -->\n\nOslo\n\n<!-- /cities -->\n\nAfter. <!-- rivers -->\n"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page with one place to hold, where nothing is to be written."""
    monkeypatch.delenv("WRITE_DOCS", raising=False)
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_a_page_that_says_the_same_passes_and_stays_as_it_is(page: Path) -> None:
    """Blank lines around the text don't count."""
    hold(page, "cities", "\nOslo\n")
    assert page.read_text() == PAGE


@pytest.mark.parametrize("markdown", ["Bergen", "Oslo\nBergen", "", "oslo", "Oslo."])
def test_a_page_that_says_something_else_fails_and_stays_as_it_is(page: Path, markdown: str) -> None:
    """The message names the page and how to write it."""
    with pytest.raises(AssertionError, match=r"page\.md is not what the tests compute: WRITE_DOCS=1"):
        hold(page, "cities", markdown)
    assert page.read_text() == PAGE


@pytest.mark.parametrize("write", ["0", "1"])
@pytest.mark.parametrize("name", ["lakes", "rivers", "citie"])
def test_a_page_without_both_markers_fails_even_when_writing(
    page: Path, monkeypatch: pytest.MonkeyPatch, name: str, write: str
) -> None:
    """A table that is nowhere is held by nothing."""
    monkeypatch.setenv("WRITE_DOCS", write)
    with pytest.raises(AssertionError, match=f"page.md has 0 places between <!-- {name} --> and <!-- /{name} -->"):
        hold(page, name, "Oslo")
    assert page.read_text() == PAGE


def test_a_page_with_the_markers_twice_fails(page: Path) -> None:
    """One of the two might say anything."""
    page.write_text(PAGE + PAGE)
    with pytest.raises(AssertionError, match="2 places"):
        hold(page, "cities", "Oslo")


def test_writing_replaces_what_is_between_the_markers_and_nothing_else(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backslashes and braces are taken as they are, and what was written holds."""
    monkeypatch.setenv("WRITE_DOCS", "1")
    hold(page, "cities", r"\1 {Bergen}")
    assert page.read_text() == PAGE.replace("Oslo", r"\1 {Bergen}")
    monkeypatch.delenv("WRITE_DOCS")
    hold(page, "cities", r"\1 {Bergen}")


def test_a_table_has_a_line_for_each_row() -> None:
    """A bar in a cell does not end it."""
    assert table(["run", "hours"], [["a|b", "23"]]) == "| run | hours |\n| --- | --- |\n| a\\|b | 23 |"


def test_a_picture_is_held_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one fails, unless it is to be written."""
    path = tmp_path / "picture.svg"
    monkeypatch.setenv("WRITE_DOCS", "1")
    hold_file(path, "<svg/>")
    monkeypatch.delenv("WRITE_DOCS")
    hold_file(path, "<svg/>")
    with pytest.raises(AssertionError, match=r"picture\.svg is not what the tests compute"):
        hold_file(path, "<svg></svg>")
