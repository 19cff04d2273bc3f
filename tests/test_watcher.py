"""All triggers of an account look at Stripe together: over the wire, with short pauses."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
import time
import warnings
from collections.abc import Coroutine, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import pytest

from airflow_reportrun import metrics
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.reporting.errors import ConnectionLookUpError
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.sandbox import (
    PERMISSIONS,
    AtOnce,
    RateLimited,
    RequestRecord,
    Slow,
    StripeSandbox,
    Unavailable,
    UnknownStatus,
)
from airflow_reportrun.triggers import StripeReportRunTrigger, StripeReportTypeTrigger, StripeTrigger
from airflow_reportrun.waiting import pace, plan, watcher
from airflow_reportrun.wire import lookup

T = TypeVar("T")

TYPE = "balance.summary.1"
CONNECTION = "AIRFLOW_CONN_STRIPE_DEFAULT"


class OnWord:
    """A transition of runs that end when they are told to."""

    def __init__(self) -> None:
        self.given = False

    def is_due(self, *, reads: int, age: float) -> bool:
        """Tell whether the word was given."""
        return self.given


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pace, plan):
        monkeypatch.setattr(module, "SHORTEST_SHARED_PAUSE", 0.1)
    monkeypatch.setattr(plan, "PAUSES", ResendPolicy(first_pause=0.02, longest_pause=0.05))
    monkeypatch.setattr(watcher, "LOOK_UP_PAUSES", (0.05, 0.05))


@pytest.fixture
def stripe(stripe_conn: StripeSandbox) -> StripeSandbox:
    """A sandbox whose runs end when :class:`OnWord` says so."""
    stripe_conn.configure(transition=OnWord())
    return stripe_conn


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connections that were looked up, one entry each time."""
    looked_up: list[str] = []
    anew = lookup._look_up_anew

    async def counting(conn_id: str, **how: Any) -> Any:
        looked_up.append(conn_id)
        return await anew(conn_id, **how)

    monkeypatch.setattr(lookup, "_look_up_anew", counting)
    return looked_up


@pytest.fixture
def watchers(monkeypatch: pytest.MonkeyPatch) -> list[watcher.Watcher]:
    """Those that were made."""
    made: list[watcher.Watcher] = []
    init = watcher.Watcher.__init__

    def recording(self: watcher.Watcher, *args: Any) -> None:
        made.append(self)
        init(self, *args)

    monkeypatch.setattr(watcher.Watcher, "__init__", recording)
    return made


def read_events(monkeypatch: pytest.MonkeyPatch, use: bool) -> None:
    """Do as with a connection that says so."""
    really = plan.Plan.use_events
    monkeypatch.setattr(plan.Plan, "use_events", lambda self, _: really(self, use))


def end_all(stripe: StripeSandbox) -> None:
    """Let all runs be at their end."""
    transition = stripe._state.settings.transition
    assert isinstance(transition, OnWord)
    transition.given = True


def create(number: int = 1, **whose: Any) -> list[str]:
    """Create report runs."""
    hook = StripeReportingHook(**whose)
    asked = [
        ReportParameters(interval_start=1714521600, interval_end=1714608000 + 86400 * n) for n in range(number)
    ]
    return [hook.create_report_run(TYPE, parameters).id for parameters in asked]


def trigger(report_run_id: str, **kwargs: Any) -> StripeReportRunTrigger:
    now = time.time()
    pace = {"since": int(now), "deadline": now + 60, "poll_interval": 0.2, "growth": 0.0}
    return StripeReportRunTrigger(report_run_id=report_run_id, **{**pace, **kwargs})


def type_trigger(until: int, report_type: str = TYPE) -> StripeReportTypeTrigger:
    now = time.time()
    return StripeReportTypeTrigger(
        report_type=report_type, until=until, since=now, deadline=now + 60, poll_interval=0.2, growth=0.0
    )


async def fire(trigger: StripeTrigger) -> Any:
    """Return the one event of a trigger."""
    (event,) = [event.payload async for event in trigger.run()]
    return event


