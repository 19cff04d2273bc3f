"""Each interval exactly once: counted in the sandbox, over HTTP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.reporting.errors import (
    APIConnectionError,
    ConflictError,
    DataNotReadyError,
    ReportingError,
    ServerError,
)
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.reporting.parameters import ReportParameters, form_encode
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.sandbox import AfterReads, AtOnce, Dropped, RunFails, Slow, StripeSandbox, Unavailable
from airflow_reportrun.sandbox import ServerError as StoredServerError
from airflow_reportrun.submission.memory import Memory
from airflow_reportrun.submission.submit import MAX_ATTEMPTS, submit_or_attach
from tests.docs_tables import hold, table
from tests.test_idempotency import IDENTITY as SOMEBODY

PAGE = Path(__file__).parent.parent / "docs" / "exactly-once.md"
PARAMETERS = ReportParameters(interval_start=1714521600, interval_end=1714608000)
IDENTITY = replace(SOMEBODY, livemode=False, parameters=dict(form_encode(PARAMETERS.as_dict())))


@pytest.fixture
def hook(stripe_conn: StripeSandbox) -> StripeReportingHook:
    """A hook that doesn't sleep and doesn't send again, so that each crash stays visible."""
    hook = StripeReportingHook()
    hook.sleep = lambda seconds: None
    hook.resend_policy = ResendPolicy(max_tries=1)
    return hook


def submit(hook: StripeReportingHook) -> ReportRun:
    return submit_or_attach(hook, IDENTITY, PARAMETERS)


def test_creates_one_run_and_knows_its_request(stripe_conn: StripeSandbox, hook: StripeReportingHook) -> None:
    """The plain case: one POST, nothing else."""
    run = submit(hook)
    assert [r.id for r in stripe_conn.report_runs] == [run.id]
    assert [(r.operation, r.request_id) for r in stripe_conn.requests] == [("create", run.request_id)]


def test_crash_before_the_answer(stripe_conn: StripeSandbox, hook: StripeReportingHook) -> None:
    """Stripe created the run and nobody heard of it: the retry is given that one."""
    stripe_conn.inject(Dropped(committed=True))
    with pytest.raises(APIConnectionError):
        submit(hook)
    (run,) = stripe_conn.report_runs
    assert submit(hook).id == run.id
    assert len(stripe_conn.report_runs) == 1


def test_crash_before_the_request_arrived(stripe_conn: StripeSandbox, hook: StripeReportingHook) -> None:
    """Nothing was created, so the retry creates."""
    stripe_conn.inject(Dropped(committed=False))
    with pytest.raises(APIConnectionError):
        submit(hook)
    submit(hook)
    assert len(stripe_conn.report_runs) == 1


def test_crash_after_the_answer(stripe_conn: StripeSandbox, hook: StripeReportingHook) -> None:
    """A retry while the run is pending attaches, and reports the request that really created it."""
    stripe_conn.configure(transition=AfterReads(5))
    first, again = submit(hook), submit(StripeReportingHook())
    assert (again.id, again.request_id, again.status) == (first.id, first.request_id, "pending")
    assert len(stripe_conn.report_runs) == 1


def test_retry_after_success(stripe_conn: StripeSandbox, hook: StripeReportingHook) -> None:
    """The replay shows a pending run; what counts is the run as it is now."""
    stripe_conn.configure(transition=AfterReads(0))
    submit(hook)
    again = submit(hook)
    assert again.status == "succeeded"
    assert again.result is not None
    assert len(stripe_conn.report_runs) == 1


def test_retry_after_a_failed_run_makes_a_second_and_only_one(
    stripe_conn: StripeSandbox, hook: StripeReportingHook
) -> None:
    """The failed one can't be used; the one after it can, by as many retries as there are."""
    stripe_conn.inject(RunFails("Out of paper."))
    stripe_conn.configure(transition=AfterReads(0))
    first = submit(hook)
    second, third = submit(hook), submit(hook)
    assert first.id != second.id == third.id
    assert [run.status for run in stripe_conn.report_runs] == ["failed", "succeeded"]


def test_a_run_that_succeeded_at_once_is_taken_as_it_is(
    stripe_conn: StripeSandbox, hook: StripeReportingHook
) -> None:
    """Stripe may answer a create with the finished report."""
    stripe_conn.configure(transition=AtOnce())
    assert submit(hook).status == "succeeded"
    assert len(stripe_conn.requests) == 1


