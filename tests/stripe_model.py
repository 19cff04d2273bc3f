"""Stripe as a plan of looks sees it, without a wire, and who drives the plan."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_reportrun.reporting.errors import InvalidRequestError, ReportingError
from airflow_reportrun.reporting.models import ListPage, ReportRun, ReportType
from airflow_reportrun.waiting.awaited import Waiter
from airflow_reportrun.waiting.events import Event
from airflow_reportrun.waiting.goals import DataReaches, ReportRunEnds, StillWaiting
from airflow_reportrun.waiting.pace import Watch
from airflow_reportrun.waiting.plan import Plan, Told
from airflow_reportrun.waiting.questions import OneRun, OneType, Question, RunsFrom
from airflow_reportrun.waiting.room import Count
from tests.test_models import FILE, RUN

START = 1_700_000_000.0


@dataclass
class Run:
    """A report run; it ends as ``status`` at ``ends``, and what is damaged can't be read."""

    id: str
    created: int
    ends: float = math.inf
    status: str = "succeeded"
    damaged: bool = False
    has_event: bool = True

    def body(self, now: float) -> dict[str, Any]:
        """Show the run."""
        status = self.status if now >= self.ends else "pending"
        done = status == "succeeded"
        return {
            **RUN,
            "id": self.id,
            "created": None if self.damaged else self.created,
            "status": status,
            "result": FILE if done else None,
            "succeeded_at": int(self.ends) if done else None,
        }


class Stripe:
    """Answers questions.

    :param page_size: of lists, so that a few runs fill one.
    :ivar refuse: the error that a question meets.
    """

    def __init__(self, page_size: int = 100) -> None:
        self.page_size = page_size
        self.now = START
        self.runs: dict[str, Run] = {}
        self.data: dict[str, int] = {}
        self.latency = 0.05
        self.refuse: Callable[[Question], ReportingError | None] = lambda question: None

    def create(self, **how: Any) -> Run:
        """Begin a run now."""
        run = Run(f"frr_{len(self.runs)}", int(self.now), **how)
        self.runs[run.id] = run
        return run

    def answer(self, question: Question) -> Any:
        """Answer, or raise."""
        if error := self.refuse(question):
            raise error
        if isinstance(question, OneRun):
            if question.report_run_id not in self.runs:
                raise InvalidRequestError("No such report run", http_status=404, code="resource_missing")
            return ReportRun.from_api(self.runs[question.report_run_id].body(self.now), seen_at=self.now)
        if isinstance(question, OneType):
            if question.report_type not in self.data:
                raise InvalidRequestError("No such report type", http_status=404, code="resource_missing")
            reached = self.data[question.report_type]
            return ReportType(question.report_type, "", 0, reached, (), livemode=False, updated=0, version=1)
        newest_first = [*self.runs.values()][::-1]
        if isinstance(question, Count):
            listed = self._after(newest_first, question.last)
            return self._page([it.body(self.now) for it in listed if it.created >= question.since], self.page_size)
        if isinstance(question, RunsFrom):
            listed = self._after(newest_first, question.after)
            inside = [run for run in listed if question.oldest <= run.created <= question.newest]
            return self._page([run.body(self.now) for run in inside], self.page_size)
        told = [run for run in self.runs.values() if run.has_event and run.ends <= self.now]
        told = [run for run in told if run.status in ("succeeded", "failed")]
        listed = self._after(sorted(told, key=lambda run: run.ends, reverse=True), question.after, "evt_")
        recent = [run for run in listed if int(run.ends) >= (question.since or 0)]
        return self._page([event_of(run) for run in recent], 1 if question.since is None else self.page_size)

    def _after(self, runs: list[Run], cursor: str | None, prefix: str = "") -> list[Run]:
        if cursor is None:
            return runs
        return runs[[prefix + run.id for run in runs].index(cursor) + 1 :]

    def _page(self, items: list[Any], size: int) -> ListPage:
        return ListPage(tuple(items[:size]), len(items) > size, seen_at=self.now)


def event_of(run: Run) -> dict[str, Any]:
    body = run.body(run.ends)
    return {"object": "event", "id": "evt_" + run.id, "created": int(run.ends), "data": {"object": body}}


class World:
    """A plan and the Stripe that it asks, one question at a time, each answered within 50 ms.

    :ivar asked: when each question was asked.
    :ivar failed: when what error came of one.
    :ivar told: when who was told of an end.
    :ivar said: words, to whom.
    """

    def __init__(self, *, use_events: bool = False, page_size: int = 100) -> None:
        self.stripe = Stripe(page_size)
        self.plan = Plan(use_events=use_events, phase=0.0)
        self.asked: list[tuple[float, Question]] = []
        self.failed: list[tuple[float, ReportingError]] = []
        self.told: list[tuple[float, Waiter, Event]] = []
        self.said: list[tuple[Waiter, str]] = []

    @property
    def now(self) -> float:
        """The time, in epoch seconds."""
        return self.stripe.now

    def join(
        self, goal: str | DataReaches, *, since: float | None = None, deadline: float = 1e6, **pace: Any
    ) -> Waiter:
        """Wait for a run or for data; with the run's ``created`` as the operator does, or another ``since``."""
        if since is None:
            since = self.stripe.runs[goal].created if isinstance(goal, str) else self.now
        watch = Watch(since, self.now + deadline, **{"poll_interval": 10.0, **pace})
        waiter = Waiter(ReportRunEnds(goal) if isinstance(goal, str) else goal, watch)
        self.plan.join(waiter, self.now)
        return waiter

    def create(self, **how: Any) -> tuple[Run, Waiter]:
        """Begin a run, and wait for it."""
        run = self.stripe.create(**how)
        return run, self.join(run.id)

    def pass_by(self, seconds: float) -> list[Question]:
        """Let time pass, and return what was asked in it."""
        before, until = len(self.asked), self.now + seconds
        while self.now < until:
            self._tell(self.plan.expired(self.now))
            question = self.plan.ask(self.now)
            if isinstance(question, float | int):
                assert question > 0, "asks for nothing, at once"
                self.stripe.now = min(until, self.now + question)
            else:
                self._tell(self.put(question))
        return [question for _, question in self.asked[before:]]

    def put(self, question: Question) -> Told:
        """Ask Stripe, and hand the answer on."""
        self.asked.append((self.now, question))
        try:
            answer = self.stripe.answer(question)
            self.stripe.now += self.stripe.latency
            return self.plan.answered(question, answer, self.now)
        except ReportingError as error:
            self.failed.append((self.now, error))
            self.stripe.now += self.stripe.latency
            return self.plan.failed(question, error, self.now)

    def _tell(self, told: Told) -> None:
        for waiter, what in told:
            if isinstance(what, StillWaiting):
                self.said.append((waiter, what.words))
            else:
                self.told.append((self.now, waiter, what))

    def outcome(self, waiter: Waiter) -> str | None:
        """Return what somebody was told, who may be told once."""
        outcomes = [event.outcome for _, who, event in self.told if who is waiter]
        assert len(outcomes) <= 1
        return outcomes[0] if outcomes else None

    def told_at(self, waiter: Waiter) -> float:
        """Return when somebody was told."""
        (at,) = [at for at, who, _ in self.told if who is waiter]
        return at
