"""Options whose templates come to nothing: asked for or refused, by name, in each operator and sensor."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, BaseOperator

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
    StripeReportToDeltaOperator,
    StripeReportToIcebergOperator,
    StripeReportToSqlOperator,
)
from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from airflow_reportrun.sensors import StripeReportRunSensor, StripeReportTypeSensor
from tests.task_runner import START, TaskRunner, Try, in_dag
from tests.versions import BEFORE_3_3

NEEDED: dict[Any, dict[str, Any]] = {
    StripeReportRunOperator: {"report_type": "balance.summary.1", "poll_interval": 0.01},
    StripeReportDownloadOperator: {"report_run_id": "frr_1", "destination": "/proc/nowhere/x.csv"},
    StripeReportToDeltaOperator: {"report_run_id": "frr_1", "table": "/proc/nowhere/report"},
    StripeReportToIcebergOperator: {"report_run_id": "frr_1", "table": "a.report", "warehouse": "/proc/nowhere"},
    StripeReportToSqlOperator: {"report_run_id": "frr_1", "table": "report", "conn_id": "warehouse"},
    StripeReportRunSensor: {"report_run_id": "frr_1", "poke_interval": 0.01, "timeout": 0.1},
    StripeReportTypeSensor: {"report_type": "balance.summary.1", "poke_interval": 0.01, "timeout": 0.1},
}
MAY_BE_EMPTY = {
    (StripeReportRunOperator, "report_run_id"),
    (StripeReportRunOperator, "fresh"),
    (StripeReportRunOperator, "overwrite"),
    (StripeReportDownloadOperator, "overwrite"),
}
NOTHING = ["{{ none }}", "{{ '' }}", "{{ '  ' }}", "{{ [] }}", "{{ {} }}", "{{ 'None' }}"]


class Upstream(BaseOperator):
    """A task that returns something."""

    def __init__(self, *, returns: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.returns = returns

    def execute(self, context: Any) -> Any:
        """Return it."""
        return self.returns


def needed(task_class: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return options with what the task can't do without; one of two that exclude each other is enough."""
    others = {"warehouse"} if "catalog_conn_id" in options else set()
    return {name: it for name, it in NEEDED[task_class].items() if name not in others} | options


def run_after(returns: Any, task_class: Any, option: str, **options: Any) -> Try:
    """Run a task that has an option from a task before it."""
    with DAG("stripe", schedule=None, start_date=START):
        upstream = Upstream(task_id="upstream", returns=returns)
        task = task_class(task_id="report", **needed(task_class, {**options, option: upstream.output}))
    runner = TaskRunner()
    assert runner.run(upstream).state == "success"
    return runner.run(task)


def run(task_class: Any, native: bool = True, **options: Any) -> Try:
    task = in_dag(task_class, **needed(task_class, options))
    task.dag.render_template_as_native_obj = native
    return TaskRunner().run(task)


@pytest.mark.parametrize("native", [True, False], ids=["native", "text"])
@pytest.mark.parametrize("template", NOTHING)
@pytest.mark.parametrize(
    ("task_class", "option"),
    [
        pytest.param(task_class, option, id=f"{task_class.__name__}.{option}")
        for task_class in NEEDED
        for option in task_class.template_fields
        if (task_class, option) not in MAY_BE_EMPTY
    ],
)
def test_an_option_that_came_to_nothing_is_refused_by_name(
    stripe_conn: StripeSandbox, task_class: Any, option: str, template: str, native: bool
) -> None:
    """Leaving it out would be another report, account, place or partition; nothing is asked for."""
    if BEFORE_3_3 and option == "partition_key":
        pytest.skip("of Airflow 3.3")
    tried = run(task_class, native=native, outlets=[Asset("landed")], **{option: template})
    assert tried.state == "failed"
    words = ": the template or the upstream task gave nothing.", " is the id of a report type or several, not"
    assert str(tried.error).startswith(tuple(option + it for it in words))
    assert stripe_conn.requests == []


