"""Destinations that can't be: a clear error before a report run is created, or a file downloaded."""

from __future__ import annotations

from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, ObjectStoragePath
from airflow.providers.common.compat.sdk import task as task_decorator

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.destination import text_of
from airflow_reportrun.operators import StripeReportDownloadOperator, StripeReportRunOperator
from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from tests.s3 import S3
from tests.task_runner import START, TaskRunner, in_dag

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
    task = in_dag(StripeReportDownloadOperator, report_run_id=run.id, destination=f"{{{{ '' }}}}{destination}")
    require_refused(TaskRunner().run(task), message)
    assert stripe_conn.requests_to("contents") == []
    assert [it.name for it in tmp_path.iterdir()] == ["file"]


class Folder(PathLike[str]):
    """A path of somebody's own."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return self.path


NAME = "{{ ti.task_id }}-{report_type}-{interval_start:%Y-%m-%d}.csv"
LANDED = "report-balance.summary.1-2024-05-01.csv"


def landing(of: str, destination: Any, *, on: str = "task") -> Any:
    """Run a task to which a destination is given, as an option, by mapping or by the task before it."""
    task_class: Any = StripeReportRunOperator if of == "run" else StripeReportDownloadOperator
    options: dict[str, Any] = {"destination": destination}
    if of == "run":
        options["report_type"] = "balance.summary.1"
    else:
        parameters = ReportParameters(interval_start=1714521600, interval_end=1714608000)
        run = StripeReportingHook().create_report_run("balance.summary.1", parameters)
        options["report_run_id"] = run.id
    if on == "task":
        return TaskRunner().run(in_dag(task_class, **options))
    if on == "mapped":
        with DAG("stripe", schedule=None, start_date=START):
            del options["destination"]
            mapped = task_class.partial(task_id="report", **options).expand(destination=[destination])
        return TaskRunner().run(mapped, map_index=0)
    with DAG("stripe", schedule=None, start_date=START):

        @task_decorator
        def path() -> Any:
            return destination

        before: Any = path()
        after = task_class(task_id="report", **{**options, "destination": before})
    runner = TaskRunner()
    assert runner.run(before.operator).state == "success"
    return runner.run(after)


@pytest.mark.parametrize("of", ["run", "download"])
@pytest.mark.parametrize("on", ["task", "mapped"])
@pytest.mark.parametrize("kind", [Path, PurePosixPath, ObjectStoragePath, Folder])
def test_a_path_may_be_one_of_pythons_or_airflows(
    stripe_conn: StripeSandbox, tmp_path: Path, of: str, on: str, kind: Any
) -> None:
    """Airflow renders templates in text, so it is text from the start; then come the placeholders."""
    stripe_conn.configure(transition=AtOnce())
    tried = landing(of, kind(f"{tmp_path}/{NAME}"), on=on)
    assert tried.state == "success", tried.error
    assert tried.returned["path"] == f"{tmp_path}/{LANDED}"
    assert (tmp_path / LANDED).stat().st_size == tried.returned["size"]


@pytest.mark.parametrize("of", ["run", "download"])
@pytest.mark.parametrize("on", ["task", "mapped", "the task before"])
def test_an_object_is_landed_through_the_connection_of_its_path(
    stripe_conn: StripeSandbox, s3: S3, of: str, on: str
) -> None:
    """As Airflow's users write it, in the task or in one before it."""
    stripe_conn.configure(transition=AtOnce())
    prefix = f"paths/{of}/{on}"
    name = NAME if on != "the task before" else NAME.replace("{{ ti.task_id }}", "report")
    tried = landing(of, ObjectStoragePath(s3.destination(prefix)) / name, on=on)
    assert tried.state == "success", tried.error
    assert tried.returned["path"] == s3.destination(f"{prefix}/{LANDED}")
    assert f"{prefix}/{LANDED}" in s3.objects(prefix)


def test_a_connection_may_be_given_beside_the_path(stripe_conn: StripeSandbox, s3: S3) -> None:
    """It is kept."""
    stripe_conn.configure(transition=AtOnce())
    conn_id, _, rest = s3.destination("beside/x.csv").removeprefix("s3://").partition("@")
    tried = landing("download", ObjectStoragePath(f"s3://{rest}", conn_id=conn_id))
    assert tried.returned["path"] == s3.destination("beside/x.csv")


@pytest.mark.parametrize("task_class", [StripeReportDownloadOperator, StripeReportRunOperator])
def test_options_of_a_path_are_refused_when_the_dag_is_parsed(s3: S3, task_class: type) -> None:
    """They would be lost, and with them the account that they are for; no value of one is shown."""
    path = ObjectStoragePath(s3.destination("x.csv"), secret="sesame")
    options: Any = (
        {"report_run_id": "frr_1"} if task_class is StripeReportDownloadOperator else {"report_type": "x.1"}
    )
    with pytest.raises(ValueError, match="destination: secret of the ObjectStoragePath can't be kept") as caught:
        in_dag(task_class, destination=path, **options)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("given", [1, b"/data/x.csv", ["/data/x.csv"], {"path": "/data/x.csv"}, True])
@pytest.mark.parametrize("of", ["run", "download"])
def test_what_is_no_path_is_one_clear_error(stripe_conn: StripeSandbox, of: str, given: Any) -> None:
    """Whatever a task before it has returned; nothing is downloaded, and no run created for it."""
    tried = landing(of, given)
    require_refused(tried, f"destination is a path or a URL, not {type(given).__name__}")
    assert len(stripe_conn.report_runs) == (of == "download")


@pytest.mark.parametrize("path", [Path("/data/reports"), ObjectStoragePath("file:///data/reports/")])
def test_a_path_object_is_no_root(path: object) -> None:
    """Its / at the end is gone, so that all days would be one file."""
    with pytest.raises(ConfigurationError, match="a text that ends in /"):
        text_of(path)