@pytest.mark.parametrize(("committed", "runs"), [(False, 1), (True, 2)])
def test_a_stored_server_error(
    stripe_conn: StripeSandbox, hook: StripeReportingHook, committed: bool, runs: int
) -> None:
    """The key is spent, so a new one follows: one run, or, after the commit, two of which one counts."""
    stripe_conn.inject(StoredServerError(committed=committed))
    run, again = submit(hook), submit(hook)
    assert run.id == again.id == stripe_conn.report_runs[-1].id
    assert len(stripe_conn.report_runs) == runs


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was said of report runs that may be one too many."""
    return [it.getMessage() for it in caplog.records if it.levelname == "WARNING" and "one too many" in it.msg]


def test_a_run_that_nobody_may_count_is_told_of(
    stripe_conn: StripeSandbox, hook: StripeReportingHook, caplog: pytest.LogCaptureFixture
) -> None:
    """By the request and the key that find it at Stripe, and also where the try ends with it."""
    stripe_conn.inject(StoredServerError(committed=True), times=2)
    with pytest.raises(ServerError):
        submit(hook)
    requests = stripe_conn.requests_to("create")
    assert len(requests) == len(warnings(caplog)) == 2
    for request, words in zip(requests, warnings(caplog), strict=True):
        assert f"request {request.request_id}, idempotency key {request.idempotency_key}." in words


def test_what_made_no_run_is_not_told_of(
    stripe_conn: StripeSandbox, hook: StripeReportingHook, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal for good, and errors under which the same request is sent again."""
    stripe_conn.inject(Unavailable())
    with pytest.raises(ServerError):
        submit(hook)
    submit(hook)
    stripe_conn.configure(data_available_end=1714521600)
    with pytest.raises(DataNotReadyError):
        submit_or_attach(hook, replace(IDENTITY, run_id="another"), PARAMETERS)
    assert warnings(caplog) == []


def test_server_errors_that_do_not_end_are_given_up(stripe_conn: StripeSandbox, hook: StripeReportingHook) -> None:
    """A try spends one more key on a Stripe that is down; the next try goes on where this one ended."""
    stripe_conn.inject(StoredServerError(), times=2)
    with pytest.raises(ServerError):
        submit(hook)
    assert len(stripe_conn.requests) == 2
    assert submit(hook).status == "pending"
    assert len(stripe_conn.report_runs) == 1


@pytest.mark.parametrize("remembers", [True, False])
def test_the_docs_have_what_server_errors_cost_at_most(
    stripe_conn: StripeSandbox, hook: StripeReportingHook, remembers: bool
) -> None:
    """Each one that is stored leaves a run at most, and a try makes two at most, however many there are."""
    rows = []
    for tries in range(1, 5):
        stripe_conn.reset()
        memory = Memory() if remembers else None
        for before in range(tries - 1):
            stripe_conn.inject(StoredServerError(committed=True), times=2, skip=replays(before, remembers))
            with pytest.raises(ServerError):
                submit_or_attach(hook, IDENTITY, PARAMETERS, memory=memory)
            assert len(stripe_conn.report_runs) == 2 * (before + 1)
        stripe_conn.inject(StoredServerError(committed=True), skip=replays(tries - 1, remembers))
        run = submit_or_attach(hook, IDENTITY, PARAMETERS, memory=memory)
        assert run.id == stripe_conn.report_runs[-1].id == submit(hook).id
        errors = [request for request in stripe_conn.requests if request.status == 500 and not request.replayed]
        rows.append([str(tries), str(len(errors)), f"{len(stripe_conn.report_runs)} / 1"])
    hold(PAGE, "server-errors", table(["tries", "500s that Stripe kept", "created / count"], rows))


def replays(tries: int, remembers: bool) -> int:
    """Return how many stored answers a try hears first, after so many that heard two each."""
    return min(tries, 1) if remembers else 2 * tries


def test_a_stored_refusal_is_asked_again_only_by_the_next_try(
    stripe_conn: StripeSandbox, hook: StripeReportingHook
) -> None:
    """Data that was missing may have arrived since; the answer under the key would stay a no."""
    stripe_conn.configure(data_available_end=1714521600)
    with pytest.raises(DataNotReadyError, match="only available through") as caught:
        submit(hook)
    assert caught.value.param == "parameters.interval_end"
    assert len(stripe_conn.requests) == 1
    stripe_conn.configure(data_available_end=1714608000)
    assert submit(hook).status == "pending"
    assert len(stripe_conn.report_runs) == 1


def test_a_key_in_flight_is_waited_for(stripe_conn: StripeSandbox, hook: StripeReportingHook) -> None:
    """A broker delivered the task twice: the second process gets the first one's run."""
    from concurrent.futures import ThreadPoolExecutor

    stripe_conn.inject(Slow(1.0))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(submit, hook)
        while not stripe_conn.report_runs:
            pass
        with pytest.raises(ConflictError):
            submit(hook)
        patient = StripeReportingHook()
        assert submit(patient).id == first.result().id
    assert len(stripe_conn.report_runs) == 1


def test_runs_that_always_fail_end_with_an_error(stripe_conn: StripeSandbox, hook: StripeReportingHook) -> None:
    """The walk over earlier attempts has an end of its own."""
    stripe_conn.configure(transition=AfterReads(0))
    stripe_conn.inject(RunFails(), times=MAX_ATTEMPTS)
    for _ in range(MAX_ATTEMPTS):
        submit(hook)
    with pytest.raises(ReportingError, match="clear it to begin anew"):
        submit(hook)
    assert len(stripe_conn.report_runs) == MAX_ATTEMPTS


def test_a_file_that_expired_leads_to_a_new_run(stripe_conn: StripeSandbox, hook: StripeReportingHook) -> None:
    """A run is of no use without its file, however well it went."""
    stripe_conn.configure(transition=AfterReads(0))
    first = submit(hook)
    in_two_years = stripe_conn.report_runs[0].created + 2 * 365 * 86400
    second = submit_or_attach(hook, IDENTITY, PARAMETERS, clock=lambda: in_two_years)
    assert first.id != second.id
