"""Runs tasks in a process of its own, which sends Airflow's metrics: ``python -m tests.metered FOLDER``.

Airflow chooses where metrics go when it is imported, so that the test's own process can't change it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from opentelemetry.metrics import get_meter_provider

from airflow_reportrun import metrics, triggers
from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
    StripeReportToSqlOperator,
)
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.sandbox import AfterReads, Dropped, RunFails, ServerError, StripeSandbox
from tests.versions import AIRFLOW_2

MADE_UP = "made.up.1"
REPORT_TYPE = "balance_change_from_activity.itemized.3"


def run_tasks(stripe: StripeSandbox, folder: Path) -> list[dict[str, Any]]:
    """Create, attach, give up, wait and land; return what the landing tasks returned."""
    if AIRFLOW_2:
        import tests.task_runner_2 as task_runner
    else:
        import tests.task_runner as task_runner  # type: ignore[no-redef]

    def task(task_id: str, **kwargs: Any) -> Any:
        options = {"report_type": REPORT_TYPE, "poll_interval": 0.01, **kwargs}
        return task_runner.in_dag(StripeReportRunOperator, dag_id=task_id, task_id=task_id, **options)

    triggers.FIRST_LOOK_AFTER = 0.0
    stripe.configure(transition=AfterReads(2))
    created = task_runner.TaskRunner().run(task("created", destination=str(folder / "activity.csv")))
    stripe.inject(Dropped(committed=True))
    deferred = task("attached", deferrable=True)
    runner = task_runner.TaskRunner()
    attached = runner.resume(deferred, runner.run(deferred))
    stripe.inject(RunFails())
    failing, runner = task("superseded"), task_runner.TaskRunner()
    failed, superseded = runner.run(failing), runner.run(failing, try_number=2)
    stripe.inject(ServerError(committed=True))
    uncounted = task_runner.TaskRunner().run(task("uncounted"))
    stripe.configure(transition=AfterReads(10_000))
    late = task_runner.TaskRunner().run(task("late", timeout=0.2))
    downloads = {"csv.gz": "a.csv.gz", "parquet": "a.parquet"}
    landings = [
        *(
            (StripeReportDownloadOperator, {"format": kind, "destination": str(folder / name)})
            for kind, name in downloads.items()
        ),
        (StripeReportToSqlOperator, {"table": "activity", "conn_id": "warehouse"}),
    ]
    landed = [
        task_runner.TaskRunner().run(
            task_runner.in_dag(kind, dag_id=f"landed_{number}", report_run_id=created.returned, **options)
        )
        for number, (kind, options) in enumerate(landings)
    ]
    states = [it.state for it in (created, attached, failed, superseded, uncounted, late, *landed)]
    wanted = ["success", "success", "up_for_retry", "success", "success", "up_for_retry", *["success"] * 3]
    if states != wanted:
        raise RuntimeError(f"{states}: {[it.error for it in (created, attached, superseded, uncounted, *landed)]}")
    return [it.returned for it in (created, *landed)]


class Watcher:
    """Stands for one."""


def measure_the_rest() -> None:
    """Call what watchers and hooks call, with values that theirs can be told from."""
    run: Any = {"id": "frr_1", "object": "reporting.report_run", "created": 1714521600, "livemode": False}
    run |= {"report_type": MADE_UP, "parameters": {}, "status": "succeeded", "succeeded_at": 1714521660}
    metrics.noticed(ReportRun.from_api(run, seen_at=1714521662.5), since=1714521600.0)
    for status in (200, 429, None):
        metrics.requested(MADE_UP, status)
    for reason in ("endpoint-rate", "budget", "something new: = and , and a space", None):
        metrics.paused(1.5, reason)
    one, other = Watcher(), Watcher()
    metrics.waiting(one, "report_run", 365, 3600.0)
    metrics.waiting(other, "report_run", 2, 60.5)
    metrics.waiting(one, "report_run", 0, 0.0)
    metrics.waiting(other, "report_type", 1, 7.0)


if __name__ == "__main__":
    with StripeSandbox() as sandbox:
        connection = {"conn_type": "stripe", "host": sandbox.url, "password": sandbox.api_key}
        os.environ["AIRFLOW_CONN_STRIPE_DEFAULT"] = json.dumps(connection)
        warehouse = {"conn_type": "sqlite", "host": str(Path(sys.argv[1], "warehouse.db"))}
        os.environ["AIRFLOW_CONN_WAREHOUSE"] = json.dumps(warehouse)
        returned = run_tasks(sandbox, Path(sys.argv[1]))
    measure_the_rest()
    flush: Any = getattr(get_meter_provider(), "force_flush", None)  # OpenTelemetry sends by the clock
    if flush:
        flush()
    sys.stdout.write(json.dumps([{"size": it["size"], "rows": it["rows"]} for it in returned]) + "\n")