@pytest.mark.parametrize("option", ["report_run_id", "fresh"])
@pytest.mark.parametrize("template", ["{{ none }}", "{{ '' }}", "{{ '  ' }}"])
def test_two_options_may_come_to_nothing(stripe_conn: StripeSandbox, option: str, template: str) -> None:
    """They are about what exists already, and as a rule nobody asks for that."""
    stripe_conn.configure(transition=AtOnce())
    options: dict[str, Any] = {option: template}
    assert run(StripeReportRunOperator, **options).state == "success"


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"columns": ["currency", "{{ none }}"]}, "columns[1]"),
        ({"parameters": {"decimal_separator": "{{ none }}"}}, "parameters[decimal_separator]"),
        ({"parameters": "{{ {'connected_accounts': []} }}"}, "parameters[connected_accounts]"),
        ({"currency": "{{ none }}", "payout": "{{ '' }}"}, "currency, payout"),
    ],
)
def test_a_part_of_an_option_that_came_to_nothing_is_refused(
    stripe_conn: StripeSandbox, options: dict[str, Any], part: str
) -> None:
    """It would be left out of what is sent."""
    tried = run(StripeReportRunOperator, **options)
    assert tried.state == "failed"
    assert f"{part}: the template" in str(tried.error)
    assert stripe_conn.requests == []


@pytest.mark.parametrize("given", [[], "", {}])
def test_nothing_from_an_upstream_task_is_refused(stripe_conn: StripeSandbox, given: Any) -> None:
    """The columns of a task that found none are not all columns."""
    tried = run_after(given, StripeReportRunOperator, "columns")
    assert tried.state == "failed"
    assert "columns: the template or the upstream task gave nothing." in str(tried.error)
    assert stripe_conn.requests == []


def test_what_was_written_empty_is_left_out(stripe_conn: StripeSandbox) -> None:
    """An author who writes it down means it."""
    stripe_conn.configure(transition=AtOnce())
    tried = run(StripeReportRunOperator, columns=[], parameters={"decimal_separator": None}, currency=None)
    assert tried.state == "success", tried.error
    assert set(stripe_conn.report_runs[0].parameters) == {"interval_start", "interval_end"}


def test_a_result_may_have_fields_that_are_none(stripe_conn: StripeSandbox, tmp_path: Path) -> None:
    """What the operator returns has, where nothing was landed."""
    stripe_conn.configure(transition=AtOnce())
    returned = run(StripeReportRunOperator).returned
    assert returned["path"] is None
    destination = str(tmp_path / "x.csv")
    tried = run_after(returned, StripeReportDownloadOperator, "report_run_id", destination=destination)
    assert tried.state == "success", tried.error


@pytest.mark.parametrize("option", ["stripe_account", "currency", "interval_start", "columns"])
def test_none_that_is_mapped_over_is_refused_where_it_comes_from_upstream(
    stripe_conn: StripeSandbox, option: str
) -> None:
    """It would be the connection's own account, all currencies; in a list of the author's own it is meant."""
    options = {"task_id": "report", "report_type": "balance.summary.1", "poll_interval": 0.01}
    with DAG("stripe", schedule=None, start_date=START):
        upstream = Upstream(task_id="upstream", returns=[None])
        from_upstream = StripeReportRunOperator.partial(**options).expand(**{option: upstream.output})
    tried = TaskRunner().run(from_upstream.unmap({option: None}), map_index=0)
    assert f"{option}: the template or the upstream task gave nothing" in str(tried.error)
    assert stripe_conn.report_runs == []
    with DAG("stripe", schedule=None, start_date=START):
        of_the_author = StripeReportRunOperator.partial(**options).expand(**{option: [None]})
    tried = TaskRunner().run(of_the_author.unmap({option: None}), map_index=0)
    assert "gave nothing" not in str(tried.error)


SPANS: list[tuple[Any, str]] = [
    (StripeReportRunOperator, it) for it in ("timeout", "data_timeout", "poll_interval", "settle")
]
SPANS += [(StripeReportTypeSensor, "settle")]


@pytest.mark.parametrize("value", ["1h", None, True, [1], float("nan"), float("inf"), "{{ x }}"])
@pytest.mark.parametrize(("task_class", "option"), SPANS)
def test_a_span_of_time_that_is_none_is_refused_by_name(task_class: Any, option: str, value: Any) -> None:
    """With the value, and what is taken, when the DAG file is parsed."""
    with pytest.raises(ConfigurationError) as caught:
        in_dag(task_class, **needed(task_class, {option: value}))
    assert str(caught.value) == f"{option} is a timedelta or a number of seconds, not {value!r}."
    for span in (3600, 3600.0, timedelta(hours=1)):
        it = getattr(in_dag(task_class, **needed(task_class, {option: span})), option)
        assert it in (3600, timedelta(hours=1))


