"""Each interval exactly once: counted in the sandbox, over HTTP."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_reportrun import metrics
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.reporting.errors import (
    APIConnectionError,
    ConflictError,
    DataNotReadyError,
    InvalidParametersError,
    InvalidRequestError,
    ReportingError,
    ServerError,
)
from airflow_reportrun.reporting.models import File, ReportRun, ReportRunStatus
from airflow_reportrun.reporting.parameters import ReportParameters, form_encode
from airflow_reportrun.reporting.report_type_ids import ParameterShape
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.sandbox import AfterReads, AtOnce, Dropped, RunFails, Slow, StripeSandbox, Unavailable
from airflow_reportrun.sandbox import ServerError as StoredServerError
from airflow_reportrun.submission import submit as module
from airflow_reportrun.submission.memory import CLOCK_SKEW, Memory, Submission
from airflow_reportrun.submission.submit import Flaw, resume_decisions, submit_or_attach, unusable
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


def test_runs_that_always_fail_end_with_an_error(
    stripe_conn: StripeSandbox, hook: StripeReportingHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The walk over earlier attempts has an end of its own."""
    monkeypatch.setattr(module, "MAX_ATTEMPTS", 5)
    stripe_conn.configure(transition=AfterReads(0))
    stripe_conn.inject(RunFails(), times=5)
    for _ in range(5):
        submit(hook)
    words = "5 attempts of this task instance led to no usable report run; clear it to begin anew."
    with pytest.raises(ReportingError, match=f"^{words}$"):
        submit(hook)
    assert len(stripe_conn.report_runs) == 5


def test_a_file_that_expired_leads_to_a_new_run(stripe_conn: StripeSandbox, hook: StripeReportingHook) -> None:
    """A run is of no use without its file, however well it went."""
    stripe_conn.configure(transition=AfterReads(0))
    first = submit(hook)
    in_two_years = stripe_conn.report_runs[0].created + 2 * 365 * 86400
    second = submit_or_attach(hook, IDENTITY, PARAMETERS, clock=lambda: in_two_years)
    assert first.id != second.id


# What is kept, said and counted on the way


class Store:
    """Airflow's state store, as far as a memory writes to it."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        assert key == "stripe_report_run"
        self.kept.append(value["submission"])


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, str]]]:
    """What is counted of report runs, with its tags; what is said is in ``caplog``."""
    caplog.set_level(logging.INFO, module.__name__)
    found: list[tuple[str, dict[str, str]]] = []

    def send(metric: metrics.Metric, value: float = 1, **tags: str) -> None:
        if metric.name.startswith("report_runs."):
            found.append((metric.name, tags))

    monkeypatch.setattr(metrics.Metric, "send", send)
    return found


OF = {"report_type": "balance.summary.1"}


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [it.getMessage() for it in caplog.records if it.name == module.__name__]


def test_what_is_created_is_kept_said_and_counted(
    stripe_conn: StripeSandbox,
    hook: StripeReportingHook,
    counted: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The key before it is sent, and the report run after it; what was kept already is not kept again."""
    store = Store()
    run = submit_or_attach(hook, IDENTITY, PARAMETERS, memory=Memory(store=store))
    before, after = store.kept
    assert (before["attempt"], before["report_run_id"], before["request_id"]) == (1, None, None)
    assert before["idempotency_key"] == stripe_conn.requests[0].idempotency_key == IDENTITY.idempotency_key(1)
    assert after == {**before, "report_run_id": run.id, "request_id": run.request_id}
    words = f"report run {run.id} of balance.summary.1 (attempt 1, request {run.request_id}), which is pending"
    assert said(caplog) == [f"Created {words}"]
    assert counted == [("report_runs.created", OF)]

    memory = Memory(store=store, submission=Submission(**before))
    assert submit_or_attach(hook, IDENTITY, PARAMETERS, memory=memory) == run
    assert store.kept[2:] == [after]
    assert said(caplog)[1:] == [f"Attached to {words}"]
    assert counted[1:] == [("report_runs.attached", OF)]


