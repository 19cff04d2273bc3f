"""What a try decides over earlier submissions is counted under the names of Airflow's durable execution."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Stats

from airflow_reportrun import metrics
from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.sandbox import AfterReads, AtOnce, Dropped, RunFails, StripeSandbox
from tests.docs_tables import hold, table
from tests.task_runner import TaskRunner, in_dag
from tests.versions import needs_airflow

pytestmark = needs_airflow(3, 3, "state store")

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"
Counted = Callable[[], list[str]]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """What was counted since it was asked last."""
    names: list[str] = []

    def incr(name: str, count: int = 1, **how: Any) -> None:
        if name.startswith("resumable_job."):
            team = how["tags"].pop("team_name", None)
            assert how["tags"] == {"operator": "StripeReportRunOperator"}
            names.append(name.removeprefix("resumable_job.") + (f" of {team}" if team else ""))

    monkeypatch.setattr(Stats, "incr", incr)

    def since() -> list[str]:
        found, names[:] = list(names), []
        return found

    return since


def report(**options: Any) -> Any:
    return in_dag(StripeReportRunOperator, report_type="balance.summary.1", poll_interval=0.01, **options)


def test_a_first_try_submits_afresh(stripe_conn: StripeSandbox, counted: Counted) -> None:
    """Also where the answer is lost and the same request is sent again."""
    stripe_conn.configure(transition=AtOnce())
    stripe_conn.inject(Dropped(committed=True))
    assert TaskRunner().run(report()).state == "success"
    assert counted() == ["fresh_submit"]


def test_a_team_is_told_from_others(stripe_conn: StripeSandbox, counted: Counted) -> None:
    """Where Airflow has teams, as its own counters do."""
    stripe_conn.configure(transition=AtOnce())
    assert TaskRunner(dag_run={"team_name": "finance"}).run(report()).state == "success"
    assert counted() == ["fresh_submit of finance"]


def test_a_retry_reconnects_to_a_pending_run(stripe_conn: StripeSandbox, counted: Counted) -> None:
    """It is waited for longer."""
    stripe_conn.configure(transition=AfterReads(10_000))
    task, runner = report(timeout=0.1), TaskRunner()
    runner.run(task)
    counted()
    runner.run(task, try_number=2)
    assert counted() == ["reconnect_attempt", "reconnect_success"]


def test_a_retry_takes_a_run_that_has_succeeded(stripe_conn: StripeSandbox, counted: Counted) -> None:
    """As after a crash between its end and the task's."""
    stripe_conn.configure(transition=AtOnce())
    task, runner = report(), TaskRunner()
    runner.run(task)
    counted()
    assert runner.run(task, try_number=2).state == "success"
    assert counted() == ["reconnect_attempt", "already_succeeded"]


def test_a_retry_submits_anew_after_a_run_that_failed(stripe_conn: StripeSandbox, counted: Counted) -> None:
    """It looked at the old one first."""
    stripe_conn.configure(transition=AtOnce())
    stripe_conn.inject(RunFails())
    task, runner = report(), TaskRunner()
    assert runner.run(task).state == "up_for_retry"
    counted()
    assert runner.run(task, try_number=2).state == "success"
    assert counted() == ["reconnect_attempt", "terminal_resubmit"]


def test_the_page_has_airflows_names() -> None:
    """With what each of them says here."""
    rows = [(f"`{it.prefix}{it.name}`", it.meaning) for it in metrics.DURABLE.values()]
    hold(PAGE, "durable", table(("name", "what a try did"), rows))
