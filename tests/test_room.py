"""How many report runs may be pending at once: max_pending_report_runs."""

from __future__ import annotations

import asyncio
import json
import math
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun import metrics, triggers
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.operators import StripeReportRunOperator, submitting
from airflow_reportrun.reporting.errors import APIConnectionError, UnexpectedResponseError
from airflow_reportrun.reporting.models import ListPage, ReportRun
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import (
    AfterReads,
    AfterSeconds,
    Dropped,
    KeyExpired,
    RateLimited,
    RequestRecord,
    RunFails,
    RunNeverEnds,
    ServerError,
    StripeSandbox,
    Unavailable,
)
from airflow_reportrun.waiting import plan as plan_module
from airflow_reportrun.waiting import room as room_module
from airflow_reportrun.waiting.awaited import Waiter
from airflow_reportrun.waiting.events import ReportRunEvent
from airflow_reportrun.waiting.goals import ReportRunEnds, RoomForReportRun
from airflow_reportrun.waiting.loop import look
from airflow_reportrun.waiting.pace import Watch
from airflow_reportrun.waiting.plan import Plan
from airflow_reportrun.waiting.questions import OneRun, RunsFrom
from airflow_reportrun.waiting.room import BELIEF, PROMISE, Count, Room
from tests.task_runner import END, START, TaskRunner, Try, in_dag
from tests.test_models import RUN
from tests.until import until
from tests.versions import needs_airflow

HOUR = 3600.0
ALL = 1e6
"""Seconds that go back as far as any run."""

PARAMETERS = ReportParameters(interval_start=int(START.timestamp()), interval_end=int(END.timestamp()))


@pytest.fixture(autouse=True)
def _waits_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "FIRST_LOOK_AFTER", 0.0)
    monkeypatch.setattr(submitting, "ROOM_POLL_INTERVAL", 0.0)


