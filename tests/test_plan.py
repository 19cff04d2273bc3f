"""What is asked of Stripe for all who wait, when, and for whom an answer is: the rules of ``waiting/plan``."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from airflow_reportrun.reporting.errors import (
    APIConnectionError,
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    PermissionDeniedError,
    RateLimitError,
    ReportingError,
    ServerError,
    UnexpectedResponseError,
)
from airflow_reportrun.reporting.models import ListPage, ReportRun
from airflow_reportrun.waiting.awaited import Waiter
from airflow_reportrun.waiting.feed import MOST_EVENT_PAGES, Feed
from airflow_reportrun.waiting.goals import DataReaches, ReportRunEnds, RoomForReportRun
from airflow_reportrun.waiting.pace import SHORTEST_SHARED_PAUSE, Watch
from airflow_reportrun.waiting.plan import (
    LAST_LOOK_GRACE,
    MOST_FAILED_PAGES,
    SHORTEST_CHECK,
    WITHOUT_LISTS,
    Plan,
)
from airflow_reportrun.waiting.questions import EndsSince, OneRun, OneType, Question, RunsFrom
from tests.stripe_model import START, Run, World, event_of

TYPE = "balance.summary.1"
BROKEN = ServerError("Something went wrong.", http_status=500)
LOGIN_PAGE = UnexpectedResponseError("Expected JSON and got a login page")
NOT_ALLOWED = PermissionDeniedError("The key may not do this.", http_status=403)


def refusing(
    error: ReportingError, *kinds: type[Question], times: float = float("inf")
) -> Callable[[Question], ReportingError | None]:
    """Refuse questions of some kinds, so many times."""
    left = [times]

    def refuse(question: Question) -> ReportingError | None:
        if not isinstance(question, kinds) or left[0] <= 0:
            return None
        left[0] -= 1
        return error

    return refuse


def kinds(questions: list[Question]) -> Counter[str]:
    return Counter(type(question).__name__ for question in questions)


def looks_at(world: World, question: Question) -> list[float]:
    """Return when a question was asked, since the start."""
    return [at - START for at, asked in world.asked if asked == question]


# Pages and cursors


def test_nobody_is_asked_for() -> None:
    """Without anybody who waits there is no question, at any time."""
    assert World().plan.ask(START) == float("inf")


def test_a_page_serves_all_that_are_on_it() -> None:
    """A hundred runs cost one request a look."""
    world = World()
    pairs = [world.create() for _ in range(100)]
    assert kinds(world.pass_by(1)) == {"RunsFrom": 1}
    for run, _ in pairs:
        run.ends = world.now + 1
    assert kinds(world.pass_by(10)) == {"RunsFrom": 1}
    assert {world.outcome(waiter) for _, waiter in pairs} == {"succeeded"}


def test_who_is_told_is_told_of_its_own_run() -> None:
    """With the outcome that the run had."""
    world = World()
    (good, to_good), (bad, to_bad), (_, to_late) = (world.create() for _ in range(3))
    good.ends, bad.ends, bad.status = START, START, "failed"
    world.pass_by(60)
    assert [world.outcome(it) for it in (to_good, to_bad, to_late)] == ["succeeded", "failed", None]
    assert [event.as_payload()["report_run_id"] for _, _, event in world.told] == [bad.id, good.id]


def test_the_list_goes_on_where_a_page_ends() -> None:
    """Three pages for three hundred runs of three hundred seconds, each from where the last one ended."""
    world = World()
    for _ in range(300):
        world.create()
        world.stripe.now += 1
    pages = [question for question in world.pass_by(1) if isinstance(question, RunsFrom)]
    assert [page.newest - START for page in pages] == [299, 199, 99]
    assert all(page.oldest <= START for page in pages)
    assert world.asked == [(at, page) for (at, _), page in zip(world.asked, pages, strict=True)]


def test_more_runs_of_one_second_than_a_page_has_are_reached_by_cursor() -> None:
    """No bound on ``created`` leads beyond the first page of them."""
    world = World()
    waiters = [world.create()[1] for _ in range(250)]
    pages = world.pass_by(1)
    assert [question.after for question in pages if isinstance(question, RunsFrom)] == [
        None,
        "frr_150",
        "frr_50",
    ]
    assert len(pages) == 3
    for run in world.stripe.runs.values():
        run.ends = world.now
    assert kinds(world.pass_by(10)) == {"RunsFrom": 3}
    assert {world.outcome(waiter) for waiter in waiters} == {"succeeded"}


def test_a_cursor_outlives_a_page_that_failed() -> None:
    """The runs behind it are on the list still, and not retrieved one by one from then on."""
    world = World(page_size=3)
    for _ in range(12):
        world.create()
    world.pass_by(1)
    failing = iter([BROKEN])
    world.stripe.refuse = lambda question: (
        next(failing, None) if isinstance(question, RunsFrom) and question.after else None
    )
    world.pass_by(20)
    assert set(kinds(world.pass_by(60))) == {"RunsFrom"}


def test_a_sensor_finds_its_run_behind_a_full_second() -> None:
    """It waits since some instant, which falls into a second of which a page shows only a part."""
    world = World(page_size=3)
    old = world.stripe.create()
    world.create()
    world.stripe.now += 1
    for _ in range(5):
        world.stripe.create()
    sensor = world.join(old.id, since=START + 0.5)
    another = world.stripe.create()
    world.join(another.id)
    old.ends = START
    assert len(world.pass_by(2)) < 6
    assert world.outcome(sensor) == "succeeded"


def test_sensors_find_their_runs_together() -> None:
    """A thousand that come late to as many runs cost pages, and not a request each."""
    world = World()
    runs = []
    for _ in range(1000):
        runs.append(world.stripe.create())
        world.stripe.now += 0.05
    waiters = []
    for run in runs:
        waiters.append(world.join(run.id, since=world.now, poll_interval=60, growth=0.0))
        world.stripe.now += 0.01
    for run in runs[::3]:
        run.ends = world.now
    asked = kinds(world.pass_by(50))
    assert asked["RunsFrom"] < 100
    assert asked["OneRun"] < 10
    assert [world.outcome(it) for it in waiters[:3]] == ["succeeded", None, None]
    assert len(world.told) == 334


@pytest.mark.parametrize("skew", [-3000, -0.5, 0.5, 3000])
def test_a_run_that_was_created_at_another_time_is_found(skew: float) -> None:
    """A sensor's wait begins later, and clocks differ: what the list does not show there is retrieved once."""
    world = World()
    for _ in range(5):
        world.create()
    world.stripe.now += 3600
    run = world.stripe.create()
    sensor = world.join(run.id, since=run.created + skew)
    assert kinds(world.pass_by(1))["OneRun"] <= 1
    assert set(kinds(world.pass_by(600))) <= {"RunsFrom"}
    run.ends = world.now
    world.pass_by(320)
    assert world.outcome(sensor) == "succeeded"


