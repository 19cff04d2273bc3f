"""What ``docs/delta.md`` shows works."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_reportrun.operators import StripeReportRunOperator, StripeReportToDeltaOperator
from tests.deltas import Ledger
from tests.docs_blocks import ROOT, blocks
from tests.landings import day

PAGE = (ROOT / "docs" / "delta.md").read_text(encoding="utf-8")
FIRST, *PROGRAMS = blocks("docs/delta.md", language="python")


def test_the_tasks_can_be_declared() -> None:
    """As they stand there."""
    names: dict[str, Any] = {
        "StripeReportRunOperator": StripeReportRunOperator,
        "StripeReportToDeltaOperator": StripeReportToDeltaOperator,
    }
    with DAG("shown", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
        exec(FIRST.code, names)  # noqa: S102 - our own page
    assert dag.task_dict["to_delta"].upstream_task_ids == {"report"}


def test_its_programs_read_what_is_landed(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    """The week, the history, the books as they were closed, and maintenance."""
    names = ["reporting_category", "net"]
    for number in (1, 2, 20):
        ledger.land(names, [["fee", "1.00"]], f"frr_{number}", start=day(number), end=day(number + 1))
    closed = ledger.native().history(1)[0]["timestamp"]
    ledger.land(names, [["fee", "5.00"]], "frr_again", start=day(2), end=day(3))
    scope: dict[str, Any] = {"instant": (closed + 1) / 1000}
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