def test_what_is_kept_is_looked_at_and_not_asked_for(
    stripe_conn: StripeSandbox,
    hook: StripeReportingHook,
    counted: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is the report run as it is now, with the request that created it, and nothing new is kept."""
    memory = Memory()
    run = submit_or_attach(hook, IDENTITY, PARAMETERS, memory=memory)
    assert memory.submission is not None
    memory.submission = replace(memory.submission, attempt=7)
    memory.store = store = Store()
    again = submit_or_attach(hook, IDENTITY, PARAMETERS, memory=memory)
    assert (again, again.request_id, again.replayed) == (run, run.request_id, True)
    assert [it.operation for it in stripe_conn.requests] == ["create", "retrieve"]
    assert store.kept == []
    assert said(caplog)[1:] == [
        f"Attached to report run {run.id} of balance.summary.1 (attempt 7, request {run.request_id}), "
        "which is pending"
    ]
    assert counted[1:] == [("report_runs.attached", OF)]


def test_what_is_kept_and_failed_is_superseded_once(
    stripe_conn: StripeSandbox,
    hook: StripeReportingHook,
    counted: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By the next attempt, which says why; and so is one that is found by its key."""
    stripe_conn.configure(transition=AfterReads(0))
    stripe_conn.inject(RunFails("Out of paper."), times=2)
    store = Store()
    memory = Memory(store=store)
    first = submit_or_attach(hook, IDENTITY, PARAMETERS, memory=memory)
    second = submit_or_attach(hook, IDENTITY, PARAMETERS, memory=memory)
    assert [it and (it["attempt"], it["report_run_id"]) for it in store.kept] == [
        (1, None),
        (1, first.id),
        (2, None),
        (2, second.id),
    ]
    told = [f"Attempt {n}: report run {it.id} failed (Out of paper.)" for n, it in ((1, first), (2, second))]
    assert said(caplog)[1] == f"{told[0]}, so a new one follows."
    superseded = ("report_runs.superseded", {**OF, "reason": "failed"})
    assert counted == [("report_runs.created", OF), superseded, ("report_runs.created", OF)]

    caplog.clear()
    counted.clear()
    submit(hook)
    assert said(caplog)[:2] == [f"{it}, so a new one follows." for it in told]
    assert counted == [superseded, superseded, ("report_runs.created", OF)]


def test_a_key_that_was_sent_is_sent_again_as_it_was(
    stripe_conn: StripeSandbox, hook: StripeReportingHook
) -> None:
    """Also by a version that makes others; the attempt after it has a key of this one."""
    stripe_conn.configure(transition=AfterReads(0))
    stripe_conn.inject(RunFails())
    memory = Memory(submission=Submission.of(IDENTITY, 4, "of-another-version"))
    submit_or_attach(hook, IDENTITY, PARAMETERS, memory=memory)
    submit_or_attach(hook, IDENTITY, PARAMETERS, memory=memory)
    keys = [it.idempotency_key for it in stripe_conn.requests_to("create")]
    assert keys == ["of-another-version", IDENTITY.idempotency_key(5)]


def test_a_kept_run_that_stripe_does_not_show_is_an_error(hook: StripeReportingHook) -> None:
    """To ask anew could be a second report run, so a human has to."""
    kept = replace(Submission.of(IDENTITY, 1, "a-key"), report_run_id="frr_gone", request_id="req_1")
    words = (
        r"^Stripe does not show report run frr_gone of the first submission any more\. "
        r"Clear the task to ask for a new one\. .*frr_gone"
    )
    with pytest.raises(ReportingError, match=words):
        submit_or_attach(hook, IDENTITY, PARAMETERS, memory=Memory(submission=kept))


@pytest.mark.parametrize(
    ("clock", "earliest", "kind"),
    [
        (1000, 900 - CLOCK_SKEW, None),
        (1000, 900 + CLOCK_SKEW, None),
        (1000, 1000 - CLOCK_SKEW, "namesake"),
        (2 * 365 * 86_400, 0, "expired"),
    ],
)
def test_what_a_key_leads_to_may_be_of_no_use(
    stripe_conn: StripeSandbox,
    hook: StripeReportingHook,
    counted: list[Any],
    clock: float,
    earliest: float,
    kind: str | None,
) -> None:
    """A deleted task instance's run has its key; but what is younger than this try and the clocks' skew is not."""
    began = int(time.time())
    stripe_conn.configure(transition=AfterReads(0), clock=lambda: float(began))
    first = submit(hook)
    memory = Memory(earliest=began + float(earliest))
    age = clock if kind == "namesake" else CLOCK_SKEW
    stripe_conn.configure(clock=lambda: began + float(age))
    run = submit_or_attach(hook, IDENTITY, PARAMETERS, memory=memory, clock=lambda: began + float(clock))
    assert (run.id == first.id) is (kind is None)
    reasons = [tags["reason"] for name, tags in counted if name == "report_runs.superseded"]
    assert reasons == ([kind] if kind else [])


def test_a_server_error_that_is_stored_is_waited_after_and_counted(
    stripe_conn: StripeSandbox,
    hook: StripeReportingHook,
    counted: list[Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its key is of no use, and a run may be there that nobody knows."""
    monkeypatch.setattr("random.uniform", lambda least, most: most)
    slept: list[float] = []
    hook.sleep = slept.append
    hook.resend_policy = ResendPolicy(max_tries=1, first_pause=3.0, max_wait=5.0)
    stripe_conn.inject(StoredServerError(committed=True))
    submit(hook)
    uncounted, superseded, _ = counted
    assert uncounted == ("report_runs.uncounted", OF)
    assert superseded == ("report_runs.superseded", {**OF, "reason": "stored_error"})
    request = stripe_conn.requests[0]
    assert said(caplog)[0] == (
        "Stripe failed over the request for this report (HTTP 500), and may have made a report run all the same. "
        "If so, that run is one too many at Stripe: nothing waits for it, its file is not landed and its figures "
        f"count nowhere. It is found there by request {request.request_id}, idempotency key "
        f"{IDENTITY.idempotency_key(1)}."
    )
    assert said(caplog)[1].startswith("Attempt 1: Stripe keeps an error for it (")
    assert said(caplog)[1].endswith("), so a new one follows.")
    assert slept == [3.0]

    hook.resend_policy = ResendPolicy(max_tries=1, first_pause=30.0, longest_pause=30.0, max_wait=5.0)
    stripe_conn.inject(StoredServerError())
    submit_or_attach(hook, replace(IDENTITY, run_id="another"), PARAMETERS)
    assert slept == [3.0, 5.0]


@pytest.mark.parametrize("late", [True, False])
def test_nothing_is_kept_of_what_stripe_refused(
    stripe_conn: StripeSandbox, hook: StripeReportingHook, late: bool
) -> None:
    """Neither of what it will not have, nor of what it does not have yet: the next try asks from the start."""
    store = Store()
    stripe_conn.configure(data_available_end=1714521600)
    wanted = IDENTITY if late else replace(IDENTITY, report_type="balance.summary.99")
    with pytest.raises(DataNotReadyError if late else InvalidRequestError):
        submit_or_attach(hook, wanted, PARAMETERS, memory=Memory(store=store))
    assert [it and it["attempt"] for it in store.kept] == [1, None]


def test_what_may_have_arrived_stays_kept(stripe_conn: StripeSandbox, hook: StripeReportingHook) -> None:
    """The same key has to be sent again."""
    store = Store()
    stripe_conn.inject(Dropped(committed=True))
    stripe_conn.inject(Unavailable())
    for error in (APIConnectionError, ServerError):
        with pytest.raises(error):
            submit_or_attach(hook, IDENTITY, PARAMETERS, memory=Memory(store=store))
    assert [it and it["attempt"] for it in store.kept] == [1, 1]


class NoRoomError(Exception):
    """There is none."""


def test_what_a_report_type_asks_for_may_be_said(stripe_conn: StripeSandbox, hook: StripeReportingHook) -> None:
    """Where its id doesn't tell it; what it doesn't ask for is refused before it is sent."""
    with pytest.raises(InvalidParametersError):
        submit_or_attach(hook, IDENTITY, PARAMETERS, shape=ParameterShape.PAYOUT)
    assert stripe_conn.requests == []


def test_room_is_made_for_what_is_surely_new(stripe_conn: StripeSandbox, hook: StripeReportingHook) -> None:
    """Once, before it is asked for; where none is made, nothing is sent or kept."""
    made: list[int] = []

    def make_room() -> None:
        made.append(len(stripe_conn.requests))

    def refuse() -> None:
        raise NoRoomError

    store = Store()
    with pytest.raises(NoRoomError):
        submit_or_attach(hook, IDENTITY, PARAMETERS, memory=Memory(knows_all=True, store=store), make_room=refuse)
    assert (stripe_conn.requests, store.kept) == ([], [])

    stripe_conn.inject(StoredServerError())
    memory = Memory(knows_all=True)
    submit_or_attach(hook, IDENTITY, PARAMETERS, memory=memory, make_room=make_room)
    assert made == [0]


def test_no_room_is_made_for_what_may_be_there(stripe_conn: StripeSandbox, hook: StripeReportingHook) -> None:
    """A try may be unknown, or what it asked for unanswered; only what follows a run that failed is new."""

    def refuse() -> None:
        raise NoRoomError

    submit_or_attach(hook, IDENTITY, PARAMETERS, memory=Memory(knows_all=False), make_room=refuse)
    another = replace(IDENTITY, run_id="another")
    memory = Memory(knows_all=True, submission=Submission.of(another, 1, another.idempotency_key(1)))
    stripe_conn.configure(transition=AfterReads(0))
    stripe_conn.inject(RunFails())
    submit_or_attach(hook, another, PARAMETERS, memory=memory, make_room=refuse)
    with pytest.raises(NoRoomError):
        submit_or_attach(hook, another, PARAMETERS, memory=memory, make_room=refuse)
    assert len(stripe_conn.report_runs) == 2


RUN = ReportRun("frr_1", 1000, False, "balance.summary.1", {}, ReportRunStatus.PENDING)
FILE = File("file_1", 1000, 10, "https://files.stripe.com/v1/files/file_1/contents", "frr_1.csv", 5000, "csv")
SUCCEEDED = replace(RUN, status=ReportRunStatus.SUCCEEDED, result=FILE)
OLD = Flaw("namesake", "is older than this task instance, and belongs to a deleted one of the same name")


@pytest.mark.parametrize(
    ("run", "now", "earliest", "flaw"),
    [
        (RUN, 2000, 1000, None),
        (RUN, 2000, 1001, OLD),
        # By Stripe's clock it is 600 seconds old, whatever time it is here.
        (replace(RUN, seen_at=1600), 9000, 8400, None),
        (replace(RUN, seen_at=1600), 9000, 8401, OLD),
        (replace(RUN, status=ReportRunStatus.FAILED, error="Out of paper."), 2000, 0, "failed (Out of paper.)"),
        (SUCCEEDED, 4999, 0, None),
        (SUCCEEDED, 5000, 0, "has a file that expired"),
        (replace(SUCCEEDED, result=replace(FILE, expires_at=None)), 9e9, 0, None),
        (replace(SUCCEEDED, result=None), 9e9, 0, None),
    ],
)
def test_a_run_is_of_no_use(run: ReportRun, now: float, earliest: float, flaw: Flaw | str | None) -> None:
    """Where it is a namesake's, has failed, or its file has expired; the words follow its name."""
    found = unusable(run, now, earliest)
    assert (str(found) if isinstance(flaw, str) else found) == flaw


def test_without_an_earliest_no_run_is_too_old() -> None:
    """As where the task instance is not known to be new."""
    assert unusable(replace(RUN, created=0), 2000) is None


KEPT = Submission.of(IDENTITY, 1, "a-key")
NAMED = replace(KEPT, report_run_id="frr_1")


@pytest.mark.parametrize(
    ("kept", "run", "decisions"),
    [
        (None, RUN, ("fresh_submit",)),
        (None, replace(RUN, replayed=True), ("fresh_submit",)),
        (KEPT, RUN, ("fresh_submit",)),
        (KEPT, replace(RUN, replayed=True), ("reconnect_attempt", "reconnect_success")),
        (KEPT, replace(SUCCEEDED, replayed=True), ("reconnect_attempt", "already_succeeded")),
        (NAMED, RUN, ("reconnect_attempt", "terminal_resubmit")),
        (NAMED, replace(RUN, replayed=True), ("reconnect_attempt", "reconnect_success")),
        (NAMED, replace(SUCCEEDED, replayed=True), ("reconnect_attempt", "already_succeeded")),
    ],
)
def test_what_a_try_decided_has_airflows_words(
    kept: Submission | None, run: ReportRun, decisions: tuple[str, ...]
) -> None:
    """By what was kept before, and whether the run is a new one."""
    assert resume_decisions(kept, run) == decisions