def without(world: World, hidden: Run) -> None:
    """Let lists show a run no more."""
    put = world.stripe.answer

    def answer(question: Question) -> Any:
        if not isinstance(question, RunsFrom):
            return put(question)
        runs = world.stripe.runs
        world.stripe.runs = {name: run for name, run in runs.items() if run is not hidden}
        try:
            return put(question)
        finally:
            world.stripe.runs = runs

    world.stripe.answer = answer  # type: ignore[method-assign]


def test_a_run_that_the_list_does_not_show_is_retrieved() -> None:
    """At each look, since the list may have lost it for good; the others are none the worse."""
    world = World()
    hidden, waiter = world.create()
    pairs = [world.create() for _ in range(4)]
    without(world, hidden)
    world.pass_by(30)
    hidden.ends = world.now
    world.pass_by(30)
    assert world.outcome(waiter) == "succeeded"
    for run, _ in pairs:
        run.ends = world.now
    world.pass_by(30)
    assert {world.outcome(it) for _, it in pairs} == {"succeeded"}


def test_a_run_that_a_full_page_has_lost_is_retrieved_at_once() -> None:
    """It was shown before, so it is on none of the pages behind."""
    world = World(page_size=3)
    for _ in range(9):
        world.stripe.create()
        world.stripe.now += 1
    pairs = [world.create() for _ in range(3)]
    world.pass_by(5)
    without(world, pairs[0][0])
    before = len(world.asked)
    world.pass_by(7)
    assert [it for _, it in world.asked[before:] if not isinstance(it, RunsFrom)] == [OneRun(pairs[0][0].id)]
    assert len(world.asked) - before <= 3


def test_a_sensor_beside_one_run_retrieves_its_own() -> None:
    """Which may be on any page, where there is nobody else to share it with."""
    world = World(page_size=3)
    old = world.stripe.create()
    world.stripe.now += 3600
    for _ in range(6):
        world.stripe.create()
    world.stripe.now += 1
    world.create()
    world.join(old.id, since=world.now)
    assert kinds(world.pass_by(2)) == {"RunsFrom": 1, "OneRun": 1}


def test_a_sensor_beside_others_is_looked_for_on_the_next_page() -> None:
    """They may all have come late; what no page shows is retrieved in the end."""
    world = World(page_size=3)
    old = world.stripe.create()
    world.stripe.now += 10
    world.stripe.create()
    world.stripe.now += 10
    world.create()
    world.create()
    world.join(old.id, since=world.now)
    assert kinds(world.pass_by(2)) == {"RunsFrom": 2}
    gone = world.join("frr_gone", since=world.now)
    world.pass_by(20)
    assert world.outcome(gone) == "error"


def test_a_list_that_does_not_move_on_is_left() -> None:
    """A page that ends where the one before did would be asked for without an end."""
    world = World(page_size=3)
    pairs = [world.create() for _ in range(8)]
    put = world.stripe.answer
    world.stripe.answer = lambda question: put(  # type: ignore[method-assign]
        replace(question, after=None) if isinstance(question, RunsFrom) else question
    )
    asked = kinds(world.pass_by(3))
    assert asked["RunsFrom"] <= 3
    for run, _ in pairs:
        run.ends = world.now
    world.pass_by(20)
    assert {world.outcome(waiter) for _, waiter in pairs} == {"succeeded"}


@pytest.mark.parametrize("page_size", [100, 3])
def test_a_run_that_can_not_be_read_leaves_its_page_as_it_is(page_size: int) -> None:
    """The others are shown there, whatever their place; it is retrieved by itself, at once."""
    world = World(page_size=page_size)
    for _ in range(5):
        world.stripe.create()
        world.stripe.now += 1
    for _ in range(2):
        world.create()
        world.stripe.now += 1
    damaged, _ = world.create(damaged=True)
    assert kinds(world.pass_by(2)) == {"RunsFrom": 1, "OneRun": 1}
    assert looks_at(world, OneRun(damaged.id))


def test_what_is_no_run_leaves_its_page_as_it_is() -> None:
    """A page that has nothing and says that more follows is one without an end."""
    world = World()
    pairs = [world.create() for _ in range(3)]
    (question,) = [world.plan.ask(world.now)]
    assert isinstance(question, RunsFrom)
    shown = [run.body(world.now) for run, _ in pairs]
    told = world.plan.answered(question, ListPage((None, "frr_0", 0, *shown), has_more=False), world.now)
    assert [waiter for waiter, _ in told] == [waiter for _, waiter in pairs]
    world.stripe.now += 20
    question = world.plan.ask(world.now)
    assert isinstance(question, RunsFrom)
    assert world.plan.answered(question, ListPage((), has_more=True), world.now) == []
    assert isinstance(world.plan.ask(world.now), OneRun)


def test_a_page_begins_with_the_oldest_that_is_waited_for() -> None:
    """An hour earlier where Stripe has not shown it yet: who waits may have come late."""
    world = World()
    for _ in range(2):
        world.create()
        world.stripe.now += 100
    first, second = world.pass_by(1) + world.pass_by(25)
    assert isinstance(first, RunsFrom)
    assert isinstance(second, RunsFrom)
    assert (first.newest, first.oldest) == (START + 100, START - 3600)
    assert (second.newest, second.oldest) == (START + 100, START)


def test_looks_at_many_keep_to_the_ticks_of_their_plan() -> None:
    """Which lie elsewhere for each, so that triggerers don't ask in step."""
    world = World()
    world.plan = Plan(phase=2.0)
    for _ in range(2):
        world.create()
    world.pass_by(100)
    later = [at for at, _ in world.asked[1:]]
    assert len(later) > 5
    assert [(at - 2.0) % 6.5 for at in later] == pytest.approx([0.0] * len(later), abs=1e-5)


# Company or alone, and the paces


def test_a_run_without_company_is_retrieved() -> None:
    """A page would show others' runs, and is larger."""
    world = World()
    world.create()
    assert kinds(world.pass_by(100)).keys() == {"OneRun"}


