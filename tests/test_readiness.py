"""The data that is not there yet, or never will be: the decision, and the operator that waits for it."""

from __future__ import annotations

import logging
import re
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pendulum
import pytest

from airflow_reportrun import triggers
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.operators import StripeReportRunOperator, submitting
from airflow_reportrun.question.readiness import covered, data_wanted
from airflow_reportrun.reporting.errors import DataMissingError, DataNotReadyError
from airflow_reportrun.reporting.models import ReportType
from airflow_reportrun.sandbox import DataLate, StripeSandbox, errors
from airflow_reportrun.sandbox.errors import ApiError
from tests.task_runner import END, START, TaskRunner, Try, in_dag
from tests.until import until
from tests.versions import needs_airflow

FROM, UNTIL = int(START.timestamp()), int(END.timestamp())
DAY = 86_400


@pytest.fixture(autouse=True)
def _waits_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "FIRST_LOOK_AFTER", 0.0)
    monkeypatch.setattr(submitting, "DATA_POLL_INTERVAL", 0.0)


@pytest.fixture(params=[False, True], ids=["sync", "deferrable"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    """Both ways of waiting have the same outcomes."""
    return bool(request.param)


def run_operator(**kwargs: Any) -> Any:
    return in_dag(StripeReportRunOperator, **{"report_type": "balance.summary.1", "poll_interval": 0.01, **kwargs})


def begun_now() -> TaskRunner:
    """A DAG run from which the time counts where Airflow can't remember the first try."""
    return TaskRunner(dag_run={"start_date": datetime.now(UTC)})


def complete(task: Any, runner: TaskRunner, **how: Any) -> Try:
    """Run one try to its end, however often it defers."""
    tried = runner.run(task, **how)
    while tried.state == "deferred":
        tried = runner.resume(task, tried, **how)
    return tried


def arrive(sandbox: StripeSandbox, reaches: int, *, after: float = 0.2) -> None:
    """Let the data arrive while the task waits: some time after it was looked for."""

    def later() -> None:
        until(lambda: sandbox.requests_to("retrieve_type"))
        time.sleep(after)
        sandbox.configure(data_available_end=reaches)

    threading.Thread(target=later, daemon=True).start()


def asked(sandbox: StripeSandbox) -> list[Any]:
    return [request.form["parameters"] for request in sandbox.requests_to("create")]


def test_waits_for_the_data_and_then_asks_once(
    stripe_conn: StripeSandbox, deferrable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """When the data reaches the end of the interval, which counts as reached; the log says once until when."""
    caplog.set_level(logging.INFO)
    stripe_conn.configure(data_available_end=UNTIL - 1)
    arrive(stripe_conn, UNTIL)
    tried = complete(run_operator(deferrable=deferrable), begun_now())
    assert tried.state == "success", tried.error
    assert len(asked(stripe_conn)) == 1
    (latest,) = re.findall(
        r"data for balance.summary.1 to reach 2024-05-02 00:00:00 UTC, until (.*) UTC at", caplog.text
    )
    in_days = datetime.fromisoformat(f"{latest}+00:00") - datetime.now(UTC)
    assert timedelta(days=2.9) < in_days < timedelta(days=3)
    looks = [request.operation for request in stripe_conn.requests]
    assert looks[: looks.index("create")] == ["retrieve_type"] * looks.index("create")


def test_holds_no_worker_while_it_waits(stripe_conn: StripeSandbox) -> None:
    """Deferrable, it waits in the triggerer, with nothing created and nothing secret stored."""
    stripe_conn.configure(data_available_end=UNTIL - 1)
    tried = begun_now().run(run_operator(deferrable=True))
    assert tried.state == "deferred"
    assert tried.deferral.next_method == "execute_when_available"
    assert stripe_conn.api_key not in repr(tried.deferral)
    assert stripe_conn.report_runs == []


def test_figures_that_still_move_are_waited_for(stripe_conn: StripeSandbox, deferrable: bool) -> None:
    """Settling is told by how far the data reaches, so a backfill of old intervals does not wait."""
    stripe_conn.configure(data_available_end=UNTIL + 4 * DAY - 1)
    arrive(stripe_conn, UNTIL + 4 * DAY)
    task = run_operator(deferrable=deferrable, settle=timedelta(hours=96))
    assert complete(task, begun_now()).state == "success"
    assert len(stripe_conn.requests_to("retrieve_type")) > 1
    assert asked(stripe_conn) == [{"interval_start": str(FROM), "interval_end": str(UNTIL)}]


def test_a_refusal_is_not_yet_and_asked_again_only_when_the_data_has_moved_on(
    stripe_conn: StripeSandbox, deferrable: bool
) -> None:
    """Stripe's two answers may disagree; a loop of creates would spend an attempt on each."""
    stripe_conn.configure(data_available_end=UNTIL)
    stripe_conn.inject(DataLate())

    def arrive_after_the_refusal() -> None:
        until(lambda: asked(stripe_conn))
        time.sleep(0.4)
        stripe_conn.configure(data_available_end=UNTIL + 43_200)

    threading.Thread(target=arrive_after_the_refusal, daemon=True).start()
    tried = complete(run_operator(deferrable=deferrable), begun_now())
    assert tried.state == "success", tried.error
    first, *others = stripe_conn.requests_to("create")
    assert [request.status for request in (first, *others)] == [400, *[400] * (len(others) - 1), 200]
    assert len({request.idempotency_key for request in (first, *others)}) == 2
    assert others[-1].at - first.at > 0.3
    assert len(stripe_conn.report_runs) == 1


def test_a_refusal_that_stays_is_told_in_the_end(stripe_conn: StripeSandbox, deferrable: bool) -> None:
    """Stripe's words, whichever process heard them."""
    stripe_conn.configure(data_available_end=UNTIL + 10 * DAY)
    stripe_conn.inject(DataLate())
    tried = complete(run_operator(deferrable=deferrable, data_timeout=2), begun_now())
    assert tried.state == "failed"
    assert "Stripe had said: Data for the report type" in str(tried.error)
    assert "wait_for_data" not in str(tried.error)
    assert len(stripe_conn.requests_to("create")) == 1


def test_a_refusal_of_what_has_no_interval_is_final(stripe_conn: StripeSandbox) -> None:
    """There is no data to wait for, and asking again would be a storm."""
    refusal = DataNotReadyError("No.", http_status=400, param="parameters.interval_end")
    task = run_operator(parameter_shape="payout", payout="po_1")
    with mock.patch.object(StripeReportingHook, "create_report_run", side_effect=refusal) as create:
        assert TaskRunner().run(task).state == "up_for_retry"
    assert create.call_count == 1


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("words", ["The report type does not take `interval_end`.", "Not so, `interval_end`!"])
def test_a_refusal_in_words_that_are_not_understood_is_final(
    stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch, deferrable: bool, waits: bool, words: str
) -> None:
    """It is about the end of the interval, but nothing says that waiting would help."""

    def refused(*args: Any) -> ApiError:
        return ApiError(400, words, param="parameters.interval_end", executed=True)

    monkeypatch.setattr(errors, "interval_after_data", refused)
    stripe_conn.inject(DataLate(), times=9)
    tried = complete(run_operator(deferrable=deferrable, wait_for_data=waits), begun_now())
    assert tried.state == "failed"
    assert words in str(tried.error)
    assert len(stripe_conn.requests_to("create")) == 1


def test_a_stored_refusal_that_is_not_understood_is_asked_once_more_in_another_try(
    stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stored answer may be out of date; the fresh one is not."""
    monkeypatch.setattr(
        errors, "interval_after_data", lambda *args: ApiError(400, "No.", param="interval_end", executed=True)
    )
    stripe_conn.inject(DataLate(), times=3)  # the replay takes one
    runner = begun_now()
    assert complete(run_operator(), runner).state == "failed"
    assert complete(run_operator(), runner, try_number=2).state == "failed"
    assert len(stripe_conn.requests_to("create")) == 3
    assert complete(run_operator(), runner, try_number=3).state == "success"


@pytest.mark.parametrize(("choice", "state"), [("fail", "failed"), ("skip", "skipped"), ("clip", "failed")])
@pytest.mark.parametrize("report_type", ["balance.summary.1", "ending_balance_reconciliation.summary.1"])
def test_a_refusal_of_an_interval_before_the_data_is_never_waited_for(
    stripe_conn: StripeSandbox, deferrable: bool, report_type: str, choice: Any, state: str
) -> None:
    """Also where the report type had said otherwise, and where it is the end that lies before."""
    said = replace(StripeReportingHook().retrieve_report_type(report_type), data_available_start=0)
    stripe_conn.configure(data_available_start=UNTIL + 1)
    task = run_operator(report_type=report_type, on_missing_data=choice, deferrable=deferrable)
    with mock.patch.object(StripeReportingHook, "retrieve_report_type", return_value=said):
        tried = begun_now().run(task)
    assert tried.state == state
    assert choice == "skip" or "only available starting at" in str(tried.error)
    assert len(stripe_conn.requests_to("create")) == 1
    assert stripe_conn.report_runs == []


def test_without_waiting_a_refusal_costs_a_try(stripe_conn: StripeSandbox) -> None:
    """The retries of the task bridge the time then; Airflow 3.3 is told to take its time with them."""
    stripe_conn.configure(data_available_end=FROM)
    task, runner = run_operator(wait_for_data=False), begun_now()
    tried = runner.run(task)
    assert tried.state == "up_for_retry"
    assert re.search("only available through .* leave it to wait_for_data=True", str(tried.error))
    assert [request.operation for request in stripe_conn.requests] == ["create"]
    stripe_conn.configure(data_available_end=UNTIL)
    assert complete(task, runner, try_number=2).state == "success"
    assert len(stripe_conn.report_runs) == 1


def test_data_that_does_not_come_fails_the_task_for_good(stripe_conn: StripeSandbox, deferrable: bool) -> None:
    """The time counts over all tries, so another would end the same; nothing was created."""
    stripe_conn.configure(data_available_end=FROM)
    tried = complete(run_operator(deferrable=deferrable, data_timeout=0.2), begun_now())
    assert tried.state == "failed"
    assert "was not seen to reach 2024-05-02 00:00:00 UTC by the deadline" in str(tried.error)
    assert "data_timeout" in str(tried.error)
    assert stripe_conn.report_runs == []


@needs_airflow(3, 3, "state store")
def test_the_data_timeout_counts_from_the_first_try(stripe_conn: StripeSandbox) -> None:
    """As an instant: a retry does not begin it anew, and settling comes on top."""
    stripe_conn.configure(data_available_end=FROM)
    task = run_operator(deferrable=True, data_timeout=timedelta(days=1), settle=timedelta(hours=96))
    runner, before = begun_now(), time.time()
    deadlines = []
    for try_number in (1, 2):
        deadlines.append(runner.trigger(runner.run(task, try_number=try_number)).deadline)
        time.sleep(0.05)
    assert deadlines[0] == deadlines[1]
    assert before <= deadlines[0] - 5 * DAY <= before + 5


def test_before_airflow_3_3_the_data_timeout_counts_from_the_start_of_the_dag_run(
    stripe_conn: StripeSandbox,
) -> None:
    """There is nowhere to keep the time of the first try."""
    stripe_conn.configure(data_available_end=FROM)
    started = pendulum.now("UTC").subtract(hours=3)
    runner = TaskRunner(store=None, dag_run={"start_date": started})
    trigger = runner.trigger(runner.run(run_operator(deferrable=True, data_timeout=timedelta(days=1))))
    assert trigger.deadline == started.timestamp() + DAY


def test_a_clear_begins_the_data_timeout_anew(stripe_conn: StripeSandbox) -> None:
    """Who clears a task that timed out wants it to wait again."""
    stripe_conn.configure(data_available_end=FROM)
    runner = begun_now()
    task = run_operator(deferrable=True, data_timeout=0.1)
    assert complete(task, runner).state == "failed"
    stripe_conn.configure(data_available_end=UNTIL)
    runner.dag_run = {"start_date": datetime.now(UTC)}  # Airflow moves it when the DAG run had ended
    assert complete(task, runner, try_number=2, max_tries=4).state == "success"


@pytest.mark.parametrize(("choice", "state"), [("fail", "failed"), ("skip", "skipped"), ("clip", "skipped")])
@pytest.mark.parametrize("waits", [True, False])
def test_an_interval_before_all_data_is_never_waited_for(
    stripe_conn: StripeSandbox, choice: Any, state: str, waits: bool
) -> None:
    """The author of the DAG chooses; there is nothing left of it to clip."""
    stripe_conn.configure(data_available_start=UNTIL)
    task = run_operator(on_missing_data=choice, wait_for_data=waits, deferrable=True)
    tried = begun_now().run(task)
    assert tried.state == state
    assert stripe_conn.report_runs == []


@pytest.mark.parametrize(("choice", "state"), [("fail", "failed"), ("skip", "skipped"), ("clip", "success")])
def test_an_interval_that_begins_before_the_data(
    stripe_conn: StripeSandbox, tmp_path: Path, choice: Any, state: str
) -> None:
    """It may be reported on from where the data begins, where the author says so."""
    stripe_conn.configure(data_available_start=FROM + 3600)
    destination = str(tmp_path / "{interval_start:%H}.csv")
    task = run_operator(on_missing_data=choice, destination=destination)
    tried = complete(task, begun_now())
    assert tried.state == state
    clipped = [{"interval_start": str(FROM + 3600), "interval_end": str(UNTIL)}]
    assert asked(stripe_conn) == (clipped if choice == "clip" else [])
    if choice == "clip":
        assert tried.returned["interval_start"] == FROM + 3600
        assert (tmp_path / "01.csv").exists()


@pytest.mark.parametrize("begins", [FROM - DAY, FROM + 3600], ids=["covered", "clipped"])
@pytest.mark.parametrize("ends", [UNTIL - 1, UNTIL], ids=["waiting", "there"])
def test_a_taken_destination_is_found_before_anything_is_waited_for_or_created(
    stripe_conn: StripeSandbox, tmp_path: Path, deferrable: bool, begins: int, ends: int
) -> None:
    """Also where the interval may be clipped, so that only the look at the data says what is landed."""
    destination = str(tmp_path / "x.csv")
    assert complete(run_operator(destination=destination, currency="eur"), begun_now()).state == "success"
    stripe_conn.configure(data_available_start=begins, data_available_end=ends)
    created = len(asked(stripe_conn))
    task = run_operator(destination=destination, on_missing_data="clip", deferrable=deferrable)
    tried = begun_now().run(task)
    assert tried.state == "failed"
    assert "another report is landed there" in str(tried.error)
    assert len(asked(stripe_conn)) == created


def test_what_clips_lands_again_where_it_landed(stripe_conn: StripeSandbox, tmp_path: Path) -> None:
    """It is compared by what is left of the interval."""
    stripe_conn.configure(data_available_start=FROM + 3600)
    task = run_operator(destination=str(tmp_path / "x.csv"), on_missing_data="clip")
    runner = begun_now()
    assert complete(task, runner).state == "success"
    cleared = complete(task, runner, try_number=2, max_tries=9)
    assert cleared.state == "success", cleared.error
    assert len(stripe_conn.report_runs) == 2


def test_a_clipped_interval_is_the_same_in_a_retry(
    stripe_conn: StripeSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """It was asked for once, and nothing is said to have changed."""
    stripe_conn.configure(data_available_start=FROM + 3600)
    task, runner = run_operator(on_missing_data="clip"), begun_now()
    first = complete(task, runner)
    again = complete(task, runner, try_number=2)
    assert first.returned == again.returned
    assert len(stripe_conn.report_runs) == 1
    assert "something else" not in caplog.text


def report_type(start: int, end: int) -> ReportType:
    return ReportType("balance.summary.1", "Balance", start, end, (), False, 0, 1)


def bounds(**instants: int) -> dict[str, pendulum.DateTime]:
    return {name: pendulum.from_timestamp(at, tz="Europe/Berlin") for name, at in instants.items()}


def test_both_ends_of_the_data_count_as_covered() -> None:
    """Stripe takes an interval that touches them."""
    touching = bounds(interval_start=FROM, interval_end=UNTIL)
    assert covered(touching, report_type(FROM, UNTIL), "fail") == touching
    assert data_wanted(touching, timedelta(0)) == UNTIL


def test_a_clipped_start_keeps_the_zone_of_the_interval() -> None:
    """A destination is named by local days."""
    clipped = covered(bounds(interval_start=0, interval_end=UNTIL), report_type(FROM, UNTIL), "clip")
    assert clipped["interval_start"].timezone_name == "Europe/Berlin"
    assert clipped["interval_start"].int_timestamp == FROM


@pytest.mark.parametrize("choice", ["fail", "skip", "clip"])
def test_an_instant_before_the_data_can_not_be_clipped(choice: Any) -> None:
    """A balance is asked for at the end alone; at the very beginning of the data it is there."""
    at = report_type(FROM, UNTIL)
    assert covered(bounds(interval_end=FROM), at, choice) == bounds(interval_end=FROM)
    with pytest.raises(DataMissingError, match="begins at 2024-05-01"):
        covered(bounds(interval_end=FROM - 1), at, choice)
