"""Destinations that can't be: a clear error before a report run is created, or a file downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.operators import StripeReportDownloadOperator, StripeReportRunOperator
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from tests.s3 import S3
from tests.task_runner import TaskRunner, in_dag

BAD = {
    "relative": ("reports/x.csv", "is relative"),
    "escaping": ("{root}/{{{{ '..' }}}}/x.csv", "no '..'"),
    "escaping through a value": ("{root}/{{reporting_category}}/x.csv", "no '..'"),
    "escaping in a bucket": ("s3://s3_reports@reports/{{reporting_category}}/x.csv", "no '..'"),
    "a folder": ("{root}", "is a folder"),
    "below a file": ("{root}/file/x.csv", "can't write into"),
    "unwritable": ("/proc/self/x.csv", "can't write into"),
    "unknown scheme": ("nothing://bucket/x.csv", "can be done on local paths"),
    "no provider": ("gs://bucket/x.csv", "The scheme needs its provider"),
    "empty connection": ("s3://{{{{ '' }}}}@reports/x.csv", "the connection before the @ is empty"),
    "missing bucket": ("s3://s3_reports@nowhere/x.csv", "there is no 'nowhere'"),
    "no object": ("s3://s3_reports@reports", "names no object"),
    "credentials": ("s3://key:secret@reports/x.csv", "credentials belong into an Airflow connection"),
}


def bad(tmp_path: Path, case: str) -> tuple[str, str]:
    (tmp_path / "file").touch()
    destination, message = BAD[case]
    return destination.format(root=tmp_path), message


def require_refused(tried: Any, message: str) -> None:
    assert tried.state == "failed"  # and no retry is spent on it
    assert message in str(tried.error)
    assert "secret" not in str(tried.error)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_destination_is_an_error_before_a_run_is_created(
    stripe_conn: StripeSandbox, s3: S3, tmp_path: Path, case: str
) -> None:
    """Nothing is asked of Stripe, and nothing written."""
    destination, message = bad(tmp_path, case)
    task = in_dag(
        StripeReportRunOperator,
        report_type="balance_change_from_activity.itemized.3",
        reporting_category="..",
        destination=destination,
    )
    require_refused(TaskRunner().run(task), message)
    assert stripe_conn.report_runs == []
    assert stripe_conn.requests_to("create") == []
    assert [it.name for it in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("case", BAD)
def test_a_bad_destination_is_an_error_before_a_file_is_downloaded(
    stripe_conn: StripeSandbox, s3: S3, tmp_path: Path, case: str
) -> None:
    """The finished run stays, for the task that was mended."""
    stripe_conn.configure(transition=AtOnce())
    parameters = ReportParameters(interval_start=1714521600, interval_end=1714608000, reporting_category="..")
    run = StripeReportingHook().create_report_run("balance_change_from_activity.itemized.3", parameters)
    destination, message = bad(tmp_path, case)
    task = in_dag(StripeReportDownloadOperator, report_run_id=run.id, destination=destination)
    require_refused(TaskRunner().run(task), message)
    assert stripe_conn.requests_to("contents") == []
    assert [it.name for it in tmp_path.iterdir()] == ["file"]
