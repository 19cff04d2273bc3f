"""One report run counts for each clear, whatever happens in between: by Hypothesis, over HTTP."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from airflow_reportrun import triggers
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.reporting.answers import Response
from airflow_reportrun.reporting.endpoints import Request
from airflow_reportrun.sandbox import AtOnce, RunFails, ServerError, StripeSandbox
from tests.task_runner import TaskRunner, in_dag
from tests.versions import BEFORE_3_3

pytestmark = pytest.mark.slow

DAY = 86_400

# What else has happened since the last try.
a_day_passed = st.booleans()
currencies = st.sampled_from(["usd", "eur"])


class WorkerDies(BaseException):
    """The worker is gone, wherever it was; nothing in it can catch that."""


class TaskInstanceLife(RuleBasedStateMachine):
    """Tries, crashes, clears, failed runs, days that pass and templates that change, in any order.

    What is counted: a try that succeeds returns the report run that counts for its clear; another run may come to
    count only when that one failed. Runs that nobody counts are created only for a reason that is kept here.
    """

    sandbox: StripeSandbox

    @initialize(deferrable=st.booleans(), remembers=st.just(False) if BEFORE_3_3 else st.booleans())
    def begin(self, deferrable: bool, remembers: bool) -> None:
        """Start with a new DAG run."""
        self.sandbox.reset()
        self.offset = 0.0
        self.sandbox.configure(transition=AtOnce(), clock=lambda: time.time() + self.offset)
        self.deferrable = deferrable
        self.runner = TaskRunner(store={} if remembers else None)
        self.max_tries, self.try_number = 99, 0
        self.counting: str | None = None
        self.reasons = 0
        self.cleared_at = 0
        self.unanswered = False

    def attempt(self, *, a_day_passed: bool, currency: str) -> Any:
        """Run one try to its end.

        Where nothing is remembered, Stripe's memory of a day and the same templates are all there is.
        """
        remembers = self.runner.store is not None
        if a_day_passed and remembers:
            self.offset += DAY + 1
            if self.unanswered and self.counting is None:
                self.reasons += 1  # nobody heard of it, and nobody will
        self.unanswered = False
        self.try_number += 1
        task = in_dag(
            StripeReportRunOperator,
            report_type="balance.summary.1",
            poll_interval=0.01,
            deferrable=self.deferrable,
            currency=currency if remembers else "usd",
        )
        task.hook.sleep = lambda seconds: None
        how: dict[str, Any] = {"try_number": self.try_number, "max_tries": self.max_tries}
        tried = self.runner.run(task, **how)
        return self.runner.resume(task, tried, **how) if tried.state == "deferred" else tried

    @rule(a_day_passed=a_day_passed, currency=currencies)
    def a_try_succeeds(self, **since: Any) -> None:
        """It returns the run that counts, and always the same one."""
        tried = self.attempt(**since)
        assert tried.state == "success", tried.error
        found = tried.returned["report_run_id"]
        assert self.counting in (None, found)
        self.counting = found

    @rule(sent=st.booleans(), a_day_passed=a_day_passed, currency=currencies)
    def a_worker_dies(self, sent: bool, **since: Any) -> None:
        """Before its request for a report run is sent, or when it was executed and nobody heard of it."""
        exchange = StripeReportingHook.exchange

        def dying(hook: StripeReportingHook, request: Request[Any]) -> Response:
            if request.method == "POST" and not sent:
                raise WorkerDies
            response = exchange(hook, request)
            if request.method == "POST":
                raise WorkerDies
            return response

        unanswered, before = self.unanswered, len(self.sandbox.report_runs)
        with mock.patch.object(StripeReportingHook, "exchange", dying), suppress(WorkerDies):
            self.attempt(**since)
        created = len(self.sandbox.report_runs) > before
        # What the one before it left behind is still there, unless a day has passed.
        self.unanswered = created or (unanswered and not since["a_day_passed"])

    @rule(a_day_passed=a_day_passed, currency=currencies)
    def a_report_run_fails(self, **since: Any) -> None:
        """If one is created now; the try fails, and the next one creates another."""
        failed = self.failed()
        self.sandbox.inject(RunFails("No."))
        tried = self.attempt(**since)
        if self.failed() == failed:  # attached to a good one
            assert tried.state == "success", tried.error
            assert self.counting in (None, tried.returned["report_run_id"])
            self.counting = tried.returned["report_run_id"]
            self.forget_faults()
        else:
            assert tried.state == "up_for_retry"
            self.reasons += 1

    @rule(committed=st.booleans(), a_day_passed=a_day_passed, currency=currencies)
    def stripe_keeps_an_error(self, committed: bool, **since: Any) -> None:
        """A new key follows; the run of the first one may exist, and nobody counts it."""
        self.sandbox.inject(ServerError(committed=committed))
        before = len(self.sandbox.report_runs)
        tried = self.attempt(**since)
        assert tried.state == "success", tried.error
        created = len(self.sandbox.report_runs) - before
        self.reasons += max(0, created - 1)
        assert self.counting in (None, tried.returned["report_run_id"])
        self.counting = tried.returned["report_run_id"]
        self.forget_faults()

    @rule()
    def somebody_clears(self) -> None:
        """And asks for a fresh run thereby."""
        self.max_tries = self.try_number + 99
        self.counting, self.unanswered = None, False
        self.cleared_at, self.reasons = len(self.sandbox.report_runs), 0

    @invariant()
    def nothing_is_created_without_a_reason(self) -> None:
        """One run for each clear, and one for each that failed or was lost."""
        assert len(self.sandbox.report_runs) - self.cleared_at <= 1 + self.reasons

    def failed(self) -> int:
        """Return how many runs have failed."""
        return sum(run.status == "failed" for run in self.sandbox.report_runs)

    def forget_faults(self) -> None:
        """Let what did not happen now not happen later."""
        state = self.sandbox._state
        state.run_faults, state.request_faults = type(state.run_faults)(), type(state.request_faults)()


def test_one_report_run_counts_for_each_clear() -> None:
    """Any sequence of tries, crashes, clears, failed runs, forgotten keys and changed templates."""
    with StripeSandbox() as sandbox:
        connection = {"conn_type": "stripe", "host": sandbox.url, "password": sandbox.api_key}
        environ = {**os.environ, "AIRFLOW_CONN_STRIPE_DEFAULT": json.dumps(connection)}
        TaskInstanceLife.sandbox = sandbox
        with mock.patch.dict(os.environ, environ), mock.patch.object(triggers, "FIRST_LOOK_AFTER", 0.0):
            run_state_machine_as_test(
                TaskInstanceLife,
                settings=settings(
                    max_examples=100, stateful_step_count=10, suppress_health_check=list(HealthCheck)
                ),
            )
