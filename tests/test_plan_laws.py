"""Whoever waits is told of its own run once, and not before it has ended, for few requests: by Hypothesis."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from airflow_reportrun.reporting.errors import (
    APIConnectionError,
    AuthenticationError,
    InvalidRequestError,
    PermissionDeniedError,
    RateLimitError,
    ReportingError,
    ServerError,
    UnexpectedResponseError,
)
from airflow_reportrun.waiting.awaited import Waiter
from airflow_reportrun.waiting.events import Event
from airflow_reportrun.waiting.goals import DataReaches, ReportRunEnds
from airflow_reportrun.waiting.pace import Watch
from airflow_reportrun.waiting.plan import PAUSES, SHORTEST_CHECK, Plan
from airflow_reportrun.waiting.questions import EndsSince, OneRun, OneType, Question, RunsFrom
from tests.stripe_model import Run, World

TYPES = ("balance.summary.1", "payouts.summary.1")
PAGE = 3

ERRORS: dict[str, Callable[[], ReportingError]] = {
    "429": lambda: RateLimitError("Slow down.", http_status=429),
    "429, with a pause": lambda: RateLimitError("Slow down.", http_status=429, retry_after=30),
    "500": lambda: ServerError("Something went wrong.", http_status=500),
    "reset": lambda: APIConnectionError("reset"),
    "login page": lambda: UnexpectedResponseError("a login page"),
}
LATEST_RETRY = 60.0
"""Seconds, at most, that an error puts the next question off."""

pauses = st.sampled_from([0.5, 3.0, 7.0, 30.0, 100.0, 700.0, 4000.0])
deadlines = st.sampled_from([1e7, 1e7, 400.0, 20.0, -5.0])
polls = st.sampled_from([1.0, 10.0, 60.0, 400.0])
kinds: st.SearchStrategy[type[Question]] = st.sampled_from([OneRun, OneType, RunsFrom, EndsSince])


@dataclass(eq=False)
class Someone:
    """Who waits, through restarts of the triggerer, each of which it begins anew from its arguments."""

    goal: ReportRunEnds | DataReaches
    watch: Watch
    joined: float
    waiter: Waiter = field(init=False)
    restarts: int = 0
    left: float = math.inf
    events: list[Event] = field(default_factory=list)


class Waiting(RuleBasedStateMachine):
    """Everything that can happen to a watcher, in any order; at the end all is well, and all are told."""

    @initialize(use_events=st.booleans())
    def begin(self, use_events: bool) -> None:
        """Start with nobody, beside some runs of others."""
        self.world = World(use_events=use_events, page_size=PAGE)
        self.stripe = self.world.stripe
        self.stripe.data = dict.fromkeys(TYPES, 0)
        self.stripe.refuse = self.refusal
        self.everybody: list[Someone] = []
        self.use_events = use_events
        self.troubles: list[tuple[type[Question], str]] = []
        self.stubborn: set[Question] = set()
        self.key_is_wrong = self.events_forbidden = self.list_is_broken = False
        self.refused_in_a_row = 0
        self.not_before = -math.inf
        self.forgotten = 0
        for _ in range(4):
            self.stripe.create()

    def refusal(self, question: Question) -> ReportingError | None:
        """Return what a question meets; none may come while the next one is put off."""
        assert self.world.now >= self.not_before - 1e-6, "asked before it may"
        error = self.meets(question)
        if error is None:
            self.refused_in_a_row = 0
        elif error.is_transient and not isinstance(error, UnexpectedResponseError):
            self.refused_in_a_row += 1
            doubled = PAUSES.first_pause * 2.0 ** (self.refused_in_a_row - 1)
            least = min(PAUSES.longest_pause, doubled) / 2
            self.not_before = self.world.now + max(least, getattr(error, "retry_after", None) or 0.0)
        return error

    def meets(self, question: Question) -> ReportingError | None:
        """Return what is wrong with a question just now."""
        if self.key_is_wrong:
            return AuthenticationError("Expired API Key", http_status=401)
        if self.events_forbidden and isinstance(question, EndsSince):
            return PermissionDeniedError("The key may not read events.", http_status=403)
        if self.list_is_broken and isinstance(question, RunsFrom):
            return InvalidRequestError("Unknown parameter", http_status=400)
        if question in self.stubborn:
            return ServerError("Something went wrong.", http_status=500)
        if self.troubles and isinstance(question, self.troubles[0][0]):
            return ERRORS[self.troubles.pop(0)[1]]()
        return None

    # Who waits

    def subscribe(
        self, goal: ReportRunEnds | DataReaches, since: float, deadline: float, poll: float, growth: float
    ) -> Someone:
        """Let somebody wait, from now on."""
        someone = Someone(goal, Watch(since, self.world.now + deadline, poll, growth), self.world.now)
        self.everybody.append(someone)
        self.join(someone)
        return someone

    def join(self, someone: Someone) -> None:
        """Begin to wait, or begin again."""
        someone.waiter = Waiter(someone.goal, someone.watch)
        self.world.plan.join(someone.waiter, self.world.now)

    def waiting(self) -> list[Someone]:
        """Return who waits now."""
        return [it for it in self.everybody if not it.events and it.left == math.inf]

    @rule(runs=st.integers(1, 8), deadline=deadlines)
    def operators_create_and_wait(self, runs: int, deadline: float) -> None:
        """Some runs of one second, each waited for since it was created."""
        for _ in range(runs):
            run = self.stripe.create()
            self.subscribe(ReportRunEnds(run.id), run.created, deadline, 10.0, 0.25)

    @rule(data=st.data(), deadline=deadlines, poll=polls, skew=st.sampled_from([0.0, 0.0, -200.0, 0.5, 200.0]))
    def a_sensor_waits(self, data: st.DataObject, deadline: float, poll: float, skew: float) -> None:
        """For a run that may be old, may be waited for already, and may have ended; by a clock of its own."""
        run = data.draw(st.sampled_from([*self.stripe.runs.values()]))
        self.subscribe(ReportRunEnds(run.id), self.world.now + skew, deadline, poll, 0.0)

    @rule(report_type=st.sampled_from(TYPES), until=st.integers(1, 3), deadline=deadlines, poll=polls)
    def a_sensor_waits_for_data(self, report_type: str, until: int, deadline: float, poll: float) -> None:
        """Which may be there."""
        self.subscribe(DataReaches(report_type, until), self.world.now, deadline, poll, 0.0)

    @rule()
    def somebody_waits_for_what_there_is_not(self) -> None:
        """A run of another account."""
        self.forgotten += 1
        goal = ReportRunEnds(f"frr_gone_{self.forgotten}")
        self.subscribe(goal, self.world.now, 1e7, 10.0, 0.25)

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def somebody_leaves(self, data: st.DataObject) -> None:
        """Its task was cleared."""
        someone = data.draw(st.sampled_from(self.waiting()))
        self.world.plan.leave(someone.waiter)
        someone.left = self.world.now

    @rule(use_events=st.booleans())
    def the_triggerer_restarts(self, use_events: bool) -> None:
        """A new plan knows nothing but what the triggers' arguments say."""
        self.use_events = use_events
        self.world.plan = Plan(use_events=use_events, phase=0.0)
        self.not_before = -math.inf
        self.refused_in_a_row = 0
        for someone in self.waiting():
            someone.restarts += 1
            self.join(someone)

    @rule(use_events=st.booleans())
    def the_connection_is_read_anew(self, use_events: bool) -> None:
        """And says whether events may be asked for."""
        self.use_events = use_events
        self.world.plan.use_events(use_events)

    # What happens at Stripe

    @rule(runs=st.integers(1, 7))
    def others_create(self, runs: int) -> None:
        """Pages begin with other runs than before."""
        for _ in range(runs):
            self.stripe.create()

    @rule(
        data=st.data(),
        status=st.sampled_from(["succeeded", "succeeded", "failed", "archived"]),
        has_event=st.booleans(),
    )
    def a_run_ends(self, data: st.DataObject, status: str, has_event: bool) -> None:
        """Or comes to a status that nobody knows; the events may miss it."""
        pending = [run for run in self.stripe.runs.values() if run.ends == math.inf]
        if pending:
            run = data.draw(st.sampled_from(pending))
            run.ends, run.status, run.has_event = self.world.now, status, has_event

    @rule(report_type=st.sampled_from(TYPES))
    def data_moves_on(self, report_type: str) -> None:
        """By some of what is waited for."""
        self.stripe.data[report_type] += 1

    # What goes wrong

    @rule(kind=kinds, error=st.sampled_from([*ERRORS]), times=st.integers(1, 5))
    def trouble(self, kind: type[Question], error: str, times: int) -> None:
        """An error that passes."""
        self.troubles += [(kind, error)] * times

    @rule(data=st.data())
    def a_run_is_damaged(self, data: st.DataObject) -> None:
        """No answer about it can be read, for now."""
        data.draw(st.sampled_from([*self.stripe.runs.values()])).damaged = True

    @rule(data=st.data())
    def one_thing_fails(self, data: st.DataObject) -> None:
        """Each look at it by itself, for now."""
        of_types: list[Question] = [OneType(it) for it in TYPES]
        self.stubborn.add(data.draw(st.sampled_from([*of_types, *map(OneRun, self.stripe.runs)])))

    @rule(events=st.booleans(), lists=st.booleans())
    def an_endpoint_fails(self, events: bool, lists: bool) -> None:
        """The key may not read events; the list has its day."""
        self.events_forbidden, self.list_is_broken = events, lists

    @precondition(lambda self: self.waiting())
    @rule()
    def the_key_is_revoked(self) -> None:
        """All who wait are told, each once, and whoever comes later begins anew."""
        before, failed = self.waiting(), len(self.world.failed)
        self.key_is_wrong = True
        self.time_passes(1000.0)
        if any(isinstance(error, AuthenticationError) for _, error in self.world.failed[failed:]):
            assert not self.waiting()
            assert all(it.events for it in before)
        self.key_is_wrong = False

    @rule()
    def all_is_well_again(self) -> None:
        """Stripe has mended what was broken."""
        self.troubles, self.stubborn = [], set()
        self.events_forbidden = self.list_is_broken = False
        for run in self.stripe.runs.values():
            run.damaged = False

    @rule(seconds=pauses)
    def time_passes(self, seconds: float) -> None:
        """And questions are asked in it."""
        before = len(self.world.told)
        self.world.pass_by(seconds)
        for at, waiter, event in self.world.told[before:]:
            self.check(at, waiter, event)

    def check(self, at: float, waiter: Waiter, event: Event) -> None:
        """One event, its own, and true."""
        (someone,) = [it for it in self.everybody if it.waiter is waiter]
        assert someone.left == math.inf, "told who had gone"
        assert not someone.events, "told twice"
        someone.events.append(event)
        goal, payload = someone.goal, event.as_payload()
        refused = any(when >= someone.watch.deadline - 1 for when, _ in self.world.failed)
        if isinstance(goal, ReportRunEnds):
            assert payload["report_run_id"] == goal.report_run_id
            run = self.stripe.runs.get(goal.report_run_id)
            if event.outcome in ("succeeded", "failed"):
                assert run is not None
                assert (run.status, payload["report_run"]["report_run_id"]) == (event.outcome, run.id)
                assert run.ends <= at
            elif event.outcome == "timeout":
                assert at >= someone.watch.deadline
                in_time = run and ended(run) and run.ends < someone.watch.deadline - 1
                assert not in_time or refused
            else:
                assert run is None or self.key_is_wrong
        elif event.outcome == "available":
            assert self.stripe.data[goal.report_type] >= goal.until
        elif event.outcome == "timeout":
            assert at >= someone.watch.deadline
            assert self.stripe.data[goal.report_type] < goal.until or refused
        else:
            assert self.key_is_wrong

    def teardown(self) -> None:
        """Everything ends, and all are told within what their paces allow; and requests were few."""
        if not hasattr(self, "world"):
            return
        for run in self.stripe.runs.values():
            if not ended(run):
                run.ends, run.status, run.has_event = self.world.now, "succeeded", True
        self.stripe.data = dict.fromkeys(TYPES, 3)
        self.troubles, self.events_forbidden, self.list_is_broken = [], False, False
        self.all_are_told([it for it in self.waiting() if not self.is_afflicted(it)])
        self.all_is_well_again()
        self.all_are_told(self.waiting())
        assert self.world.plan.ask(self.world.now) == math.inf
        self.few_requests()

    def is_afflicted(self, someone: Someone) -> bool:
        """Tell whether looks at what somebody waits for can't be answered, which is to hurt nobody else."""
        if isinstance(someone.goal, DataReaches):
            return OneType(someone.goal.report_type) in self.stubborn
        run = self.stripe.runs.get(someone.goal.report_run_id)
        return bool(run and (run.damaged or OneRun(run.id) in self.stubborn))

    def all_are_told(self, waiting: list[Someone]) -> None:
        """Let as much time pass as it may take, and no more."""
        since = self.world.now
        within = {id(it): self.bound(it, since) for it in waiting}
        self.time_passes(max(within.values(), default=0.0))
        for someone in waiting:
            assert someone.events, f"{someone} was never told"
            (at,) = [at for at, waiter, _ in self.world.told if waiter is someone.waiter]
            assert at <= since + within[id(someone)], f"{someone} was told late"

    def bound(self, someone: Someone, now: float) -> float:
        """Return the seconds in which somebody has to be told of what has ended by now.

        A pause of its own, and what can lie in between: a put-off, the last time without lists, the questions of
        others. Where events are asked for, one that they miss is seen when the run has doubled its age.
        """
        questions = 0.05 * 4 * (len(self.everybody) + len(self.stripe.runs))
        own = 1.05 * someone.watch.own_pause(now + 2 * LATEST_RETRY)
        run = self.stripe.runs.get(getattr(someone.goal, "report_run_id", ""))
        if run and not run.has_event and self.use_events and not self.world.plan.events_fail:
            own = max(own, SHORTEST_CHECK, now + LATEST_RETRY - min(run.created, someone.watch.since))
        afflicted = len(self.stubborn) + sum(run.damaged for run in self.stripe.runs.values())
        return own + (3 + afflicted) * LATEST_RETRY + questions

    def few_requests(self) -> None:
        """Count what was asked against what all would have asked alone, each at its own pace.

        Each join may cost two looks at runs more (a page that does not show its run, and the run), and one at the
        events; each deadline a last look; each error another question, or two.
        """
        now = self.world.now
        alone = 0.0
        for it in self.everybody:
            told = [at for at, waiter, _ in self.world.told if waiter is it.waiter]
            waited = min(told[0] if told else now, it.left) - it.joined
            alone += 5 * (1 + it.restarts) + 1 + waited / (0.9 * it.watch.poll_interval)
        failures = sum(error.is_transient for _, error in self.world.failed)
        crowd = 1 + max((self.of_second(run) for run in self.stripe.runs.values()), default=0) // PAGE
        first_pages = [question for _, question in self.world.asked if getattr(question, "after", None) is None]
        assert len(first_pages) <= alone + 3 * failures
        assert len(self.world.asked) <= crowd * (alone + 3 * failures) + len(self.stripe.runs)

    def of_second(self, run: Run) -> int:
        """Return how many runs were created in the same second."""
        return sum(other.created == run.created for other in self.stripe.runs.values())


def ended(run: Run) -> bool:
    """Tell whether a run has ended, and not in a status that nobody knows."""
    return run.ends < math.inf and run.status in ("succeeded", "failed")


def test_everybody_is_told_of_its_own_once_and_for_few_requests() -> None:
    """Any sequence of joins, ends, departures, errors, revoked keys, pages that shift and restarts."""
    run_state_machine_as_test(
        Waiting,
        settings=settings(max_examples=300, stateful_step_count=25, suppress_health_check=list(HealthCheck)),
    )