def test_two_runs_far_apart_are_retrieved_one_by_one() -> None:
    """When a page has shown that the newer one is alone there."""
    world = World(page_size=3)
    world.create()
    for _ in range(9):
        world.stripe.now += 1
        world.stripe.create()
    world.stripe.now += 1
    world.create()
    assert kinds(world.pass_by(14))["RunsFrom"] == 1
    assert kinds(world.pass_by(100)).keys() == {"OneRun"}


def test_who_looks_alone_keeps_its_own_pace() -> None:
    """Ten seconds, and from forty on a quarter of the age; within the twentieth part by which paces vary."""
    world = World()
    run, _ = world.create()
    world.pass_by(400)
    looks = looks_at(world, OneRun(run.id))
    pauses = [later - earlier for earlier, later in pairwise(looks)]
    expected = [max(10.0, (at + 0.05) / 4) for at in looks[:-1]]
    assert pauses == pytest.approx(expected, abs=0.1)


def test_a_sensor_alone_keeps_its_poke_interval() -> None:
    """Whatever it is."""
    world = World()
    run = world.stripe.create()
    world.join(run.id, poll_interval=60, growth=0.0)
    world.pass_by(600)
    assert looks_at(world, OneRun(run.id)) == pytest.approx([60 * n for n in range(10)], abs=1)


@pytest.mark.parametrize(("runs", "pause"), [(2, 50.0), (5, 20.0), (50, 13.0)])
def test_looks_that_serve_many_come_as_often_as_all_pay_for(runs: int, pause: float) -> None:
    """Down to a twelfth of the age: with sensors that alone would look every hundred seconds, on runs of 130 s."""
    world = World()
    for _ in range(runs):
        world.join(world.stripe.create().id, poll_interval=100, growth=0.0)
    world.pass_by(180)
    *_, (before, after) = ((a, b) for (a, _), (b, _) in pairwise(world.asked) if a <= START + 131)
    assert after - before == pytest.approx(pause, rel=0.1)
    assert len(world.asked) <= 1 + runs * 180 / 100


@pytest.mark.parametrize("gap", [0, 1])
@pytest.mark.parametrize("polls", [(10.0, 26.0), (26.0, 10.0), (10.0, 400.0), (400.0, 10.0)])
def test_two_look_no_more_often_than_both_would_alone(polls: tuple[float, float], gap: float) -> None:
    """By over a tenth: a tick may be due well before what the two pay for, and one before the other."""
    world = World()
    for poll in polls:
        world.join(world.stripe.create().id, poll_interval=poll, growth=0.0)
        world.pass_by(gap)
    asked = world.pass_by(4000)
    assert 0.9 * 4000 / 10 < len(asked) <= 4000 * sum(1 / poll for poll in polls) / 0.9 + 3


def test_the_keenest_who_waits_for_a_run_sets_its_pace() -> None:
    """Two wait for one run, and both are told."""
    world = World()
    run, patient = world.create()
    keen = world.join(run.id, poll_interval=2, growth=0.0)
    world.pass_by(60)
    assert 25 <= len(world.asked) <= 32
    run.ends = world.now
    world.pass_by(3)
    assert (world.outcome(patient), world.outcome(keen)) == ("succeeded", "succeeded")


def test_of_two_who_wait_for_a_run_one_may_go() -> None:
    """The other waits on, at its own pace."""
    world = World()
    run, patient = world.create()
    keen = world.join(run.id, poll_interval=2, growth=0.0)
    world.pass_by(10)
    world.plan.leave(keen)
    world.plan.leave(keen)  # who leaves twice is gone all the same
    assert len(world.pass_by(60)) <= 7
    run.ends = world.now
    world.pass_by(20)
    assert (world.outcome(patient), world.outcome(keen)) == ("succeeded", None)


def test_what_nobody_waits_for_is_not_asked_for() -> None:
    """Neither a run nor its page, nor an answer that was on its way."""
    world = World()
    _, one = world.create()
    _, two = world.create()
    question = world.plan.ask(world.now)
    assert isinstance(question, RunsFrom)
    world.plan.leave(one)
    world.plan.leave(two)
    assert world.put(question) == []
    assert world.pass_by(10_000) == []


@pytest.mark.parametrize("what", [OneRun("frr_0"), OneType(TYPE)])
def test_who_left_is_told_of_no_answer_that_was_on_its_way(what: Question) -> None:
    """Nor of an error."""
    world = World()
    world.stripe.data = {TYPE: 0}
    run = world.stripe.create(ends=START)
    for tell in (
        lambda it: world.plan.answered(it, world.stripe.answer(it), world.now),
        lambda it: world.plan.failed(it, InvalidRequestError("Unknown parameter", http_status=400), world.now),
    ):
        waiter = world.join(run.id if isinstance(what, OneRun) else DataReaches(TYPE, 0))
        assert world.plan.ask(world.now) == what
        world.plan.leave(waiter)
        assert tell(what) == []
        world.stripe.now += 1000


def test_what_ended_is_noted_with_since_when_it_was_waited_for() -> None:
    """Once, by the one who has waited longest."""
    world = World()
    run = world.stripe.create(ends=START)
    for since in (START - 1, START - 5):
        world.join(run.id, since=since)
    world.pass_by(1)
    ((ended, since),) = world.plan.ended
    assert (ended.id, ended.status, since) == (run.id, "succeeded", START - 5)


# Deadlines


def test_a_look_at_the_deadline_is_the_last() -> None:
    """To the instant."""
    world = World()
    run = world.stripe.create()
    waiter = world.join(run.id, deadline=0)
    told = world.plan.answered(OneRun(run.id), world.stripe.answer(OneRun(run.id)), world.now)
    assert [(who, getattr(what, "outcome", "")) for who, what in told] == [(waiter, "timeout")]


def test_one_last_look_is_made_at_the_deadline() -> None:
    """However long the pause would have been; what ended before counts."""
    world = World()
    run = world.stripe.create(ends=START + 50)
    in_time = world.join(run.id, deadline=60, poll_interval=3600, growth=0.0)
    never = world.stripe.create()
    too_late = world.join(never.id, deadline=61, poll_interval=3600, growth=0.0)
    world.pass_by(70)
    assert (world.outcome(in_time), world.outcome(too_late)) == ("succeeded", "timeout")
    assert world.told_at(in_time) == pytest.approx(START + 60, abs=0.5)
    assert world.told_at(too_late) == pytest.approx(START + 61, abs=0.5)


