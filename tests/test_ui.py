"""How tasks look in Airflow's UI: their colour, and the note that says what they do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator, BaseSensorOperator

from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
    StripeReportToSqlOperator,
)
from airflow_reportrun.sensors import StripeReportRunSensor, StripeReportTypeSensor

TASKS: dict[Any, dict[str, Any]] = {
    StripeReportRunOperator: {"report_type": "balance.summary.1"},
    StripeReportDownloadOperator: {"report_run_id": "frr_1", "destination": "/x.csv"},
    StripeReportToSqlOperator: {"report_run_id": "frr_1", "table": "x", "conn_id": "warehouse"},
    StripeReportRunSensor: {"report_run_id": "frr_1"},
    StripeReportTypeSensor: {"report_type": "balance.summary.1"},
}


def luminance(color: str) -> float:
    """Return the relative luminance of a colour such as ``#fff``, as WCAG has it."""
    digits = color.lstrip("#")
    parts = digits if len(digits) == 6 else "".join(digit * 2 for digit in digits)
    channels = [int(parts[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [it / 12.92 if it <= 0.04045 else ((it + 0.055) / 1.055) ** 2.4 for it in channels]
    return sum(weight * it for weight, it in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_all_have_one_readable_colour_of_their_own() -> None:
    """None of Airflow's, and with a contrast beyond the highest that WCAG asks for."""
    (color,), (text,) = {it.ui_color for it in TASKS}, {it.ui_fgcolor for it in TASKS}
    assert color not in (BaseOperator.ui_color, BaseSensorOperator.ui_color)
    assert (luminance(color) + 0.05) / (luminance(text) + 0.05) > 7


@pytest.mark.parametrize("task", TASKS, ids=lambda it: it.__name__)
def test_a_task_says_what_it_does_unless_its_author_does(task: Any) -> None:
    """Mapped or not; in a few words, and in other words than the next one."""
    options, mapped = dict(TASKS[task]), next(iter(TASKS[task]))
    with DAG("stripe", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        plain = task(task_id="plain", **options)
        own = task(task_id="own", doc="Ours.", **options)
        values = [options.pop(mapped)]
        many = task.partial(task_id="many", **options).expand(**{mapped: values})
        many_own = task.partial(task_id="many_own", doc_md="Ours.", **options).expand(**{mapped: values})
    assert plain.doc_md == many.doc_md == task.note
    assert (own.doc, own.doc_md, many_own.doc_md) == ("Ours.", None, "Ours.")
    assert len(task.note) < 200
    assert len({it.note for it in TASKS}) == len(TASKS)
