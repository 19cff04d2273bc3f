"""Options whose templates come to nothing: asked for or refused, by name, in each operator and sensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, BaseOperator

from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
    StripeReportToDeltaOperator,
    StripeReportToIcebergOperator,
    StripeReportToSqlOperator,
)
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from airflow_reportrun.sensors import StripeReportRunSensor, StripeReportTypeSensor
from tests.task_runner import START, TaskRunner, Try, in_dag
from tests.versions import BEFORE_3_3

NEEDED: dict[Any, dict[str, Any]] = {
    StripeReportRunOperator: {"report_type": "balance.summary.1", "poll_interval": 0.01},
    StripeReportDownloadOperator: {"report_run_id": "frr_1", "destination": "/nowhere/x.csv"},
    StripeReportToDeltaOperator: {"report_run_id": "frr_1", "table": "/nowhere/report"},
    StripeReportToIcebergOperator: {"report_run_id": "frr_1", "table": "a.report", "warehouse": "/nowhere"},
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