@pytest.mark.parametrize(("task_class", "option"), [it for it in SPANS if it[1] == "settle"])
def test_no_time_to_settle_is_less_than_none(task_class: Any, option: str) -> None:
    """None is as good as 0 seconds."""
    with pytest.raises(ValueError, match="settle is not negative, as -1 is"):
        in_dag(task_class, **needed(task_class, {option: -1}))
    assert in_dag(task_class, **needed(task_class, {option: 0})).settle == timedelta(0)


NO_NAMES: list[tuple[Any, str, str, str]] = [
    (StripeReportToIcebergOperator, "table", "activity", "give namespace and name with a point between"),
    (StripeReportToIcebergOperator, "warehouse", "books", "give the absolute path of a folder"),
    (StripeReportToDeltaOperator, "table", "books/activity", "is relative"),
    (
        StripeReportToDeltaOperator,
        "table",
        "gs://bucket/activity",
        "a Delta table lies in a local folder or below s3",
    ),
    (StripeReportToSqlOperator, "table", "a.b.activity", "give a name, or a schema and a name"),
    (StripeReportDownloadOperator, "destination", "books/{interval_start:%Y}.csv", "is relative"),
    (StripeReportDownloadOperator, "destination", "/books/x.parquet", "what lands there is csv"),
]


@pytest.mark.parametrize(("task_class", "option", "name", "said"), NO_NAMES)
def test_a_name_that_can_be_none_is_refused_before_a_report_is_asked_for(
    stripe_conn: StripeSandbox, task_class: Any, option: str, name: str, said: str
) -> None:
    """When the DAG file is parsed, since the report run is another task's; a template may still become a name."""
    with pytest.raises(ConfigurationError, match=said):
        in_dag(task_class, **needed(task_class, {option: name}))
    in_dag(task_class, **needed(task_class, {option: "{{ params.name }}"}))


@pytest.mark.parametrize("scheme", ["s3", "gs"])
@pytest.mark.parametrize(
    ("task_class", "option"),
    [
        (StripeReportDownloadOperator, "destination"),
        (StripeReportToDeltaOperator, "table"),
        (StripeReportToIcebergOperator, "warehouse"),
    ],
)
def test_credentials_are_no_error_of_a_dag_file(
    stripe_conn: StripeSandbox, task_class: Any, option: str, scheme: str
) -> None:
    """Whose traceback would show the line with them to all who see the UI; the task refuses them."""
    stripe_conn.configure(transition=AtOnce())
    asked = ReportParameters(interval_start=1714521600, interval_end=1714608000)
    run_id = StripeReportingHook().create_report_run("balance.summary.1", asked).id
    options: Any = {option: f"{scheme}://key:secret@bucket/activity", "report_run_id": run_id}
    tried = run(task_class, **options)
    assert tried.state == "failed"
    assert "credentials belong into an Airflow connection" in str(tried.error)
    assert "secret" not in str(tried.error)


@pytest.mark.parametrize("task_class", [StripeReportToIcebergOperator, StripeReportToSqlOperator])
def test_a_table_is_called_by_a_text(stripe_conn: StripeSandbox, task_class: Any) -> None:
    """A template may come to a number."""
    for written in ("{{ 5 }}", 5):
        assert "table is a text, not 5." in str(run(task_class, table=written).error)


EXTRAS = [
    (StripeReportToIcebergOperator, "iceberg", "pyiceberg", {}),
    (StripeReportToDeltaOperator, "delta", "deltalake", {}),
    (StripeReportToSqlOperator, "sql", "pyarrow", {}),
    (StripeReportDownloadOperator, "parquet", "pyarrow", {"format": "parquet", "destination": "/books/x.parquet"}),
]


@pytest.mark.parametrize(("task_class", "extra", "package", "options"), EXTRAS)
def test_a_package_that_is_missing_is_said_before_a_report_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, task_class: Any, extra: str, package: str, options: dict[str, Any]
) -> None:
    """When the DAG file is parsed: the task that asks for it comes before the one that lands it."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError) as caught:
        in_dag(task_class, **needed(task_class, options))
    assert f" needs {package}: pip install 'airflow-provider-reportrun[{extra}]'" in str(caught.value)
