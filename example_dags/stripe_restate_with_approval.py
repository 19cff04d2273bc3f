"""Restated figures of a month take the place of the landed ones when somebody approves; for Airflow ≥ 3.3.

The report of the month is made again on the fifth, when its fees have settled, and lands beside the books. Where
it says something else, a person is asked, without a worker. Without an answer in five days the books stay as they
are.
"""

# [START stripe_restate_with_approval]
import csv
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, ObjectStoragePath, Variable, task
from airflow.sdk.exceptions import AirflowSkipException

from airflow_reportrun.operators import StripeReportDownloadOperator, StripeReportRunOperator

FOLDER = "{{ var.value.stripe_reports }}"

with DAG(
    "stripe_restate_with_approval",
    schedule="0 13 5 * *",
    start_date=datetime(2022, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5)},
):
    again = StripeReportRunOperator(
        task_id="again",
        report_type="balance_change_from_activity.itemized.3",
        interval="month",
        deferrable=True,
    )
    proposed = StripeReportDownloadOperator(
        task_id="propose",
        report_run_id=again.output,
        destination=f"{FOLDER}/proposed/{{interval_start:%Y-%m}}.csv",
    )

    @task
    def differences(proposed: dict[str, Any]) -> str:
        """Return a line for each currency; skip what follows where the books say the same."""
        path = ObjectStoragePath(proposed["path"])
        landed = ObjectStoragePath(Variable.get("stripe_reports")) / "months" / path.name
        before, after = (net(it) for it in (landed, path))
        if before == after:
            raise AirflowSkipException("The books say the same.")
        lines = [f"* {it}: {before.get(it)} in the books, {after.get(it)} now" for it in sorted(before | after)]
        return "\n".join([f"The net of {path.stem}:", "", *lines])

    def net(report: ObjectStoragePath) -> dict[str, Decimal]:
        """Return what the rows of a report add up to, by currency; nothing where there is no report."""
        found: dict[str, Decimal] = defaultdict(Decimal)
        if report.exists():
            with report.open("r", newline="") as file:
                for row in csv.DictReader(file):
                    found[row["currency"]] += Decimal(row["net"])
        return dict(found)

    approve = ApprovalOperator(
        task_id="approve",
        subject="Stripe has restated figures of {{ ti.xcom_pull(task_ids='propose')['path'] }}",
        body="{{ ti.xcom_pull(task_ids='differences') }}",
        defaults=ApprovalOperator.REJECT,
        response_timeout=timedelta(days=5),
    )
    land = StripeReportDownloadOperator(
        task_id="land",
        report_run_id=again.output,
        destination=f"{FOLDER}/months/{{interval_start:%Y-%m}}.csv",
    )
    differences(proposed.output) >> approve >> land  # type: ignore[arg-type]
# [END stripe_restate_with_approval]
