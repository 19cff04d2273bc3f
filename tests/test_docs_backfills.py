"""What ``docs/backfills.md`` says that an interval costs is counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from airflow_reportrun.operators import StripeReportDownloadOperator, StripeReportRunOperator
from airflow_reportrun.sandbox import OPERATIONS, AtOnce, StripeSandbox
from tests.docs_blocks import ROOT
from tests.docs_tables import hold, table
from tests.task_runner import TaskRunner, in_dag
from tests.versions import needs_airflow

UNASKED = {"retrieve_event", "list_events", "list_types", "retrieve_file", "retrieve_account"}
ASKED = [name for name in OPERATIONS if name not in UNASKED]


@needs_airflow(3, 3, "state store, by which a retry knows its run")
def test_the_page_says_what_an_interval_costs(stripe_conn: StripeSandbox, tmp_path: Path) -> None:
    """In requests by operation, for what a backfill does with an interval; ``WRITE_DOCS=1`` writes it."""
    stripe_conn.configure(transition=AtOnce())
    rows = []

    def counted(what: str, runner: TaskRunner, task: Any, **how: Any) -> Any:
        seen = len(stripe_conn.requests)
        tried = runner.run(task, **how)
        assert tried.state == "success", tried.error
        asked = Counter(request.operation for request in stripe_conn.requests[seen:])
        assert set(asked) <= set(ASKED)
        rows.append([what, *(str(asked[name] or "") for name in ASKED), str(asked.total())])
        return tried.returned

    options: dict[str, Any] = {"report_type": "balance.summary.1", "deferrable": True}
    csv = in_dag(StripeReportRunOperator, destination=f"{tmp_path}/{{report_type}}.csv", **options)
    alone = in_dag(StripeReportRunOperator, **options)
    runner = TaskRunner()
    counted("a report and its CSV", runner, csv)
    counted("a retry after all was landed", runner, csv, try_number=2)
    counted("cleared, with the same figures", TaskRunner(run_id="again"), csv)
    returned = counted("a report without a destination", TaskRunner(run_id="alone"), alone)
    land = in_dag(
        StripeReportDownloadOperator,
        report_run_id=returned,
        destination=f"{tmp_path}/landed.parquet",
        format="parquet",
    )
    counted("its landing by another task", TaskRunner(), land)
    counted("the same where it is landed already", TaskRunner(), land)
    assert len(stripe_conn.report_runs) == 3
    header = ["what", *(f"`{name}`" for name in ASKED), "requests"]
    hold(ROOT / "docs" / "backfills.md", "cost", table(header, rows))
