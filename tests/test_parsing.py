"""What is wrong by itself is said when the DAG file is parsed, and what may still become right is not."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
    StripeReportToDeltaOperator,
    StripeReportToIcebergOperator,
    StripeReportToSqlOperator,
)
from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.reporting.report_type_ids import ParameterShape
from airflow_reportrun.sensors import StripeReportTypeSensor
from tests.task_runner import START, in_dag

REQUIRED: dict[type, dict[str, Any]] = {
    StripeReportRunOperator: {"report_type": "balance.summary.1"},
    StripeReportTypeSensor: {"report_type": "balance.summary.1"},
    StripeReportDownloadOperator: {"report_run_id": "frr_1", "destination": "/data/x.csv"},
    StripeReportToDeltaOperator: {"report_run_id": "frr_1", "table": "/lake/x"},
    StripeReportToIcebergOperator: {"report_run_id": "frr_1", "table": "a.x", "warehouse": "/lake"},
    StripeReportToSqlOperator: {"report_run_id": "frr_1", "table": "x", "conn_id": "warehouse"},
}
"""Each task, and what it can't do without."""


@pytest.mark.parametrize(
    ("task_class", "options", "message"),
    [
        (
            StripeReportRunOperator,
            {"interval": "daily"},
            "interval is one of hour, day, week, month, quarter, year",
        ),
        (StripeReportRunOperator, {"interval": "{{ 'day' }}"}, "interval is one of hour"),  # no template
        (StripeReportRunOperator, {"interval": 1}, "interval is one of hour"),
        (StripeReportRunOperator, {"parameter_shape": "triangle"}, "one of interval, interval_end, payout, not"),
        (StripeReportRunOperator, {"on_missing_data": "ignore"}, "on_missing_data is one of fail, skip, clip"),
        (StripeReportRunOperator, {"expect_livemode": "yes"}, "expect_livemode is one of True, False, not 'yes'"),
        (StripeReportRunOperator, {"fresh": "perhaps"}, "fresh is True or False"),
        (StripeReportRunOperator, {"overwrite": "perhaps"}, "overwrite is True or False"),
        (StripeReportDownloadOperator, {"overwrite": "perhaps"}, "overwrite is True or False"),
        (StripeReportTypeSensor, {"interval": "fortnight"}, "interval is one of hour"),
        (StripeReportDownloadOperator, {"format": "xlsx"}, "format is one of csv, csv.gz, parquet, not 'xlsx'"),
        (StripeReportDownloadOperator, {"format": "Parquet"}, "format is one of"),
        (StripeReportDownloadOperator, {"column_types": {"fee": "float"}}, "known kinds are money"),
        (StripeReportToSqlOperator, {"on_overlap": "merge"}, "on_overlap is one of fail, replace, not 'merge'"),
        (StripeReportToSqlOperator, {"column_types": {"fee": "money(38)"}}, "known kinds are money"),
        (StripeReportToIcebergOperator, {"on_overlap": "merge"}, "on_overlap is one of fail, replace"),
        (StripeReportToIcebergOperator, {"catalog_conn_id": "lake"}, "Name the catalog of the table"),
    ],
)
def test_a_word_that_is_none_of_a_few_fails_the_file(
    task_class: type, options: dict[str, Any], message: str
) -> None:
    """Nobody has to wait for a run to see a typing error."""
    with pytest.raises(ConfigurationError) as caught:
        in_dag(task_class, **REQUIRED[task_class], **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("task_class", "options"),
    [
        *[(StripeReportRunOperator, {"parameter_shape": shape}) for shape in (*ParameterShape, "payout", None)],
        *[(StripeReportRunOperator, {"fresh": fresh}) for fresh in (True, "true", "False", "", "{{ x }}", None)],
        *[(StripeReportRunOperator, {"interval": unit}) for unit in ("hour", "quarter", None)],
        *[(StripeReportDownloadOperator, {"format": it}) for it in ("{{ params.x }}", "{% if x %}", None)],
        (StripeReportDownloadOperator, {"format": "csv.gz", "destination": "/data/x.csv.gz"}),
        (StripeReportDownloadOperator, {"column_types": "{{ params.types }}"}),
        (StripeReportDownloadOperator, {"column_types": {"{{ params.column }}": "nothing yet"}}),
        (StripeReportDownloadOperator, {"column_types": {"fee": "{{ params.kind }}", "net": "money(9)"}}),
        (StripeReportToSqlOperator, {"on_overlap": "{{ params.on_overlap }}"}),
    ],
)
def test_what_may_become_one_of_them_is_left_to_the_run(task_class: type, options: dict[str, Any]) -> None:
    """A template, or what an upstream task gives."""
    name = next(iter(options))
    assert getattr(in_dag(task_class, **{**REQUIRED[task_class], **options}), name) == options[name]


def test_what_an_upstream_task_gives_is_left_to_the_run() -> None:
    """An output has no value when the file is parsed, also inside a mapping."""
    with DAG("upstream", schedule=None, start_date=START):
        before: Any = StripeReportRunOperator(task_id="before", report_type="balance.summary.1")
        task = StripeReportDownloadOperator(
            task_id="land",
            report_run_id=before.output,
            destination="/data/x.csv",
            format=before.output["format"],
            column_types={"fee": before.output["kind"]},
        )
    assert before in task.upstream_list