@pytest.fixture(params=[False, True], ids=["sync", "deferrable"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    """Both ways of waiting have the same outcomes."""
    return bool(request.param)


def run_operator(**kwargs: Any) -> Any:
    defaults = {"report_type": "balance.summary.1", "poll_interval": 0.01, "max_pending_report_runs": 1}
    return in_dag(StripeReportRunOperator, **{**defaults, **kwargs})


def dag_run(**kwargs: Any) -> TaskRunner:
    """A DAG run from which the time counts where Airflow can't remember the first try."""
    return TaskRunner(dag_run={"start_date": datetime.now(UTC)}, **kwargs)


def stored(remembers: bool) -> dict[str, Any]:
    """A store of one's own, or that of an Airflow that has none."""
    return {} if remembers else {"store": None}


def complete(task: Any, runner: TaskRunner, **how: Any) -> Try:
    """Run one try to its end, however often it defers."""
    tried = runner.run(task, **how)
    while tried.state == "deferred":
        tried = runner.resume(task, tried, **how)
    return tried


def somebody_elses(sandbox: StripeSandbox, count: int = 1) -> list[str]:
    """Let others have report runs that are pending until :func:`end` ends them."""
    sandbox.configure(transition=AfterSeconds(HOUR))
    return [StripeReportingHook().create_report_run("balance.summary.1", PARAMETERS).id for _ in range(count)]


@contextmanager
def all_end_after(sandbox: StripeSandbox, counts: int) -> Iterator[None]:
    """Let all report runs end, those that are pending and those to come, after so many requests for the list."""
    before = len(sandbox.requests_to("list"))

    def end() -> None:
        until(lambda: len(sandbox.requests_to("list")) >= before + counts)
        sandbox.advance(HOUR)
        sandbox.configure(transition=AfterReads(0))

    thread = threading.Thread(target=end)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def pending() -> int:
    """Return how many report runs are pending, by Stripe's own list."""
    return sum(not run.status.is_terminal for run in StripeReportingHook().list_report_runs())


# --- A task, over the wire ---------------------------------------------------------------------------------


def test_waits_for_others_before_it_creates(stripe_conn: StripeSandbox, deferrable: bool) -> None:
    """Whoever asked for what is pending."""
    somebody_elses(stripe_conn, 2)
    with all_end_after(stripe_conn, counts=5):
        tried = complete(run_operator(deferrable=deferrable, max_pending_report_runs=2), dag_run())
    assert tried.state == "success", tried.error
    *others, own = stripe_conn.requests_to("create")
    lists = stripe_conn.requests_to("list")
    assert len(others) == 2
    assert len(lists) > 5
    assert all(others[-1].at <= it.at <= own.at for it in lists)


def test_asks_at_once_where_there_is_room(stripe_conn: StripeSandbox) -> None:
    """One request more than without a limit."""
    somebody_elses(stripe_conn)
    tried = dag_run().run(run_operator(max_pending_report_runs=2, wait_for_completion=False))
    assert tried.state == "success", tried.error
    assert [it.operation for it in stripe_conn.requests] == ["create", "retrieve_type", "list", "create"]


def test_a_deferrable_task_is_let_in_by_the_triggerer(stripe_conn: StripeSandbox) -> None:
    """Or all tasks that start together would find the same room. What has been counted is not counted again."""
    somebody_elses(stripe_conn)
    runner, task = dag_run(), run_operator(deferrable=True, max_pending_report_runs=2, wait_for_completion=False)
    tried = runner.run(task)
    assert tried.state == "deferred"
    assert [it.operation for it in stripe_conn.requests] == ["create", "retrieve_type"]
    tried = runner.resume(task, tried)
    assert tried.state == "success", tried.error
    assert [it.operation for it in stripe_conn.requests][2:] == ["list", "retrieve_type", "list", "create"]
    queries: list[Any] = [it.query for it in stripe_conn.requests_to("list")]
    counted, looked = (it["created"]["gte"] for it in queries)
    assert int(looked) == stripe_conn.report_runs[0].created
    assert time.time() - 12 * HOUR - 5 < int(counted) <= time.time() - 12 * HOUR + 1


def test_others_that_came_first_are_let_past(stripe_conn: StripeSandbox) -> None:
    """The task looks again before it creates, and keeps its place in the queue."""
    runner, task = dag_run(), run_operator(deferrable=True, max_pending_report_runs=2)
    tried = runner.run(task)
    place = runner.trigger(tried).since
    time.sleep(1.05 - time.time() % 1)  # so that all are of one second: who counted hasn't seen all of it
    somebody_elses(stripe_conn)
    event = asyncio.run(anext(runner.trigger(tried).run())).payload
    somebody_elses(stripe_conn)
    tried = runner.run(task, next_method="execute_when_room", next_kwargs={"event": json.loads(json.dumps(event))})
    assert tried.state == "deferred"
    assert runner.trigger(tried).since == place
    assert len(stripe_conn.report_runs) == 2
    with all_end_after(stripe_conn, counts=2):
        assert runner.resume(task, tried).state == "success"
    assert len(stripe_conn.report_runs) == 3


def test_what_is_older_than_the_timeout_takes_no_room(stripe_conn: StripeSandbox, deferrable: bool) -> None:
    """A report run that never ends is not waited for longer than one would wait for one's own."""
    stripe_conn.configure(clock=lambda: time.time() - 7200)
    stripe_conn.inject(RunNeverEnds())
    StripeReportingHook().create_report_run("balance.summary.1", PARAMETERS)
    stripe_conn.configure(clock=time.time, transition=AfterReads(0))
    task = run_operator(deferrable=deferrable, timeout=timedelta(hours=1))
    assert complete(task, dag_run()).state == "success"


def test_no_room_until_the_deadline_is_final(stripe_conn: StripeSandbox, deferrable: bool) -> None:
    """It counts over all tries, as the time for the data does; the error says which option to set."""
    somebody_elses(stripe_conn)
    tried = complete(run_operator(deferrable=deferrable, data_timeout=0.4), dag_run())
    assert tried.state == "failed"
    assert "no room for another report run by the deadline: 1 or more were pending" in str(tried.error)
    assert "A longer data_timeout= waits for it" in str(tried.error)
    assert len(stripe_conn.report_runs) == 1


def test_the_execution_timeout_ends_the_try(stripe_conn: StripeSandbox) -> None:
    """As any other wait, and a retry has as much time again."""
    somebody_elses(stripe_conn)
    tried = complete(run_operator(deferrable=True, execution_timeout=timedelta(seconds=2)), dag_run())
    assert tried.state == "up_for_retry"
    assert type(tried.error).__name__ == "AirflowTaskTimeout"
    assert len(stripe_conn.report_runs) == 1


def test_an_error_that_stays_is_final(stripe_conn: StripeSandbox, deferrable: bool) -> None:
    """A key that may not list report runs can't wait for room."""
    stripe_conn.inject(KeyExpired(), times=9, on="list")
    tried = complete(run_operator(deferrable=deferrable), dag_run())
    assert tried.state == "failed"
    assert "Expired API Key" in str(tried.error)
    assert not stripe_conn.report_runs


def test_an_error_that_passes_is_no_room(
    stripe_conn: StripeSandbox, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is created on a guess."""
    monkeypatch.setattr(plan_module, "SHORTEST_SHARED_PAUSE", 0.1)
    stripe_conn.configure(transition=AfterReads(0))
    stripe_conn.inject(RateLimited(), times=2, on="list")
    tried = complete(run_operator(deferrable=deferrable), dag_run())
    assert tried.state == "success", tried.error
    statuses = [it.status for it in stripe_conn.requests if it.operation in ("list", "create")]
    assert statuses[:3] == [429, 429, 200]


def test_a_look_that_fails_is_not_taken_for_no_room(
    stripe_conn: StripeSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says which of the two it was."""
    runner, task = dag_run(), run_operator(deferrable=True, wait_for_completion=False)
    tried = runner.run(task)
    stripe_conn.inject(Unavailable(), times=20, on="list", skip=1)
    with pytest.MonkeyPatch.context() as patch, caplog.at_level("INFO"):
        patch.setattr(StripeReportingHook, "sleep", staticmethod(lambda seconds: None))
        assert runner.resume(task, tried).state == "deferred"
    assert "Could not look, looking again later: " in caplog.text
    assert "no room" not in caplog.text


@pytest.mark.parametrize("remembers", [pytest.param(True, marks=needs_airflow(3, 3, "state store")), False])
def test_a_retry_attaches_without_room(stripe_conn: StripeSandbox, deferrable: bool, remembers: bool) -> None:
    """Its own report run may be what is pending."""
    stripe_conn.inject(RunNeverEnds())
    runner, task = dag_run(**stored(remembers)), run_operator(deferrable=deferrable, timeout=0.1)
    for try_number in (1, 2):
        tried = complete(task, runner, try_number=try_number)
        assert "not seen to end by the deadline" in str(tried.error)
    assert len(stripe_conn.requests_to("list")) == (2 if deferrable else 1)
    assert len(stripe_conn.report_runs) == 1


def test_a_retry_sends_what_was_not_answered_without_room(stripe_conn: StripeSandbox) -> None:
    """The report run may exist, and would be what it waits for."""
    stripe_conn.configure(transition=AfterSeconds(HOUR))
    stripe_conn.inject(Dropped(committed=True), times=6)
    task, runner = run_operator(wait_for_completion=False), dag_run()
    hook = StripeReportingHook
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hook, "sleep", staticmethod(lambda seconds: None))
        assert runner.run(task).state == "up_for_retry"
    assert runner.run(task, try_number=2).state == "success"
    assert len(stripe_conn.report_runs) == 1


@needs_airflow(3, 3, "state store")
@pytest.mark.parametrize("kept", ["damaged", {"max_tries": 3, "first_try": 1.0, "submission": "damaged"}])
def test_a_retry_that_lost_its_memory_does_not_look(stripe_conn: StripeSandbox, kept: Any) -> None:
    """It can't tell whether its report run is among those that are pending."""
    somebody_elses(stripe_conn)
    runner = dag_run(store={"report/-1/stripe_report_run": kept})
    assert runner.run(run_operator(wait_for_completion=False), try_number=2).state == "success"
    assert not stripe_conn.requests_to("list")


@needs_airflow(3, 3, "state store")
@pytest.mark.parametrize("lost", [False, True])
def test_what_is_superseded_is_counted_once(
    stripe_conn: StripeSandbox, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the task defers before the new one is created, and whether it knew the first one."""
    told: list[Any] = []
    send = SimpleNamespace(send=lambda report_type, reason: told.append(reason))
    monkeypatch.setattr(metrics, "SUPERSEDED", send)
    stripe_conn.inject(RunFails("No."))
    runner, task = dag_run(), run_operator(deferrable=True)
    assert complete(task, runner).state == "up_for_retry"
    if lost:
        for kept in (runner.store or {}).values():
            kept["submission"] |= {"report_run_id": None}
    stripe_conn.configure(transition=AfterReads(0))
    assert complete(task, runner, try_number=2).state == "success"
    assert told == ["failed"]


@needs_airflow(3, 3, "state store")
def test_a_new_run_after_a_failed_one_needs_room(stripe_conn: StripeSandbox, deferrable: bool) -> None:
    """Where the task remembers what was sent, it knows that this one is new."""
    stripe_conn.inject(RunFails("No."))
    runner, task = dag_run(), run_operator(deferrable=deferrable)
    assert complete(task, runner).state == "up_for_retry"
    somebody_elses(stripe_conn)
    with all_end_after(stripe_conn, counts=5):
        assert complete(task, runner, try_number=2).state == "success"
    *_, others, own = stripe_conn.requests_to("create")
    assert len([it for it in stripe_conn.requests_to("list") if others.at <= it.at <= own.at]) > 5


@pytest.mark.parametrize("remembers", [pytest.param(True, marks=needs_airflow(3, 3, "state store")), False])
def test_a_clear_needs_room(stripe_conn: StripeSandbox, remembers: bool) -> None:
    """It asks for another report run."""
    stripe_conn.configure(transition=AfterReads(0))
    runner, task = dag_run(**stored(remembers)), run_operator(data_timeout=0.3)
    assert complete(task, runner).state == "success"
    somebody_elses(stripe_conn)
    runner.dag_run = {"start_date": datetime.now(UTC)}
    tried = complete(task, runner, try_number=2, max_tries=4)
    assert "no room for another report run" in str(tried.error)
    assert len(stripe_conn.report_runs) == 2


@pytest.mark.parametrize("remembers", [pytest.param(True, marks=needs_airflow(3, 3, "state store")), False])
def test_a_stored_error_is_followed_without_another_wait(
    stripe_conn: StripeSandbox, deferrable: bool, remembers: bool
) -> None:
    """Room was found for the one that was refused; to defer for each key would go round for ever."""
    stripe_conn.configure(transition=AfterReads(0))
    stripe_conn.inject(ServerError())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StripeReportingHook, "sleep", staticmethod(lambda seconds: None))
        tried = complete(run_operator(deferrable=deferrable), dag_run(**stored(remembers)))
    assert tried.state == "success", tried.error
    assert len(stripe_conn.requests_to("list")) == (2 if deferrable else 1)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "3", timedelta(1)])
def test_a_limit_that_is_none_is_refused_when_the_file_is_parsed(wrong: Any) -> None:
    """None is the word for no limit."""
    with pytest.raises(ValueError, match="max_pending_report_runs is a whole number from 1 on, or None"):
        run_operator(max_pending_report_runs=wrong)


# --- Many tasks --------------------------------------------------------------------------------------------


@pytest.fixture
def lists_take_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[StripeSandbox]:
    """An account on which each look at the list takes five minutes, and each report an hour."""

    def passes(record: RequestRecord) -> None:
        if record.operation == "list":
            sandbox.advance(300)

    with StripeSandbox(transition=AfterSeconds(HOUR), on_request=passes) as sandbox:
        connection = {"conn_type": "stripe", "host": sandbox.url, "password": sandbox.api_key}
        monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
        yield sandbox


def test_tasks_one_after_another_never_exceed_it(lists_take_time: StripeSandbox) -> None:
    """A law of the limit, though nothing else waits for the report runs."""
    most = 0
    for number in range(12):
        task = run_operator(max_pending_report_runs=3, wait_for_completion=False, dag_id=f"stripe_{number}")
        assert complete(task, dag_run()).state == "success"
        most = max(most, pending())
    assert (most, len(lists_take_time.report_runs)) == (3, 12)


def test_of_a_triggerers_tasks_as_many_are_let_in_as_there_is_room(lists_take_time: StripeSandbox) -> None:
    """Oldest first, and never more than the limit, though all of them wait at once."""
    limit, created, most = 3, list[int](), 0

    async def let_in(number: int, task: Any, runner: TaskRunner, tried: Try) -> None:
        nonlocal most
        while tried.state == "deferred":
            event = await anext(runner.trigger(tried).run())
            kwargs = {"event": json.loads(json.dumps(event.payload))}
            tried = runner.run(task, next_method=tried.deferral.next_method, next_kwargs=kwargs)
        assert tried.state == "success", tried.error
        created.append(number)
        most = max(most, pending())

    async def triggerer() -> None:
        waiting = []
        for number in range(12):
            task = run_operator(
                max_pending_report_runs=limit,
                deferrable=True,
                wait_for_completion=False,
                dag_id=f"stripe_{number}",
            )
            runner = dag_run()
            waiting.append((number, task, runner, runner.run(task)))
        await asyncio.gather(*(let_in(*it) for it in reversed(waiting)))

    asyncio.run(triggerer())
    assert most == limit
    assert created == sorted(created)
    assert len(lists_take_time.requests_to("create")) == 12


def test_waves_of_tasks_are_let_in_as_there_is_room(stripe_conn: StripeSandbox) -> None:
    """Though nobody waits between two, so that the watcher ends: whoever was let in is on its way to a worker."""
    limit, waves = 3, 4
    stripe_conn.configure(transition=AfterSeconds(HOUR))

    async def event(tried: Try, runner: TaskRunner) -> Any:
        payload = (await anext(runner.trigger(tried).run())).payload
        return json.loads(json.dumps(payload))

    async def triggerer() -> None:
        on_their_way: list[tuple[Any, TaskRunner, Any]] = []
        for wave in range(waves):
            waiting = []
            for number in range(limit):
                task = run_operator(
                    max_pending_report_runs=limit,
                    deferrable=True,
                    wait_for_completion=False,
                    dag_id=f"stripe_{wave}_{number}",
                )
                runner = dag_run()
                waiting.append((task, runner, asyncio.create_task(event(runner.run(task), runner))))
            come = [it for _, _, it in waiting]
            if wave:
                # While those who were let in are on their way, and while their report runs are pending.
                for _ in range(2):
                    before = len(stripe_conn.requests_to("list"))
                    done, _ = await asyncio.wait(come, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
                    assert not done
                    assert len(stripe_conn.requests_to("list")) > before
                    for task, runner, told in on_their_way:
                        kwargs = {"event": told}
                        tried = runner.run(task, next_method="execute_when_room", next_kwargs=kwargs)
                        assert tried.state == "success", tried.error
                    on_their_way = []
                    assert pending() == limit
                stripe_conn.advance(HOUR)
            events = await asyncio.wait_for(asyncio.gather(*come), 20)
            assert {it["outcome"] for it in events} == {"room"}
            on_their_way = [(task, runner, told) for (task, runner, _), told in zip(waiting, events, strict=True)]

    asyncio.run(triggerer())
    assert len(stripe_conn.report_runs) == (waves - 1) * limit


def test_who_waits_for_room_is_measured(stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each task counts, from when it began to wait."""
    told = list[tuple[str, int, float]]()
    monkeypatch.setattr(
        metrics, "waiting", lambda watcher, goal, count, oldest: told.append((goal, count, oldest))
    )
    somebody_elses(stripe_conn)

    def trigger(age: float) -> Any:
        now = time.time()
        return triggers.StripePendingReportRunsTrigger(
            max_pending_report_runs=1, window=HOUR, deadline=now + 0.5, since=now - age, growth=0.0
        )

    async def triggerer() -> None:
        await asyncio.gather(*(anext(trigger(age).run()) for age in (10.0, 100.0)))

    asyncio.run(triggerer())
    rooms = [(count, round(oldest, -1)) for goal, count, oldest in told if goal == "room"]
    assert (rooms[0], rooms[-1]) == ((2, 100.0), (0, 0.0))


def test_those_that_look_in_one_moment_exceed_it_by_no_more_than_themselves(stripe_conn: StripeSandbox) -> None:
    """Stripe has no lock: of so many workers, each may create what it found room for."""
    limit, workers = 2, 5
    somebody_elses(stripe_conn, limit - 1)
    together, found = threading.Barrier(workers), list[str]()

    def work() -> None:
        hook = StripeReportingHook()
        looked: Any = look(hook, RoomForReportRun(limit, 12 * HOUR))
        together.wait()
        found.append(looked.outcome)
        hook.create_report_run("balance.summary.1", PARAMETERS)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["room"] * workers
    assert pending() == limit - 1 + workers
    assert not hasattr(look(StripeReportingHook(), RoomForReportRun(limit, 12 * HOUR)), "outcome")


# --- Counting, without a wire ------------------------------------------------------------------------------


class Account:
    """An account's report runs, as Stripe lists them."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.asked = 0

    def create(self, created: int) -> None:
        """Add a pending run."""
        run = {**RUN, "id": f"frr_{len(self.runs)}", "created": created, "status": "pending", "result": None}
        self.runs.append({**run, "succeeded_at": None})

    def end(self, index: int) -> None:
        """End a run."""
        self.runs[index % len(self.runs)]["status"] = "failed"

    def page(self, count: Count, size: int = 100) -> ListPage:
        """Answer the question of a count."""
        self.asked += 1
        fields = dict(count.request().fields)
        items = [it for it in reversed(self.runs) if it["created"] >= int(fields["created[gte]"])]
        if after := fields.get("starting_after"):
            items = items[next(i for i, it in enumerate(items) if it["id"] == after) + 1 :]
        return ListPage(tuple(dict(it) for it in items[:size]), len(items) > size)

    @property
    def pending(self) -> int:
        """How many are pending."""
        return self.pending_since(0)

    def pending_since(self, since: float) -> int:
        """Return how many are pending of those that were created since."""
        return sum(it["status"] == "pending" and it["created"] >= since for it in self.runs)


def count_all(room: Room, account: Account, now: float, size: int = 100, window: float = ALL) -> Count:
    count = None
    while count is None:
        question = room.question(window, now)
        count = room.read(question, account.page(question, size))
    return count


def taken(count: Count, window: float = ALL) -> int:
    return count.elsewhere + len(count.pending(window))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), st.integers(1, 9)),
        st.tuples(st.just("end"), st.integers(0, 99)),
        st.tuples(st.just("pass"), st.integers(0, 200)),
        st.tuples(st.just("let in"), st.integers(1, 3)),
        st.tuples(st.just("come"), st.integers(1, 3)),
        st.tuples(st.just("count"), st.sampled_from([30.0, 300.0, 3000.0])),
    ),
    max_size=60,
)


@given(steps=STEPS, size=st.integers(1, 7))
def test_no_pending_run_is_ever_missed(steps: list[tuple[str, Any]], size: int) -> None:
    """In any window and wave, nor one to come; what is believed is looked at in the end, and promises end."""
    account, room, now, promised, others = Account(), Room(), 10_000.0, list[float](), 0

    def check(window: float) -> Count:
        count = count_all(room, account, now, size, window)
        to_come = sum(until > now for until in promised)
        # Nobody can tell the run of one who was let in from another's that came meanwhile.
        assert taken(count, window) >= account.pending_since(now - window) + max(0, to_come - others)
        return count

    for what, number in steps:
        if what == "create":
            now += number % 3
            for _ in range(number):
                account.create(int(now))
            others += number
        elif what == "end" and account.runs:
            account.end(number)
        elif what == "pass":
            now += number
        elif what == "let in":
            count = check(300.0)
            for _ in range(number):
                room.promise(count, now)
                promised.append(now + PROMISE)
        elif what == "come":
            promised = [until for until in promised if until > now]
            for _ in promised[:number]:
                account.create(int(now))
            promised = promised[number:]
        elif what == "count":
            check(number)
    now += max(PROMISE, BELIEF)
    for window in (300.0, 3000.0, 30.0):
        assert taken(check(window), window) == account.pending_since(now - window)


def test_the_next_count_takes_one_page() -> None:
    """However many report runs there are, and though the oldest is pending, which is looked at now and then."""
    account, room = Account(), Room()
    for number in range(1000):
        account.create(number)
    for number in range(1, 1000):
        account.end(number)
    assert (taken(count_all(room, account, 1000.0)), account.asked) == (1, 10)
    account.create(1000)
    assert (taken(count_all(room, account, 1015.0)), account.asked) == (2, 11)
    account.end(0)
    assert (taken(count_all(room, account, 1030.0)), account.asked) == (2, 12)
    assert (taken(count_all(room, account, 1000.0 + BELIEF)), account.asked) == (1, 23)
    assert (taken(count_all(room, account, 1000.0 + 2 * BELIEF)), account.asked) == (1, 24)


def test_a_longer_window_is_counted_whole() -> None:
    """What a shorter one has not looked at is nothing to go on from, nor are its runs any that came."""
    account, room = Account(), Room()
    for number in range(20):
        account.create(1000 + number)
    account.create(9000)
    count = count_all(room, account, 9010.0, window=60.0)
    assert taken(count, 60.0) == 1
    room.promise(count, 9010.0)
    whole = count_all(room, account, 9020.0, size=1)
    assert (taken(whole), taken(whole, 60.0)) == (22, 2)


def test_who_was_let_in_takes_room_until_its_run_is_there() -> None:
    """Airflow needs seconds to let a task go on; one that never does gives its room back."""
    account, room = Account(), Room()
    account.create(1)
    count = count_all(room, account, 10.0)
    room.promise(count, 10.0)
    room.promise(count, 10.0)
    assert taken(count) == 3
    assert taken(count_all(room, account, 15.0)) == 3
    account.create(16)
    assert taken(count_all(room, account, 20.0)) == 3  # one is there, and one to come
    assert taken(count_all(room, account, 10.0 + PROMISE)) == 2


def test_a_promise_that_is_not_kept_ends_while_others_are_made() -> None:
    """Each ends by itself, the oldest first."""
    account, room = Account(), Room()
    account.create(1)
    for now in range(0, 600, 20):
        count = count_all(room, account, 1000.0 + now)
        assert taken(count) <= 1 + PROMISE / 20
        room.promise(count, 1000.0 + now)
    assert room.is_promised(1580.0 + PROMISE - 1)
    assert not room.is_promised(1580.0 + PROMISE)


def test_a_run_that_came_while_others_were_counted_is_still_promised() -> None:
    """A count that takes long has not seen it, though the promise is over."""
    account, room = Account(), Room()
    for number in range(3):
        account.create(number)
    count_all(room, account, 100.0)
    room.promise(count_all(room, account, 390.0, size=1), 390.0)
    question = room.question(ALL, 449.0)
    assert room.read(question, account.page(question, 1)) is None
    account.create(449)
    assert taken(count_all(room, account, 455.0, size=1)) == 4
    assert taken(count_all(room, account, 456.0, size=1)) == 4


@pytest.mark.parametrize(
    ("window", "now", "since"),
    [(100.0, 1030.0, 900), (90.0, 1030.0, 900), (100.0, 1061.0, 961), (131.0, 1030.0, 899)],
)
def test_a_count_that_is_too_old_or_too_short_begins_anew(window: float, now: float, since: int) -> None:
    """Or it would miss what was created meanwhile, or before."""
    room = Room()
    assert room.question(100.0, 1000.0).since == 900
    assert room.question(window, now).since == since


def test_what_is_no_report_run_is_passed_over() -> None:
    """It may be anybody's, and a kind of next year's; a status that nobody knows counts as pending."""
    odd = [None, 1, {}, {"id": 1}, {**RUN, "created": "now"}, {**RUN, "created": True}, {**RUN, "status": None}]
    page = ListPage((*odd, {**RUN, "id": "frr_a", "status": "archived"}, {**RUN, "id": "frr_b"}), False)
    assert taken(Count(0.0, 0).read(page)) == 1


@pytest.mark.parametrize("items", [(), ({**RUN},)])
def test_a_list_that_does_not_move_on_is_an_error(items: tuple[Any, ...]) -> None:
    """Each count ends."""
    count = Count(0.0, 0).read(ListPage(({**RUN},), True))
    with pytest.raises(UnexpectedResponseError, match="does not move on after frr_1"):
        count.read(ListPage(items, True))


def test_a_list_that_is_too_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever counts would remember all of it, and never come to an end."""
    monkeypatch.setattr(room_module, "MOST_RUNS", 300)
    count = Count(0.0, 0)
    for number in range(4):
        page = tuple({**RUN, "id": f"frr_{number}_{it}"} for it in range(100))
        if number < 3:
            count = count.read(ListPage(page, True))
    with pytest.raises(UnexpectedResponseError, match="has no end in 300 of them"):
        count.read(ListPage(page, True))
    assert count.read(ListPage(page, False)).whole


# --- Who is let in, and when -------------------------------------------------------------------------------


def room_for(most: int, since: float, *, deadline: float = math.inf, window: float = HOUR) -> Waiter:
    return Waiter(RoomForReportRun(most, window), Watch(since, deadline, 15.0, 0.0))


def questions_at(plan: Plan, now: float) -> Iterator[Any]:
    """Yield what is asked at an instant, answered by whoever asks."""
    while not isinstance(question := plan.ask(now), float | int):
        yield question


def told_at(plan: Plan, account: Account, now: float) -> list[tuple[Waiter, str]]:
    """Answer the counts that are asked for at an instant; return who is told which outcome."""
    told = []
    for question in questions_at(plan, now):
        assert isinstance(question, Count)
        told += plan.answered(question, account.page(question), now)
    return [(waiter, getattr(event, "outcome", "")) for waiter, event in told]


def test_the_longest_wait_comes_first_and_each_has_its_own_limit() -> None:
    """Who wants more room than there is holds nobody up who wants less."""
    plan, account = Plan(), Account()
    account.create(9000)
    strict, young, old = room_for(1, since=9001), room_for(3, since=9003), room_for(3, since=9002)
    late = room_for(3, since=9004)
    for waiter in (young, late, strict, old):
        plan.join(waiter, 10_000.0)
    assert told_at(plan, account, 10_000.0) == [(old, "room"), (young, "room")]
    assert told_at(plan, account, 10_000.0) == []
    for _ in range(2):
        account.create(10_005)
    assert told_at(plan, account, 10_020.0) == []
    for number in range(3):
        account.end(number)
    assert told_at(plan, account, 10_040.0) == [(strict, "room"), (late, "room")]
    assert plan.ask(10_040.0) == math.inf


def test_each_has_its_own_window() -> None:
    """A report run that is too old for one takes no room from it, whatever others count, or counted before."""
    plan, account = Plan(), Account()
    account.create(10_000)
    account.create(17_000)
    short, long = room_for(2, since=17_001.0), room_for(2, since=17_000.0, window=3 * HOUR)
    first = room_for(1, since=17_002.0, window=60.0)
    plan.join(first, 17_100.0)
    assert told_at(plan, account, 17_100.0) == [(first, "room")]
    never = room_for(1, since=16_000.0)
    for waiter in (never, long, short):
        plan.join(waiter, 17_200.0)
    assert told_at(plan, account, 17_200.0) == [(short, "room")]
    account.end(0)
    assert told_at(plan, account, 17_200.0 + PROMISE) == [(long, "room")]


def test_who_comes_with_a_longer_window_is_not_let_in_by_a_shorter_count() -> None:
    """The answer was on its way."""
    plan, account = Plan(), Account()
    account.create(10_000)
    short, long = room_for(1, since=17_000.0), room_for(1, since=16_000.0, window=3 * HOUR)
    plan.join(short, 17_000.0)
    question: Any = plan.ask(17_000.0)
    plan.join(long, 17_000.0)
    told = plan.answered(question, account.page(question), 17_000.0)
    assert [waiter for waiter, _ in told] == [short]
    assert told_at(plan, account, 17_100.0) == []


def test_another_plan_keeps_what_was_promised() -> None:
    """As when all have been let in, and others come before these have created anything."""
    room, account = Room(), Account()
    for now, outcomes in ((10_000.0, ["room"]), (10_001.0, []), (10_000.0 + PROMISE, ["room"])):
        plan = Plan(room=room)
        plan.join(room_for(1, since=now), now)
        assert [outcome for _, outcome in told_at(plan, account, now)] == outcomes


def test_a_thousand_that_wait_cost_one_request_a_quarter_of_a_minute() -> None:
    """One count serves all, also those that join between two."""
    plan, account = Plan(), Account()
    account.create(10_000)
    for second in range(600):
        for _ in range(2 if second < 500 else 0):
            plan.join(room_for(1, since=10_000.0 + second), 10_000.0 + second)
        assert told_at(plan, account, 10_000.0 + second) == []
    assert account.asked <= 600 / 6.5 + 1
    account.asked = 0
    assert told_at(plan, account, 10_700.0) == []
    assert told_at(plan, account, 10_712.0) == []
    assert account.asked == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_backfill_fills_its_room_and_no_more(seed: int) -> None:
    """Tasks come back 8 to 20 s after they were let in, reports take a minute, or ten, one in 50 an hour."""
    chance, most, now = random.Random(seed), 0, 10_000.0  # noqa: S311 - no secret
    plan, account, limit, tasks = Plan(phase=chance.random()), Account(), 20, 200
    coming, ends, filled = list[float](), list[float](), 0
    for number in range(tasks):
        plan.join(room_for(limit, since=now + number / 1000), now)
    while len(account.runs) < tasks:
        for index, end in enumerate(ends):
            if end <= now:
                account.end(index)
        for _ in [back for back in coming if back <= now]:
            account.create(int(now))
            ends.append(now + chance.choice([60] * 44 + [600] * 5 + [3600]))
        coming = [back for back in coming if back > now]
        coming += [now + chance.uniform(8, 20) for _ in told_at(plan, account, now)]
        most, now = max(most, account.pending), now + 1.0
        filled += account.pending
    assert most == limit
    assert filled / (now - 10_000.0) > 0.7 * limit
    assert account.asked < tasks


def test_a_last_count_is_made_at_the_deadline() -> None:
    """And who finds no room then is told so."""
    plan, account = Plan(), Account()
    account.create(10_000)
    waiter = room_for(1, since=10_000, deadline=10_004.0)
    plan.join(waiter, 10_000.0)
    assert told_at(plan, account, 10_000.0) == []
    assert told_at(plan, account, 10_004.0) == [(waiter, "timeout")]


def test_a_count_tells_of_report_runs_that_are_waited_for() -> None:
    """Its pages show them anyway."""
    plan, account = Plan(), Account()
    account.create(10_000)
    ends = Waiter(ReportRunEnds("frr_0"), Watch(10_000.0, math.inf, 10.0))
    plan.join(ends, 10_000.0)
    for question in questions_at(plan, 10_000.0):
        assert isinstance(question, OneRun)
        plan.answered(question, ReportRun.from_api(account.runs[0]), 10_000.0)
    account.end(0)
    waiter = room_for(1, since=10_001.0)
    plan.join(waiter, 10_001.0)
    assert told_at(plan, account, 10_001.0) == [(ends, "failed"), (waiter, "room")]


def test_a_count_that_can_not_be_read_is_told_to_those_who_wait_for_it() -> None:
    """It is asked for again after some seconds, and nobody else is held up; what is pending is none the worse."""
    plan, account = Plan(phase=0.0), Account()
    account.create(10_000)
    ends = Waiter(ReportRunEnds("frr_0"), Watch(10_000.0, math.inf, 10.0))
    waiter = room_for(2, since=10_000.0)
    for one in (ends, waiter):
        plan.join(one, 10_000.0)
    asked = list[Any]()
    for question in questions_at(plan, 10_000.0):
        asked.append(question)
        if isinstance(question, Count):
            told = plan.answered(question, ListPage((), has_more=True), 10_000.0)
            ((who, words),) = told
            assert who is waiter
            assert "does not move on" in getattr(words, "words", "")
        else:
            plan.answered(question, ReportRun.from_api(account.runs[0]), 10_000.0)
    assert [type(it) for it in asked] == [OneRun, Count]
    again = plan.ask(10_006.5)
    assert isinstance(again, Count)
    told = plan.answered(again, account.page(again), 10_006.5)
    assert [(who, getattr(event, "outcome", "")) for who, event in told] == [(ends, ""), (waiter, "room")]


def test_a_list_that_fails_keeps_nobody_from_its_report_run() -> None:
    """Runs are retrieved singly then, whatever the counts come to."""
    plan, account = Plan(phase=0.0), Account()
    for _ in range(2):
        account.create(10_000)
        number = len(account.runs) - 1
        plan.join(Waiter(ReportRunEnds(f"frr_{number}"), Watch(10_000.0, math.inf, 10.0)), 10_000.0)
    plan.join(room_for(1, since=10_000.0), 10_000.0)
    for number in range(2):
        account.end(number)
    told, now = list[Any](), 10_000.0
    while len(told) < 2 and now < 10_300.0:
        for question in questions_at(plan, now):
            if isinstance(question, Count | RunsFrom):
                told += plan.failed(question, APIConnectionError("reset"), now)
            elif isinstance(question, OneRun):
                run = account.runs[int(question.report_run_id.removeprefix("frr_"))]
                told += plan.answered(question, ReportRun.from_api(run), now)
        now += 1.0
    assert [event.outcome for _, event in told if isinstance(event, ReportRunEvent)] == ["failed", "failed"]