def test_a_deadline_is_of_those_who_have_it() -> None:
    """Another who waits for the run waits on."""
    world = World()
    run, patient = world.create()
    hasty = world.join(run.id, deadline=30)
    world.pass_by(100)
    assert (world.outcome(patient), world.outcome(hasty)) == (None, "timeout")


def test_who_joins_after_its_deadline_has_its_look() -> None:
    """The triggerer was away."""
    world = World()
    done, open_ = world.stripe.create(ends=START), world.stripe.create()
    waiters = [world.join(it.id, deadline=-3600) for it in (done, open_)]
    world.pass_by(2)
    assert [world.outcome(it) for it in waiters] == ["succeeded", "timeout"]


def test_a_last_look_that_fails_is_made_again() -> None:
    """The run has ended in time, and Stripe can't say so just then."""
    world = World()
    run = world.stripe.create(ends=START + 10)
    waiter = world.join(run.id, deadline=20, poll_interval=3600, growth=0.0)
    world.pass_by(5)
    world.stripe.refuse = refusing(BROKEN, OneRun)
    world.pass_by(60)
    assert world.outcome(waiter) is None
    world.stripe.refuse = lambda question: None
    world.pass_by(60)
    assert world.outcome(waiter) == "succeeded"


def test_last_looks_are_not_made_for_ever() -> None:
    """Who can't be looked at any more gives up, two minutes after its deadline."""
    world = World()
    _, waiter = world.create()
    deadline = world.join(next(iter(world.stripe.runs)), deadline=20)
    world.stripe.refuse = refusing(APIConnectionError("reset"), OneRun, RunsFrom)
    world.pass_by(20 + LAST_LOOK_GRACE + 65)
    assert (world.outcome(waiter), world.outcome(deadline)) == (None, "timeout")
    assert world.told_at(deadline) >= START + 20 + LAST_LOOK_GRACE


# Newcomers


def test_what_ended_before_anybody_waited_is_seen_at_once() -> None:
    """Nothing that finished between create and subscribe is missed."""
    world = World()
    run = world.stripe.create(ends=START + 1)
    world.stripe.now += 1000
    waiter = world.join(run.id)
    world.pass_by(1)
    assert world.outcome(waiter) == "succeeded"


def test_newcomers_are_looked_at_together() -> None:
    """A thousand who come within ten seconds wait some seconds for each other."""
    world = World()
    for _ in range(1000):
        world.create()
        world.pass_by(0.01)
    world.pass_by(8)
    assert len(world.asked) <= 2 + 10 + 10 + 10
    assert all(run.seen for run in world.plan.runs.values())


@pytest.mark.parametrize("use_events", [False, True])
def test_newcomers_are_looked_at_soon(use_events: bool) -> None:
    """Whatever the pause of those who wait already, and though events could tell of theirs."""
    world = World(use_events=use_events)
    world.create()
    world.pass_by(3000)
    run, waiter = world.create(ends=world.now)
    run.has_event = False
    world.pass_by(14)
    assert world.outcome(waiter) == "succeeded"


# Report types


def test_one_look_at_a_report_type_serves_all_who_wait_for_its_data() -> None:
    """Each for as much as it wants."""
    world = World()
    world.stripe.data = {TYPE: 100}
    waiters = [world.join(DataReaches(TYPE, until), poll_interval=60, growth=0.0) for until in range(50, 150)]
    world.pass_by(30)
    assert [world.outcome(it) for it in waiters] == ["available"] * 51 + [None] * 49
    assert len(world.asked) == 1
    world.stripe.data[TYPE] = 149
    world.pass_by(60)
    assert {world.outcome(it) for it in waiters} == {"available"}
    assert len(world.asked) == 2


def test_who_comes_late_to_a_report_type_shares_its_next_look() -> None:
    """Newcomers come all the time, and don't each cost a request."""
    world = World()
    world.stripe.data = {TYPE: 0}
    for _ in range(200):
        world.join(DataReaches(TYPE, 1), poll_interval=60, growth=0.0)
        world.pass_by(0.5)
    assert len(world.asked) <= 1 + 100 / 6


def test_data_that_does_not_come_is_said_and_given_up() -> None:
    """With how far it reaches."""
    world = World()
    world.stripe.data = {TYPE: 0}
    waiter = world.join(DataReaches(TYPE, 86_400), deadline=100, poll_interval=60, growth=0.0)
    world.pass_by(110)
    assert world.outcome(waiter) == "timeout"
    assert {words for _, words in world.said} == {
        f"Stripe's data for {TYPE} reaches 1970-01-01 00:00:00 UTC; waiting until it reaches "
        "1970-01-02 00:00:00 UTC."
    }


def test_a_report_type_that_is_not_there_is_an_error_of_those_who_wait_for_it() -> None:
    """Runs and other types are waited for on."""
    world = World()
    world.stripe.data = {TYPE: 0}
    _, run = world.create()
    other, gone = (world.join(DataReaches(name, 1), poll_interval=60, growth=0.0) for name in (TYPE, "gone.1"))
    world.pass_by(10)
    assert [world.outcome(it) for it in (run, other, gone)] == [None, None, "error"]


# Errors


def test_a_run_that_is_not_there_is_an_error_of_those_who_wait_for_it() -> None:
    """A 404 is one run's."""
    world = World()
    pairs = [world.create() for _ in range(5)]
    gone = [world.join("frr_gone", since=START) for _ in range(2)]
    world.pass_by(10)
    assert [world.outcome(it) for it in gone] == ["error", "error"]
    assert all("No such report run" in str(event.message) for _, _, event in world.told)
    assert {world.outcome(it) for _, it in pairs} == {None}
    pairs[0][0].ends = world.now
    world.pass_by(10)
    assert world.outcome(pairs[0][1]) == "succeeded"


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("Expired API Key", http_status=401),
        ConfigurationError("The secret key is missing."),
        NOT_ALLOWED,
    ],
)
def test_a_wrong_key_fails_all_at_once(error: ReportingError) -> None:
    """With the words that say what is wrong, after one request."""
    world = World()
    world.stripe.data = {TYPE: 0}
    waiters = [world.create()[1] for _ in range(5)]
    waiters.append(world.join(DataReaches(TYPE, 1)))
    world.pass_by(1)
    world.stripe.refuse = lambda question: error
    before = len(world.asked)
    world.pass_by(100)
    assert {world.outcome(it) for it in waiters} == {"error"}
    assert {event.message for _, _, event in world.told} == {str(error)}
    assert len(world.asked) == before + 1
    assert not world.plan.runs


