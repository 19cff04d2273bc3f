"""What ``docs/delta.md`` shows works."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from airflow_reportrun.__main__ import main
from airflow_reportrun.coverage.looking import look_at, source_of
from airflow_reportrun.coverage.series import State
from airflow_reportrun.page.report_tasks import Where
from airflow_reportrun.page.shelves import source_of as source_of_page
from airflow_reportrun.sandbox import StripeSandbox
from tests.deltas import Ledger
from tests.docs_blocks import ROOT, blocks, programs, run_dag
from tests.landings import day

PAGE = (ROOT / "docs" / "delta.md").read_text(encoding="utf-8")
FIRST, *PROGRAMS = blocks("docs/delta.md", language="python")


def test_its_first_dag_lands_a_day(stripe_conn: StripeSandbox, ledger: Ledger) -> None:
    """As it stands there, in another folder."""
    run_dag(FIRST.code.replace("/data/lake/activity", ledger.url))
    (run,) = stripe_conn.report_runs
    assert {*ledger.rows("_report_run_id")} == {run.id}


def test_its_programs_read_what_is_landed(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    """The week, the history, the books as they were closed, and maintenance."""
    names = ["reporting_category", "net"]
    for number in (1, 2, 20):
        ledger.land(names, [["fee", "1.00"]], f"frr_{number}", start=day(number), end=day(number + 1))
    closed = time.time()  # the log goes by the times of its files
    ledger.land(names, [["fee", "5.00"]], "frr_again", start=day(2), end=day(3))
    scope: dict[str, Any] = {"instant": closed}
    for block in PROGRAMS:
        code = block.code.replace("/data/lake/activity", ledger.url)
        code = code.replace("datetime(2024, 6, 3, 12, tzinfo=UTC)", "datetime.fromtimestamp(instant, UTC)")
        exec(compile(code, "docs/delta.md", "exec"), scope)  # noqa: S102 - our own page
    assert pa.table(scope["week"]).to_pylist() == [{"reporting_category": "fee", "net": Decimal(6)}]
    assert "3 frr_again balance_change_from_activity.itemized.3" in capsys.readouterr().out
    assert scope["books"]["net"].to_pylist() == [Decimal(1)] * 3
    assert len(ledger.native().file_uris()) == 1
    assert len(ledger.told()) == 3


def test_what_it_says_of_new_tables_is_so(ledger: Ledger) -> None:
    """Properties, and no partitions."""
    ledger.land(["net"], [["1.00"]])
    metadata = ledger.native().metadata()
    (commits,) = re.findall(r"every (\d+) commits", PAGE)
    assert metadata.configuration["delta.checkpointInterval"] == commits
    assert metadata.configuration["delta.logRetentionDuration"] == "interval 3650 days"
    assert not metadata.partition_columns


@pytest.mark.parametrize("way", ["command", "page"])
def test_a_table_tells_what_is_covered(ledger: Ledger, way: str) -> None:
    """Landed and empty days, and the one that is missing; nothing where there is no table, which makes none."""
    source = source_of(table=ledger.url) if way == "command" else source_of_page(Where(table=ledger.url))
    assert list(source.landings()) == []
    assert source.nothing() == f"There is no table in {ledger.url}."
    assert not ledger.folder.exists()
    for number, rows in ((1, [["1.00"]]), (2, []), (4, [["1.00"]])):
        ledger.land(["net"], rows, f"frr_{number}", start=day(number), end=day(number + 1))
    (series,) = look_at(source, now=day(5) - 1).series
    assert [it.state for it in series.intervals] == [State.LANDED, State.EMPTY, State.MISSING, State.LANDED]
    first = min(source.landings(), key=lambda it: it.interval_start or 0)
    assert (manifest := source.manifest(first.told_at)) is not None
    assert manifest.report_run_id == "frr_1"
    assert source.manifest("elsewhere") is None
    assert str(source) == ledger.url


def test_its_command_shows_what_is_landed(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    """As it stands there, of the folder alone."""
    ledger.land(["net"], [["1.00"]])
    (command,) = programs("docs/delta.md", "bash")
    words = command.replace("/data/lake/activity", ledger.url).split()
    assert words[:2] == ["airflow", "reportrun"]
    with suppress(SystemExit):
        main(words[2:])
    assert "balance_change_from_activity.itemized" in capsys.readouterr().out


def test_each_error_of_the_page_is_one_of_ours() -> None:
    """As the code words it; what deltalake says stands behind the table."""
    code = "".join(path.read_text() for path in Path(ROOT, "airflow_reportrun", "landing").rglob("*.py"))
    words = re.sub(r'"\s*f?"', "", code)
    quotes = [it for it in re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE) if not it.startswith("table …: …")]
    assert len(quotes) > 4
    for quote in quotes:
        parts = [re.escape(part.strip("'")) for part in quote.split("…") if part.strip("' ")]
        assert re.search(r"[^\n]*".join(parts), words), quote
