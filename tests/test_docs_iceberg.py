"""What ``docs/iceberg.md`` shows works."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_reportrun.coverage.looking import look_at, source_of
from airflow_reportrun.coverage.series import State
from airflow_reportrun.landing.lakehouse.facts import Facts
from airflow_reportrun.landing.lakehouse.iceberg.table import PROPERTIES
from airflow_reportrun.landing.lakehouse.table import Noted
from airflow_reportrun.page.report_tasks import Where
from airflow_reportrun.page.shelves import source_of as source_of_page
from airflow_reportrun.sandbox import StripeSandbox
from tests.docs_blocks import ROOT, blocks, run_dag
from tests.icebergs import Books, needs_its_catalog
from tests.landings import day

PAGE = (ROOT / "docs" / "iceberg.md").read_text(encoding="utf-8")
FIRST, *PROGRAMS = blocks("docs/iceberg.md", language="python")

pytestmark = needs_its_catalog


def test_its_first_dag_lands_a_day(stripe_conn: StripeSandbox, books: Books) -> None:
    """As it stands there, in another folder."""
    run_dag(FIRST.code.replace("/data/lake", str(books.folder)))
    (run,) = stripe_conn.report_runs
    assert {*books.rows("_report_run_id", table="books.stripe_activity")} == {run.id}


def test_its_programs_read_what_is_landed(books: Books) -> None:
    """The week, the books as they were closed, a tag that keeps them, and what expires."""
    table = "books.stripe_activity"
    names = ["reporting_category", "net"]
    for number in (1, 2, 20):
        about: dict[str, Any] = {"start": day(number), "end": day(number + 1)}
        books.land(names, [["fee", "1.00"]], f"frr_{number}", table=books.table(table), **about)
    closed = books.native(table).current_snapshot()
    books.land(names, [["fee", "5.00"]], "frr_again", table=books.table(table), start=day(2), end=day(3))
    scope: dict[str, Any] = {}
    for block in PROGRAMS:
        code = block.code.replace("/data/lake", str(books.folder))
        if "closed =" in code:
            scope["instant"] = closed.timestamp_ms / 1000
            code = code.replace("datetime(2024, 6, 3, 12, tzinfo=UTC)", "datetime.fromtimestamp(instant, UTC)")
        exec(compile(code, "docs/iceberg.md", "exec"), scope)  # noqa: S102 - our own
    assert sorted(scope["week"]["net"].to_pylist()) == [Decimal(1), Decimal(5)]
    assert scope["books"]["net"].to_pylist() == [Decimal(1)] * 3
    assert books.native(table).refs()["closed-2024-05"].snapshot_id == closed.snapshot_id


def test_what_it_says_of_new_tables_is_so(books: Books) -> None:
    """Partitions, properties, and the size of what tells of an interval."""
    books.land(["net", "reporting_category"], [["1.00", "fee"]], created="2024-05-03T00:00:00Z")
    table = books.native()
    assert [str(field.transform) for field in table.spec().fields] == ["month", "month"]
    assert PROPERTIES.items() <= table.properties.items()
    (kept,) = re.findall(r"keep the (\d+) latest metadata files", PAGE)
    assert table.properties["write.metadata.previous-versions-max"] == kept
    manifest = books.land(["net"], [["1.00"]], "frr_" + "1" * 24, start=day(2), end=day(3))
    texts: Mapping[str, str | None] = {}
    for number in range(1000):
        made = random.Random(number)  # noqa: S311 - no secret
        run, file = ("".join(made.choices(string.ascii_letters + string.digits, k=24)) for _ in range(2))
        told = replace(
            manifest,
            report_run_id=f"frr_{run}",
            file_id=f"file_{file}",
            file_sha256=made.randbytes(32).hex(),
            parameters={"interval_start": day(number), "interval_end": day(number + 1)},
        )
        noted = Noted(told, told.report_run_id)
        texts = {**texts, **Facts({name: it for name, it in texts.items() if it}).changed(noted)}
    (size,) = re.findall(r"(\d+) bytes for an interval", PAGE)
    assert 0.9 * int(size) < sum(len(it or "") for it in texts.values()) / 1000 < 1.1 * int(size)


@pytest.mark.parametrize("way", ["command", "page"])
def test_a_table_tells_what_is_covered(books: Books, way: str) -> None:
    """Landed and empty days, and the one that is missing; nothing where there is no table, which makes none."""
    place: dict[str, Any] = {"warehouse": str(books.folder), "table": "books.activity"}
    source = source_of(**place) if way == "command" else source_of_page(Where(**place))
    assert list(source.landings()) == []
    assert source.nothing() == f"There is no table books.activity in {books.folder}."
    assert not books.folder.exists()
    for number, rows in ((1, [["1.00"]]), (2, []), (4, [["1.00"]])):
        books.land(["net"], rows, f"frr_{number}", start=day(number), end=day(number + 1))
    source = source_of(**place) if way == "command" else source_of_page(Where(**place))
    other = source_of(warehouse=str(books.folder), table="books.other")
    assert (other.landings(), other.nothing()) == ([], f"There is no table books.other in {books.folder}.")
    (series,) = look_at(source, now=day(5) - 1).series
    assert [it.state for it in series.intervals] == [State.LANDED, State.EMPTY, State.MISSING, State.LANDED]
    (first, *_) = source.landings()
    assert (manifest := source.manifest(first.told_at)) is not None
    assert manifest.report_run_id == "frr_1"
    assert source.manifest("elsewhere") is None
    assert str(source) == f"books.activity of {books.folder}"


def test_each_error_of_the_page_is_one_of_ours() -> None:
    """As the code words it."""
    code = "".join(
        path.read_text() for path in Path(ROOT, "airflow_reportrun", "landing", "lakehouse").rglob("*.py")
    )
    words = re.sub(r'"\s*f?"', "", code)
    quotes = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    assert len(quotes) > 5
    for quote in quotes:
        parts = [re.escape(part.strip("'")) for part in quote.split("…") if part.strip("' ")]
        assert re.search(r"[^\n]*".join(parts).replace("3", r"\S+"), words), quote