def test_an_error_that_passes_puts_the_next_question_off_for_all() -> None:
    """By more each time, up to a minute."""
    world = World()
    world.stripe.data = {TYPE: 0}
    for _ in range(5):
        world.create()
    world.join(DataReaches(TYPE, 1))
    world.stripe.refuse = lambda question: RateLimitError("Slow down.", http_status=429)
    world.pass_by(3600)
    at = [at for at, _ in world.asked]
    pauses = [later - earlier for earlier, later in pairwise(at)]
    for failures, pause in enumerate(pauses, 1):
        assert pause >= min(60, 0.5 * 2 ** (failures - 1)) / 2
    assert len(at) < 140
    assert not world.told
    assert not world.said


def test_pauses_after_errors_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """From half a second to a minute, by chance less; an answer makes them begin anew."""
    monkeypatch.setattr("random.uniform", lambda least, most: most)
    world = World()
    names = [f"a.{n}" for n in range(20)]
    world.stripe.data = dict.fromkeys(names, 0)
    for name in names:
        world.join(DataReaches(name, 1), poll_interval=3600, growth=0.0)
    world.stripe.refuse = refusing(BROKEN, OneType, times=9)
    world.pass_by(200)
    at = [at for at, _ in world.asked]
    pauses = [later - earlier for earlier, later in pairwise(at)]
    assert pauses[:9] == pytest.approx([0.55, 1.05, 2.05, 4.05, 8.05, 16.05, 32.05, 60.05, 60.05])
    assert pauses[9:19] == pytest.approx([0.05] * 10)

    world.stripe.refuse = refusing(BROKEN, OneType, times=1)
    for name in ("b.1", "b.2"):
        world.stripe.data[name] = 0
        world.join(DataReaches(name, 1), poll_interval=3600, growth=0.0)
    world.pass_by(5)
    (failed, _), (answered, _) = world.asked[len(at) :]
    assert answered - failed == pytest.approx(0.55)