def tasks_of(*triggers: StripeTrigger) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(fire(it)) for it in triggers]


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run on an event loop that has half a minute."""

    async def in_time() -> T:
        async with asyncio.timeout(30):
            return await coroutine

    return asyncio.run(in_time())


def looks(stripe: StripeSandbox) -> list[RequestRecord]:
    return [request for request in stripe.requests if request.operation != "create"]


# One watcher for all


@pytest.mark.parametrize("use_events", [False, True])
def test_150_triggers_are_served_by_few_requests(
    use_events: bool,
    stripe: StripeSandbox,
    lookups: list[str],
    watchers: list[watcher.Watcher],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two pages a look of the list, or one of the events; each trigger fires for its own run."""
    read_events(monkeypatch, use_events)
    runs = create(150)

    async def scenario() -> list[Any]:
        created = {it.id: it.created for it in stripe.report_runs}
        waiting = tasks_of(*(trigger(it, since=created[it]) for it in runs))
        await asyncio.sleep(0.6)
        end_all(stripe)
        return await asyncio.gather(*waiting)

    began = time.monotonic()
    events = run(scenario())
    assert [(it["outcome"], it["report_run_id"]) for it in events] == [("succeeded", it) for it in runs]
    operations = [request.operation for request in looks(stripe)]
    # Five looks a second, for as long as it takes.
    assert len(operations) <= 30 * max(1, time.monotonic() - began)
    if use_events:
        assert 2 <= operations.count("list") <= 4
        assert operations.count("list_events") >= 2
    else:
        assert operations.count("list") >= len(operations) - 1  # who joins last may be left alone
    assert (lookups, len(watchers)) == (["stripe_default"], 1)


def test_one_look_at_a_report_type_serves_all_who_wait_for_its_data(stripe: StripeSandbox) -> None:
    """And a type that there is not is an error of those who wait for it alone."""
    stripe.configure(data_available_end=1714608000)

    async def scenario() -> list[Any]:
        waiting = tasks_of(*(type_trigger(1714608000 + n) for n in range(100)), type_trigger(1, "weather.1"))
        await asyncio.sleep(0.1)
        stripe.configure(data_available_end=1714608000 + 100)
        return await asyncio.gather(*waiting)

    began = time.monotonic()
    *available, error = run(scenario())
    assert {it["outcome"] for it in available} == {"available"}
    assert {it["availability"]["data_available_end"] for it in available[1:]} == {1714608000 + 100}
    assert error["outcome"] == "error"
    assert len(looks(stripe)) <= 4 * max(1, time.monotonic() - began)  # a slow machine looks for longer


@pytest.mark.parametrize("use_events", [False, True])
def test_a_trigger_that_is_cancelled_hurts_nobody(
    use_events: bool, stripe: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one that waits for the same run."""
    read_events(monkeypatch, use_events)
    one, two, three = create(3)

    async def scenario() -> list[Any]:
        cancelled = tasks_of(trigger(one), trigger(two), trigger(three))
        waiting = tasks_of(trigger(one), trigger(two))
        await asyncio.sleep(0.3)
        for task in cancelled:
            task.cancel()
        end_all(stripe)
        events = await asyncio.gather(*waiting)
        assert all(task.cancelled() for task in cancelled)
        return events

    assert [(it["outcome"], it["report_run_id"]) for it in run(scenario())] == [
        ("succeeded", one),
        ("succeeded", two),
    ]


def test_a_run_that_is_not_there_fails_its_own_trigger(stripe: StripeSandbox) -> None:
    """One subscriber's failure never hurts another."""
    runs = create(3)

    async def scenario() -> list[Any]:
        waiting = tasks_of(trigger("frr_gone"), *map(trigger, runs))
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        end_all(stripe)
        return await asyncio.gather(*waiting)

    assert [it["outcome"] for it in run(scenario())] == ["error", "succeeded", "succeeded", "succeeded"]


# Keys


def test_a_wrong_key_fails_all_at_once(stripe: StripeSandbox) -> None:
    """With what Stripe says and what to do, after one request that was refused."""
    runs = create(20)

    async def scenario() -> list[Any]:
        waiting = tasks_of(*map(trigger, runs), type_trigger(LATER))
        await asyncio.sleep(0.3)
        stripe.api_key = "sk_test_rotated"
        return await asyncio.gather(*waiting)

    events = run(scenario())
    assert {it["outcome"] for it in events} == {"error"}
    (message,) = {it["message"] for it in events}
    assert "Put a valid secret key" in message
    assert [request.status for request in stripe.requests].count(401) == 1


LATER = 2_000_000_000


def test_a_rotated_key_is_picked_up_by_all(
    stripe: StripeSandbox, lookups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one look-up, and one request that was refused."""
    runs = create(20)

    async def scenario() -> list[Any]:
        waiting = tasks_of(*map(trigger, runs))
        await asyncio.sleep(0.3)
        stripe.api_key = "sk_test_rotated"
        connection = {"conn_type": "stripe", "host": stripe.url, "password": "sk_test_rotated"}
        monkeypatch.setenv(CONNECTION, json.dumps(connection))
        await asyncio.sleep(0.3)
        end_all(stripe)
        return await asyncio.gather(*waiting)

    assert {it["outcome"] for it in run(scenario())} == {"succeeded"}
    assert lookups == ["stripe_default"] * 2
    assert [request.status for request in stripe.requests].count(401) == 1


def test_another_key_may_read_the_events_that_the_last_one_may_not(
    stripe: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for them, though the last one's were of no use."""
    monkeypatch.setattr(watcher, "CONNECTION_AGE", 0.3)
    stripe.add_key("rk_test_without", PERMISSIONS[:2])
    connection = {"conn_type": "stripe", "host": stripe.url, "extra": {"use_events": True}}
    monkeypatch.setenv(CONNECTION, json.dumps({**connection, "password": "rk_test_without"}))
    runs = create(3)

    async def scenario() -> list[Any]:
        waiting = tasks_of(*map(trigger, runs))
        await asyncio.sleep(0.2)
        monkeypatch.setenv(CONNECTION, json.dumps({**connection, "password": stripe.api_key}))
        await asyncio.sleep(0.6)
        end_all(stripe)
        return await asyncio.gather(*waiting)

    assert {it["outcome"] for it in run(scenario())} == {"succeeded"}
    statuses = [request.status for request in stripe.requests_to("list_events")]
    assert statuses[0] == 403
    assert statuses.count(403) == 1
    assert statuses.count(200) > 1


def test_another_key_may_read_events_though_nobody_waited_while_it_came(
    stripe: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the one that may not is known, as long as the process lives."""
    monkeypatch.setattr(watcher, "_events_fail", {})
    stripe.add_key("rk_test_without", PERMISSIONS[:2])
    connection = {"conn_type": "stripe", "host": stripe.url, "extra": {"use_events": True}}
    statuses = []

    async def scenario() -> list[Any]:
        waiting = tasks_of(*map(trigger, create(3)))
        while len(looks(stripe)) < before + 4:  # noqa: ASYNC110 - they come to the other side of a wire
            await asyncio.sleep(0.02)
        end_all(stripe)
        return await asyncio.gather(*waiting)

    for key in ("rk_test_without", "rk_test_without", stripe.api_key, "rk_test_without"):
        monkeypatch.setenv(CONNECTION, json.dumps({**connection, "password": key}))
        stripe.configure(transition=OnWord())
        before = len(looks(stripe))
        assert {it["outcome"] for it in run(scenario())} == {"succeeded"}
        statuses.append([it.status for it in looks(stripe)[before:] if it.operation == "list_events"])
    assert (statuses[0], statuses[1], statuses[3]) == ([403], [], [])
    assert {*statuses[2]} == {200}


def test_a_connection_is_read_anew_from_time_to_time(
    stripe: StripeSandbox, lookups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For what was changed in it, though the key is good: here that events may be asked for."""
    monkeypatch.setattr(watcher, "CONNECTION_AGE", 0.4)
    runs = create(2)

    async def scenario() -> list[Any]:
        waiting = tasks_of(*map(trigger, runs))
        await asyncio.sleep(0.2)
        assert not stripe.requests_to("list_events")
        read_events(monkeypatch, use=True)
        connection = {"conn_type": "stripe", "host": stripe.url, "password": stripe.api_key}
        monkeypatch.setenv(CONNECTION, json.dumps({**connection, "extra": {"timeout": 30}}))
        await asyncio.sleep(0.5)
        end_all(stripe)
        return await asyncio.gather(*waiting)

    assert {it["outcome"] for it in run(scenario())} == {"succeeded"}
    assert stripe.requests_to("list_events")
    assert 2 <= len(lookups) <= 4


# Beginning and end


@pytest.fixture
def tidy(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing may be left over when the event loop ends: no task, no session, no error that nobody read."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.freeze()  # what there is already takes seconds to look through
        yield
        gc.collect()
        gc.unfreeze()
    assert not [it for it in caught if issubclass(it.category, ResourceWarning | RuntimeWarning)]
    assert not [it.getMessage() for it in caplog.records if it.name == "asyncio" and it.levelno > logging.WARNING]


async def nobody_is_left() -> None:
    """Fail where anything still runs."""
    async with asyncio.timeout(5):
        while asyncio.all_tasks() != {asyncio.current_task()}:  # noqa: ASYNC110 - an end has no event
            await asyncio.sleep(0.01)
    assert watcher._watchers[asyncio.get_running_loop()] == {}


@pytest.mark.usefixtures("tidy")
@pytest.mark.parametrize("how", ["fires", "is cancelled", "fails"])
def test_a_watcher_ends_with_its_last_subscriber(
    how: str, stripe: StripeSandbox, watchers: list[watcher.Watcher]
) -> None:
    """And another one begins with the next."""
    (one,) = create()

    async def ended() -> None:
        (task,) = tasks_of(trigger("frr_gone" if how == "fails" else one))
        await asyncio.sleep(0.3)
        if how == "is cancelled":
            task.cancel()
        end_all(stripe)
        await asyncio.wait([task])

    async def scenario() -> Any:
        asyncio.get_running_loop().set_debug(True)
        await ended()
        await nobody_is_left()
        event = await fire(trigger(one))
        await nobody_is_left()
        return event

    assert run(scenario())["outcome"] == "succeeded"
    assert len(watchers) == 2


@pytest.mark.usefixtures("tidy")
@pytest.mark.parametrize("ticks", range(6))
def test_who_leaves_as_it_comes_leaves_no_watcher(stripe: StripeSandbox, ticks: int) -> None:
    """Whatever the watcher is about just then."""
    (one,) = create()

    async def scenario() -> None:
        first = asyncio.create_task(fire(trigger(one, poll_interval=30)))
        await asyncio.sleep(0.3)
        second = asyncio.create_task(fire(trigger(one, poll_interval=30)))
        await asyncio.sleep(0.0)
        for _ in range(ticks):
            await asyncio.sleep(0.0)
        first.cancel()
        second.cancel()
        await asyncio.wait([first, second])
        await nobody_is_left()

    run(scenario())


@pytest.mark.usefixtures("tidy")
def test_a_loop_that_ends_early_takes_its_watcher_along(stripe: StripeSandbox) -> None:
    """As a triggerer that is stopped."""

    async def scenario() -> None:
        tasks_of(*map(trigger, create(3)))
        await asyncio.sleep(0.3)

    run(scenario())


def test_two_accounts_have_two_watchers_and_one_look_up(
    stripe: StripeSandbox, lookups: list[str], watchers: list[watcher.Watcher]
) -> None:
    """Each run is looked for in its own account."""
    accounts = ["acct_berlin", "acct_lisbon"]
    runs = [create(stripe_account=account)[0] for account in accounts]

    async def scenario() -> list[Any]:
        waiting = [trigger(it, stripe_account=account) for it, account in zip(runs, accounts, strict=True)]
        tasks = tasks_of(*waiting)
        await asyncio.sleep(0.3)
        end_all(stripe)
        return await asyncio.gather(*tasks)

    assert [it["outcome"] for it in run(scenario())] == ["succeeded", "succeeded"]
    assert (lookups, len(watchers)) == (["stripe_default"], 2)
    assert {request.account for request in looks(stripe)} == {*accounts}


def test_event_loops_do_not_share(stripe: StripeSandbox, watchers: list[watcher.Watcher]) -> None:
    """``dag.test()`` runs each trigger on a loop of its own."""
    runs, events = create(2), list[Any]()
    threads = [threading.Thread(target=lambda it=it: events.append(run(fire(trigger(it))))) for it in runs]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    end_all(stripe)
    for thread in threads:
        thread.join(20)
    assert sorted(it["report_run_id"] for it in events) == sorted(runs)
    assert len(watchers) == 2


# What goes wrong in the watcher itself


def test_without_a_connection_all_fail_and_the_next_begins_anew(
    stripe: StripeSandbox, lookups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look-up that failed fails the tries of those who waited for it: a retry asks again."""
    runs = create(5)
    connection = {"conn_type": "stripe", "host": stripe.url, "password": stripe.api_key}
    monkeypatch.delenv(CONNECTION)

    async def scenario() -> tuple[list[Any], Any]:
        failed = await asyncio.gather(*tasks_of(*map(trigger, runs)), return_exceptions=True)
        assert lookups == ["stripe_default"] * 3
        monkeypatch.setenv(CONNECTION, json.dumps(connection))
        end_all(stripe)
        return failed, await fire(trigger(runs[0]))

    failed, event = run(scenario())
    assert {type(it) for it in failed} == {ConnectionLookUpError}
    assert len({id(it) for it in failed}) == 5
    assert "a retry asks again" in str(failed[0])
    assert event["outcome"] == "succeeded"
    assert not [it for it in looks(stripe) if it.status != 200]


def test_one_look_up_that_fails_costs_nobody_a_try(
    stripe: StripeSandbox, lookups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A triggerer that starts beside a busy database asks again."""
    runs = create(5)
    connection = {"conn_type": "stripe", "host": stripe.url, "password": stripe.api_key}
    monkeypatch.delenv(CONNECTION)

    async def scenario() -> list[Any]:
        waiting = tasks_of(*map(trigger, runs))
        await asyncio.sleep(0.02)
        assert lookups == ["stripe_default"]
        monkeypatch.setenv(CONNECTION, json.dumps(connection))
        end_all(stripe)
        return await asyncio.gather(*waiting)

    assert {it["outcome"] for it in run(scenario())} == {"succeeded"}


def test_a_connection_that_is_wrong_fails_all(stripe: StripeSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent."""
    runs = create(5)
    monkeypatch.setenv(CONNECTION, json.dumps({"conn_type": "stripe"}))

    async def scenario() -> list[Any]:
        return await asyncio.gather(*tasks_of(*map(trigger, runs)))

    events = run(scenario())
    assert {it["outcome"] for it in events} == {"error"}
    assert all("secret key is missing" in it["message"] for it in events)
    assert not looks(stripe)


class UncopyableError(Exception):
    """An error of somebody's that can't be made from its arguments again, as pydantic's and our own."""

    def __init__(self, *, why: str) -> None:
        super().__init__(why)


@pytest.mark.parametrize("error", [KeyError("frr_1"), UncopyableError(why="a bug")])
def test_what_goes_wrong_in_the_watcher_reaches_all(
    error: Exception, stripe: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits on for somebody who looks no more, and whoever comes next has another."""
    runs = create(5)

    async def scenario() -> tuple[list[Any], Any]:
        waiting = tasks_of(*map(trigger, runs))
        await asyncio.sleep(0.3)
        with monkeypatch.context() as broken:

            def fail(self: plan.Plan, now: float) -> Any:
                raise error

            broken.setattr(plan.Plan, "ask", fail)
            failed = await asyncio.gather(*waiting, return_exceptions=True)
        end_all(stripe)
        return failed, await fire(trigger(runs[0]))

    failed, event = run(scenario())
    assert [(type(it), str(it)) for it in failed] == [(type(error), str(error))] * 5
    assert event["outcome"] == "succeeded"


def test_a_storm_is_waited_over(stripe: StripeSandbox) -> None:
    """Nobody fails for refusals and broken connections."""
    runs = create(20)
    stripe.inject(RateLimited(), times=5, on="list")
    stripe.inject(Unavailable(), times=5, on="any")

    async def scenario() -> list[Any]:
        waiting = tasks_of(*map(trigger, runs))
        await asyncio.sleep(0.5)
        end_all(stripe)
        return await asyncio.gather(*waiting)

    assert {it["outcome"] for it in run(scenario())} == {"succeeded"}


# The log


whose_log: ContextVar[str | None] = ContextVar("whose_log", default=None)
"""As Airflow's: where the lines of a task go."""


class Lines(logging.Handler):
    """Keeps lines, and whose log they went to."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str | None, str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append((whose_log.get(), record.levelname, record.getMessage()))


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str | None, str, str]]]:
    """What is logged: whose log, the level, the words."""
    handler = Lines()
    logger = logging.getLogger("airflow_reportrun.waiting")
    monkeypatch.setattr(logger, "disabled", False)
    monkeypatch.setattr(watcher.log, "disabled", False)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler.lines
    logger.removeHandler(handler)
    logger.setLevel(level)


def in_log_of(name: str, trigger: StripeTrigger) -> asyncio.Task[Any]:
    """Let a trigger wait whose task has a log of its own."""

    async def fired() -> Any:
        whose_log.set(name)
        return await fire(trigger)

    return asyncio.create_task(fired())


def test_a_watcher_says_what_it_waits_for_in_a_line_from_time_to_time(
    stripe: StripeSandbox, lines: list[tuple[str | None, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In nobody's log but the triggerer's."""
    monkeypatch.setattr(watcher, "SUMMARY_PAUSE", 0.4)
    runs = create(3)

    async def scenario() -> None:
        waiting = [in_log_of(it, trigger(it)) for it in runs]
        waiting.append(in_log_of("type", type_trigger(LATER)))
        await asyncio.sleep(1.5)
        for task in waiting:
            task.cancel()

    run(scenario())
    said = [it for it in lines if "report runs" in it[2]]
    assert 2 <= len(said) <= 3
    assert {it[:2] for it in said} == {(None, "INFO")}
    first = said[0][2]
    assert first.startswith("connection 'stripe_default': waiting for 3 report runs (the oldest for ")
    assert "and the data of 1 report types; " in first
    counted = sum(int(it[2].split("; ")[1].split(" ")[0]) for it in said)
    assert 4 <= counted <= len(looks(stripe))


def test_who_waits_is_measured_between_looks_too(
    stripe: StripeSandbox, lines: list[tuple[str | None, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks may be five minutes apart, where a gauge expires; a line of no requests would tell nothing."""
    monkeypatch.setattr(watcher, "SUMMARY_PAUSE", 0.1)
    monkeypatch.setattr(watcher, "GAUGE_PAUSE", 0.05)
    counts: list[tuple[str, int]] = []
    monkeypatch.setattr(metrics, "waiting", lambda _, goal, count, oldest: counts.append((goal, count)))
    (run_id,) = create()

    async def scenario() -> None:
        waiting = asyncio.create_task(fire(trigger(run_id, poll_interval=300)))
        await asyncio.sleep(1.0)
        waiting.cancel()

    run(scenario())
    assert len(looks(stripe)) == 1
    assert counts.count(("report_run", 1)) >= 4
    assert len(lines) <= 1


def test_who_waits_is_measured_and_said_between_pages_that_take_long(
    stripe: StripeSandbox, lines: list[tuple[str | None, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They follow each other without a pause: of thousands of runs it may be minutes until the first one."""
    monkeypatch.setattr(watcher, "SUMMARY_PAUSE", 0.1)
    monkeypatch.setattr(watcher, "GAUGE_PAUSE", 0.05)
    counts: list[tuple[str, int]] = []
    monkeypatch.setattr(metrics, "waiting", lambda _, goal, count, oldest: counts.append((goal, count)))
    runs = create(201)
    stripe.inject(Slow(0.3), times=99, on="list")

    async def scenario() -> None:
        waiting = tasks_of(*map(trigger, runs))
        await asyncio.sleep(0.85)  # within the three pages of the first look
        for task in waiting:
            task.cancel()

    run(scenario())
    assert counts.count(("report_run", 201)) >= 3
    assert len(lines) >= 2


def test_a_storm_is_one_line(stripe: StripeSandbox, lines: list[tuple[str | None, str, str]]) -> None:
    """With Stripe's words, however many looks fail; a minute later with how many there were."""
    runs = create(5)
    stripe.inject(Unavailable(), times=1000, on="any")

    async def scenario() -> None:
        waiting = [in_log_of(it, trigger(it)) for it in runs]
        await asyncio.sleep(1.0)
        with pytest.MonkeyPatch.context() as later:
            later.setattr(watcher, "SUMMARY_PAUSE", 0.5)
            await asyncio.sleep(0.3)
        for task in waiting:
            task.cancel()

    run(scenario())
    assert len(looks(stripe)) > 10
    first, second = (it for it in lines if it[1] != "INFO")
    assert first[:2] == second[:2] == (None, "WARNING")
    assert first[2].startswith("connection 'stripe_default': could not look 1 times, looking on: ")
    assert "503" in first[2]
    assert int(second[2].split("could not look ")[1].split(" ")[0]) > 5


def test_words_about_a_run_go_to_the_log_of_its_task(
    stripe: StripeSandbox, lines: list[tuple[str | None, str, str]]
) -> None:
    """Once, though it is looked at again and again."""
    stripe.configure(transition=AtOnce())
    stripe.inject(UnknownStatus("archived"))
    (odd,) = create()
    stripe.configure(transition=OnWord())
    others = create(2)

    async def scenario() -> None:
        waiting = [in_log_of(it, trigger(it)) for it in (odd, *others)]
        await asyncio.sleep(0.8)
        for task in waiting:
            task.cancel()

    run(scenario())
    assert len(looks(stripe)) >= 3
    words = f"Report run {odd} has the unknown status 'archived'; it counts as pending."
    assert lines == [(odd, "WARNING", words)]