@pytest.mark.parametrize(("unreadable", "pause"), [(1, 0.05), (2, 0.55)])
def test_what_can_not_be_read_of_one_thing_puts_nobody_off(
    unreadable: int, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be read of two, one after the other, does."""
    monkeypatch.setattr("random.uniform", lambda least, most: most)
    world = World()
    names = ["a.1", "b.1", "c.1"]
    world.stripe.data = dict.fromkeys(names, 0)
    for name in names:
        world.join(DataReaches(name, 1), poll_interval=3600, growth=0.0)
    world.stripe.refuse = refusing(LOGIN_PAGE, OneType, times=unreadable)
    world.pass_by(5)
    at = [at for at, _ in world.asked]
    assert at[unreadable] - at[unreadable - 1] == pytest.approx(pause)


def test_what_stripe_asks_for_is_waited_for() -> None:
    """A ``Retry-After`` holds for all questions."""
    world = World()
    for _ in range(5):
        world.create()
    world.stripe.refuse = refusing(
        RateLimitError("Slow down.", http_status=429, retry_after=40), RunsFrom, times=1
    )
    assert len(world.pass_by(40)) == 1
    assert len(world.pass_by(1)) >= 1


def test_a_pause_that_is_asked_for_has_an_end() -> None:
    """A proxy's may be a day, in which all would time out."""
    world = World()
    _, waiter = world.create(ends=START + 10)
    day = ServerError("Maintenance.", http_status=503, retry_after=86_400)
    world.stripe.refuse = refusing(day, OneRun, times=1)
    world.pass_by(301)
    assert world.outcome(waiter) == "succeeded"


@pytest.mark.parametrize("error", [BROKEN, LOGIN_PAGE, APIConnectionError("reset")])
def test_after_a_storm_all_goes_on_as_before(error: ReportingError) -> None:
    """Nothing is told meanwhile, and nothing that ended meanwhile is missed."""
    world = World()
    pairs = [world.create() for _ in range(50)]
    world.pass_by(1)
    world.stripe.refuse = lambda question: error
    world.pass_by(600)
    assert not world.told
    assert len(world.asked) < 60
    for run, _ in pairs:
        run.ends = world.now
    world.stripe.refuse = lambda question: None
    world.pass_by(70)
    assert {world.outcome(it) for _, it in pairs} == {"succeeded"}


def test_answers_about_one_run_that_can_not_be_read_are_told_to_its_waiter() -> None:
    """Whose log has the words; nobody else is held up, and it is not asked for more often than by itself."""
    world = World()
    damaged, waiter = world.create(damaged=True)
    pairs = [world.create() for _ in range(5)]
    world.pass_by(60)
    assert {who for who, words in world.said if words} == {waiter}
    words = next(words for _, words in world.said if words)
    assert words.startswith("Could not look, looking again later: Expected int as 'created'")
    pairs[0][0].ends = world.now
    world.pass_by(14)
    assert world.outcome(pairs[0][1]) == "succeeded"
    world.pass_by(3600)
    before = len(looks_at(world, OneRun(damaged.id)))
    world.pass_by(3600)
    assert len(looks_at(world, OneRun(damaged.id))) - before <= 13  # every five minutes
    damaged.damaged, damaged.ends = False, world.now
    world.pass_by(310)
    assert world.outcome(waiter) == "succeeded"


@pytest.mark.parametrize("single", [OneRun, OneType])
def test_looks_that_fail_for_one_hold_nobody_up(single: type[Question]) -> None:
    """Though they come to be a minute apart: what failed last comes last."""
    world = World()
    run, waiter = world.create()
    world.stripe.now += 3000
    newest = OneRun(world.stripe.create().id)
    world.join(newest.report_run_id if single is OneRun else DataReaches(TYPE, 1), growth=0.0)
    world.pass_by(1)
    world.stripe.refuse = lambda question: (
        BROKEN if isinstance(question, (OneType, RunsFrom)) or question == newest else None
    )
    run.ends = world.now + 400
    world.pass_by(900)
    assert world.outcome(waiter) == "succeeded"


def test_lists_that_fail_for_good_are_done_without_for_a_while() -> None:
    """Runs are retrieved one by one meanwhile, at their own pace, and nobody fails."""
    world = World()
    pairs = [world.create() for _ in range(5)]
    world.stripe.refuse = refusing(InvalidRequestError("Unknown parameter", http_status=400), RunsFrom)
    asked = kinds(world.pass_by(WITHOUT_LISTS))
    assert asked["RunsFrom"] == MOST_FAILED_PAGES
    assert world.plan.words == [
        "Stripe's list of report runs fails: they are retrieved one by one for some minutes."
    ]
    assert asked["OneRun"] <= 5 * (WITHOUT_LISTS / 10)
    pairs[2][0].ends = world.now
    world.stripe.refuse = lambda question: None
    world.pass_by(160)
    assert world.outcome(pairs[2][1]) == "succeeded"
    assert kinds(world.pass_by(600)).keys() == {"RunsFrom"}


def test_lists_are_tried_anew_after_a_while() -> None:
    """As often as before, and done without again."""
    world = World()
    for _ in range(5):
        world.create()
    world.stripe.refuse = refusing(InvalidRequestError("Unknown parameter", http_status=400), RunsFrom)
    world.pass_by(WITHOUT_LISTS)
    assert kinds(world.pass_by(WITHOUT_LISTS))["RunsFrom"] == MOST_FAILED_PAGES
    assert len(world.plan.words) == 2


def test_looks_that_fail_for_one_come_to_be_at_its_own_pace() -> None:
    """From some seconds on, twice as long each time."""
    world = World()
    run, _ = world.create(damaged=True)
    world.plan.leave(world.plan.runs[run.id].waiters[0])
    world.join(run.id, poll_interval=300, growth=0.0)
    world.pass_by(1200)
    looks = looks_at(world, OneRun(run.id))
    pauses = [later - earlier for earlier, later in pairwise(looks)]
    assert pauses == pytest.approx([6.5, 13, 26, 52, 104, 208, 300, 300], abs=0.1)
    run.damaged = False
    world.pass_by(300)
    run.damaged = True
    world.pass_by(330)
    answered, failed, again, *_ = looks_at(world, OneRun(run.id))[len(looks) :]
    assert (failed - answered, again - failed) == pytest.approx((300, 6.5), abs=0.1)


def test_last_looks_that_fail_are_not_made_in_a_row() -> None:
    """There are seconds between them, however late it is."""
    world = World()
    run, _ = world.create(damaged=True)
    waiter = world.join(run.id, deadline=20)
    world.pass_by(20 + LAST_LOOK_GRACE + 65)
    assert world.outcome(waiter) == "timeout"
    pauses = [later - earlier for earlier, later in pairwise(looks_at(world, OneRun(run.id)))]
    assert min(pauses) >= 6.5


def test_pages_that_fail_now_and_then_are_asked_for_all_the_same() -> None:
    """Each that is shown begins the count anew."""
    world = World()
    for _ in range(5):
        world.create()
    answers = itertools.cycle([BROKEN, BROKEN, None])
    world.stripe.refuse = lambda question: next(answers) if isinstance(question, RunsFrom) else None
    assert kinds(world.pass_by(200))["RunsFrom"] > 10
    assert not world.plan.words


def test_a_page_that_fails_once_is_asked_for_again() -> None:
    """A single run is retrieved in between, to tell whether it is the list alone."""
    world = World()
    for _ in range(5):
        world.create()
    world.stripe.refuse = refusing(BROKEN, RunsFrom, times=1)
    assert [type(question) for question in world.pass_by(6)] == [RunsFrom, OneRun, RunsFrom]
    assert not world.plan.words


def test_a_status_that_nobody_knows_is_said_and_waited_over() -> None:
    """It is not an end."""
    world = World()
    _, waiter = world.create(ends=START, status="archived")
    world.create()
    world.pass_by(60)
    assert world.outcome(waiter) is None
    assert {words for who, words in world.said if who is waiter} == {
        "Report run frr_0 has the unknown status 'archived'; it counts as pending."
    }


# Events


def test_events_tell_of_ends_for_one_request_a_look() -> None:
    """However many runs there are: each is looked at once when it joins, and events do the rest."""
    world = World(use_events=True)
    pairs = [world.create() for _ in range(300)]
    assert kinds(world.pass_by(1)) == {"EndsSince": 1, "RunsFrom": 3}
    for n, (run, _) in enumerate(pairs):
        run.ends, run.status = world.now + n, "failed" if n % 7 == 0 else "succeeded"
    asked = kinds(world.pass_by(400))
    assert set(asked) == {"EndsSince"}
    assert asked["EndsSince"] <= 400 / 6
    assert [world.outcome(it) for _, it in pairs] == [run.status for run, _ in pairs]


def test_the_first_look_at_events_reads_one() -> None:
    """Which says from where on to read; what is older may be a month of them."""
    world = World(use_events=True)
    for _ in range(250):
        world.stripe.create(ends=START)
    world.stripe.now += 1000
    world.create()
    assert kinds(world.pass_by(1)) == {"EndsSince": 1, "OneRun": 1}
    assert EndsSince(None) in [question for _, question in world.asked]


def test_who_comes_hastens_the_events_and_not_within_their_pause() -> None:
    """The first look is at once; a look that was a moment ago is followed by one when the pause is over."""
    feed = Feed()
    assert (feed.works, feed.fails, feed.is_whole) == (True, "", True)
    feed.due = math.inf
    feed.hasten(START)
    assert feed.due == START
    feed.read(feed.question(), ListPage((), has_more=False), START)
    feed.due = math.inf
    feed.hasten(START + 1)
    assert feed.due == START + SHORTEST_SHARED_PAUSE
    feed.hasten(START)
    assert feed.due == START + SHORTEST_SHARED_PAUSE


def test_events_are_read_over_several_pages() -> None:
    """Others' runs end, too; and what comes between two pages is read the next time."""
    world = World(use_events=True, page_size=3)
    world.pass_by(1)
    _, waiter = world.create(ends=START + 8)
    world.pass_by(2)
    for _ in range(10):
        world.stripe.create(ends=START + 8.5)
    late, at_last = world.create()

    def ends_between(question: Question) -> None:
        if isinstance(question, EndsSince) and question.after:
            late.ends = min(late.ends, world.now)

    world.stripe.refuse = ends_between
    world.pass_by(30)
    assert late.ends < START + 30
    assert (world.outcome(waiter), world.outcome(at_last)) == ("succeeded", "succeeded")
    assert not world.plan.events_fail


def test_events_that_come_out_of_order_are_read() -> None:
    """Seconds are asked for again that were read already."""
    world = World(use_events=True)
    one, first = world.create()
    two, second = world.create()
    world.pass_by(14)
    one.ends, two.ends, two.has_event = world.now + 3, world.now + 1.5, False
    world.pass_by(14)
    two.has_event = True
    world.pass_by(14)
    assert (world.outcome(first), world.outcome(second)) == ("succeeded", "succeeded")


def test_a_run_is_looked_at_all_the_same_when_it_has_doubled_its_age() -> None:
    """At first after ten minutes: events are not the truth."""
    world = World(use_events=True)
    run, _ = world.create()
    world.pass_by(6000)
    assert looks_at(world, OneRun(run.id)) == pytest.approx([0, 600, 1200, 2400, 4800], abs=15)


def test_an_account_whose_events_miss_a_run_is_served_by_the_list() -> None:
    """From then on, with one line of log, and also where they are turned on anew."""
    world = World(use_events=True, page_size=5)
    pairs = [world.create() for _ in range(5)]
    for run, _ in pairs:
        run.ends, run.has_event = START + 100, False
    world.pass_by(300)
    others = [world.create() for _ in range(5)]  # of which the next check is minutes later
    world.pass_by(400)
    assert {world.outcome(it) for _, it in pairs} == {"succeeded"}
    (words,) = world.plan.words
    assert (
        "they did not tell of the end of report run frr_4. From now on the list of report runs is asked" in words
    )
    assert "they did not tell" in world.plan.events_fail
    for run, _ in others:
        run.ends = world.now
    world.plan.use_events(True)
    assert kinds(world.pass_by(80)).keys() == {"RunsFrom"}
    assert {world.outcome(it) for _, it in others} == {"succeeded"}


def test_what_ended_before_events_were_read_is_not_missing_in_them() -> None:
    """They are turned on while runs are pending that ended since their last look."""
    world = World()
    run, waiter = world.create()
    world.stripe.now += 4000
    world.pass_by(1)
    run.ends = world.now + 1
    world.pass_by(50)
    world.stripe.create(ends=world.now + 20)  # after which events are read
    world.pass_by(50)
    world.plan.use_events(True)
    world.pass_by(300)
    assert world.outcome(waiter) == "succeeded"
    assert not world.plan.events_fail


@pytest.mark.parametrize("error", [NOT_ALLOWED, InvalidRequestError("Unrecognized URL", http_status=404)])
def test_events_that_may_not_be_read_are_done_without(error: ReportingError) -> None:
    """The key may lack the permission, and nobody fails for it."""
    world = World(use_events=True)
    pairs = [world.create() for _ in range(5)]
    world.stripe.refuse = refusing(error, EndsSince)
    asked = kinds(world.pass_by(100))
    assert asked["EndsSince"] == 1
    assert len(world.plan.words) == 1
    assert str(error) in world.plan.words[0]
    pairs[0][0].ends = world.now
    world.pass_by(14)
    assert world.outcome(pairs[0][1]) == "succeeded"


def test_while_events_fail_the_list_serves() -> None:
    """At its own pace, not faster, and events are asked for again."""
    world = World(use_events=True)
    old = [world.create() for _ in range(5)]
    world.pass_by(3000)
    failing_since = world.now
    world.stripe.refuse = refusing(BROKEN, EndsSince)
    asked = kinds(world.pass_by(3000))
    assert 8 <= asked["RunsFrom"] <= 14
    assert asked["EndsSince"] <= 16
    old[0][0].ends = old[0][0].ends = world.now
    world.pass_by(320)
    assert world.outcome(old[0][1]) == "succeeded"
    assert world.now - failing_since < 3400
    world.stripe.refuse = lambda question: None
    world.pass_by(320)
    assert kinds(world.pass_by(2000))["RunsFrom"] <= 1
    assert not world.plan.events_fail


def test_an_end_while_events_failed_is_told_by_them_later() -> None:
    """They are read from where they were read before."""
    world = World(use_events=True)
    run, waiter = world.create()
    other, _ = world.create()
    world.pass_by(20)
    other.ends = world.now
    world.pass_by(14)
    world.stripe.refuse = lambda question: BROKEN
    world.pass_by(100)
    run.ends = world.now
    world.pass_by(100)
    world.stripe.refuse = refusing(BROKEN, OneRun, RunsFrom)
    world.pass_by(140)
    assert world.outcome(waiter) == "succeeded"


def test_an_event_that_can_not_be_read_makes_its_run_be_looked_at() -> None:
    """Its own words, where there are some, go to who waits for it."""
    world = World(use_events=True)
    run, waiter = world.create()
    world.pass_by(20)
    run.ends, run.damaged = world.now, True
    world.pass_by(14)
    assert any(who is waiter and "Could not look" in words for who, words in world.said)
    run.damaged = False
    world.pass_by(60)
    assert world.outcome(waiter) == "succeeded"


def test_without_runs_no_events_are_asked_for() -> None:
    """Data is not told of by the events that are read."""
    world = World(use_events=True)
    world.stripe.data = {TYPE: 0}
    world.join(DataReaches(TYPE, 1), poll_interval=60, growth=0.0)
    assert kinds(world.pass_by(300)).keys() == {"OneType"}


def test_events_that_are_turned_off_are_asked_for_no_more() -> None:
    """The connection has changed; the list serves."""
    world = World(use_events=True)
    pairs = [world.create() for _ in range(5)]
    world.pass_by(20)
    world.plan.use_events(False)
    pairs[0][0].ends = world.now
    assert kinds(world.pass_by(7)).keys() == {"RunsFrom"}
    assert world.outcome(pairs[0][1]) == "succeeded"
    assert kinds(world.pass_by(SHORTEST_CHECK)).keys() == {"RunsFrom"}
    assert not world.plan.words


def test_events_that_are_turned_off_leave_their_runs_to_be_looked_at_soon() -> None:
    """Some seconds after they were looked at last, and not at once."""
    world = World(use_events=True)
    for _ in range(5):
        world.create()
    world.pass_by(1)
    ((looked, _),) = [(at, it) for at, it in world.asked if isinstance(it, RunsFrom)]
    world.plan.use_events(False)
    world.pass_by(8)
    (again,) = [at for at, it in world.asked if isinstance(it, RunsFrom) and at > looked]
    assert again == pytest.approx(looked + 6.5, abs=0.1)


def test_events_that_are_turned_on_are_asked_for() -> None:
    """From then on; who says so again does not make them begin anew."""
    world = World()
    pairs = [world.create() for _ in range(5)]
    world.pass_by(20)
    for _ in range(3):
        world.plan.use_events(True)
        world.pass_by(100)
    assert [it for _, it in world.asked if isinstance(it, EndsSince)].count(EndsSince(None)) == 1
    pairs[0][0].ends = world.now
    assert kinds(world.pass_by(20)).keys() == {"EndsSince"}
    assert world.outcome(pairs[0][1]) == "succeeded"


def test_who_waits_is_counted_with_since_when() -> None:
    """Each thing once, by the one who has waited longest; of room each who waits."""
    world = World()
    run = world.stripe.create()
    for since in (START + 2, START + 1):
        world.join(run.id, since=since)
        world.join(DataReaches(TYPE, 1), since=since + 10)
        world.plan.join(Waiter(RoomForReportRun(1, 60.0), Watch(since + 20, START + 100, 10.0)), START)
    assert world.plan.waiting_since() == {
        "report_run": [START + 1],
        "report_type": [START + 11],
        "room": [START + 22, START + 21],
    }


def test_slow_answers_keep_no_run_waiting_for_ever() -> None:
    """Those that fall due meanwhile come after those that were due: each is looked at within a pass."""
    world = World(page_size=5)
    runs = []
    for _ in range(100):
        runs.append(world.create()[0])
        world.stripe.now += 1
    world.stripe.latency = 2.0
    world.pass_by(60)
    shown = {run.id: run for run in world.plan.runs.values()}
    assert all(shown[run.id].seen for run in runs)
    before = {run.id: shown[run.id].looked for run in runs}
    world.pass_by(120)
    assert all(world.plan.runs[run.id].looked > before[run.id] for run in runs)


@pytest.mark.parametrize("apart", [0, 1], ids=["of one second", "a second apart"])
@pytest.mark.parametrize("latency", [0.05, 1.0, 3.0, 8.0])
def test_slow_pages_lose_none_of_those_before_them(latency: float, apart: int) -> None:
    """Who falls due again while later pages are read is not missing on them, and is not retrieved by itself."""
    world = World()
    pairs = []
    for _ in range(250):
        pairs.append(world.create())
        world.stripe.now += apart
    world.stripe.latency = latency
    assert kinds(world.pass_by(600)).keys() == {"RunsFrom"}
    for run, _ in pairs:
        run.ends = world.now
    assert kinds(world.pass_by(120)).keys() == {"RunsFrom"}
    assert {world.outcome(waiter) for _, waiter in pairs} == {"succeeded"}


@pytest.mark.parametrize(("always_new", "why"), [(False, "does not move on"), (True, "has no end in 200 pages")])
def test_events_without_an_end_are_of_no_use(always_new: bool, why: str) -> None:
    """A list that goes on for ever would keep all others waiting."""
    world = World(use_events=True, page_size=3)
    pairs, (ended, _) = [world.create() for _ in range(4)], world.create()
    ended.ends = START
    answer = world.stripe.answer
    numbers = itertools.count()

    def stuck(question: Question) -> Any:
        if not isinstance(question, EndsSince) or question.since is None:
            return answer(question)
        number = next(numbers)
        assert number < 2 * MOST_EVENT_PAGES
        return ListPage(({**event_of(ended), **({"id": f"evt_{number}"} if always_new else {})},), has_more=True)

    world.stripe.answer = stuck  # type: ignore[method-assign]
    world.pass_by(60)
    assert why in world.plan.events_fail
    assert next(numbers) == (MOST_EVENT_PAGES + 1 if always_new else 2)
    for run, _ in pairs:
        run.ends = world.now
    world.pass_by(60)
    assert {world.outcome(it) for _, it in pairs} == {"succeeded"}


def test_failed_runs_that_events_do_not_tell_of_end_their_use() -> None:
    """Stripe doesn't say when a run failed, so they have a minute from when it is known."""
    world = World(use_events=True, page_size=5)
    pairs = [world.create() for _ in range(3)]
    pairs[0][0].ends, pairs[0][0].status, pairs[0][0].has_event = START + 100, "failed", False
    world.pass_by(800)
    assert world.outcome(pairs[0][1]) == "failed"
    assert f"they did not tell of the end of report run {pairs[0][0].id}" in world.plan.events_fail


@pytest.mark.parametrize("together", [True, False])
def test_a_failed_run_that_events_tell_of_late_is_no_reason_to_stop(together: bool) -> None:
    """They have a minute, whichever look was the first to show it."""
    world = World(use_events=True)
    failing, waiter = world.create()
    if together:
        world.create()
    failing.ends, failing.status, failing.has_event = START + 590, "failed", False
    world.pass_by(612)
    assert world.outcome(waiter) == "failed"
    world.create()  # so that events are read
    assert kinds(world.pass_by(10))["EndsSince"] >= 1
    failing.has_event, failing.ends = True, world.now
    world.pass_by(300)
    assert not world.plan.events_fail


@pytest.mark.parametrize("ahead", [0, 9000, -9000])
@pytest.mark.parametrize(("ended", "missing"), [(1139, True), (1140, False), (1001, True), (1000, False)])
def test_what_events_should_have_told_of_is_known_by_stripes_clock(ahead: int, ended: int, missing: bool) -> None:
    """What ended since they were first read, and a minute before they were read last, whatever time it is here."""
    plan, of_run, of_events = Plan(use_events=True, phase=0.0), OneRun("frr_0"), EndsSince(None)
    now = 1_000_000.0 + ahead
    plan.join(Waiter(ReportRunEnds("frr_0"), Watch(now, now + 1e6, 10.0)), now)

    def page(at: int) -> ListPage:
        return ListPage((), has_more=False, seen_at=1_000_000.0 - 1000 + at if ahead else None)

    body = {**Run("frr_0", 999_990).body(0.0)}
    plan.answered(of_events, page(1000), now)
    plan.answered(of_run, ReportRun.from_api(body), now)
    plan.answered(of_events, page(1200), now + 200)
    done = {**Run("frr_0", 999_990, ends=1_000_000.0 - 1000 + ended).body(math.inf)}
    told = plan.answered(of_run, ReportRun.from_api(done), now + 210)
    assert len(told) == 1
    assert bool(plan.events_fail) is missing
