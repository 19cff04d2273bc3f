from __future__ import annotations

from typing import Any

import pytest

from airflow_reportrun.reporting.errors import (
    APIConnectionError,
    InvalidRequestError,
    RateLimitError,
    ReportingError,
    UnexpectedResponseError,
)
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.waiting.events import ReportRunEvent
from airflow_reportrun.waiting.goals import ReportRunEnds
from airflow_reportrun.waiting.loop import MOST_RENEWALS, wait
from airflow_reportrun.waiting.pace import Watch
from tests.test_models import RUN

PENDING = {**RUN, "status": "pending", "result": None, "succeeded_at": None}


class Scripted:
    """A client that answers with what it was given, and then goes on with the last."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def send(self, request: Any) -> ReportRun:
        """Answer, or raise."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, ReportingError):
            raise answer
        return ReportRun.from_api(answer)

    def renew(self) -> bool:
        """Change nothing."""
        return False


class Unsteady(Scripted):
    """A client whose connection is another one at each look-up, so many times."""

    def __init__(self, times: int, *answers: Any) -> None:
        super().__init__(*answers)
        self.left, self.sent = times, 0

    def send(self, request: Any) -> ReportRun:
        """Count, and answer."""
        self.sent += 1
        return super().send(request)

    def renew(self) -> bool:
        """Change while there is something left."""
        self.left -= 1
        return self.left >= 0


def wait_for(client: Any, watch: Watch) -> tuple[ReportRunEvent, list[float]]:
    now, slept = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    return wait(client, ReportRunEnds("frr_1"), watch, clock=lambda: now[0], sleep=sleep), slept


def test_looks_until_the_run_has_ended() -> None:
    """With pauses that grow with its age."""
    event, slept = wait_for(Scripted(*[PENDING] * 8, RUN), Watch(0, 3600, 10))
    assert event.outcome == "succeeded"
    assert slept == [10, 10, 10, 10, 10, 12.5, 15.625, 19.53125]


@pytest.mark.parametrize(
    "error",
    [
        APIConnectionError("reset"),
        RateLimitError("Slow down.", http_status=429),
        UnexpectedResponseError("a login page"),
    ],
)
def test_an_error_that_passes_says_nothing_about_the_run(error: ReportingError) -> None:
    """The run goes on at Stripe meanwhile."""
    event, slept = wait_for(Scripted(error, error, RUN), Watch(0, 3600, 10))
    assert (event.outcome, len(slept)) == ("succeeded", 2)


def test_an_error_that_stays_ends_the_waiting() -> None:
    """Looking again would not change it."""
    event, slept = wait_for(Scripted(InvalidRequestError("No such run", http_status=404)), Watch(0, 3600, 10))
    assert (event.outcome, slept) == ("error", [])
    assert "No such run" in str(event.message)


@pytest.mark.parametrize("answer", [PENDING, {**PENDING, "status": "archived"}, APIConnectionError("reset")])
def test_gives_up_after_one_look_at_the_deadline(answer: Any) -> None:
    """Pending, unknown and unreachable are all not an end."""
    event, slept = wait_for(Scripted(answer), Watch(0, 60, 50))
    assert event.outcome == "timeout"
    assert slept == [50, 10]


EXPIRED = InvalidRequestError("Expired API Key", http_status=401)


def test_a_connection_that_is_never_the_same_ends_the_waiting() -> None:
    """As from a back-end that makes a key for each look-up: what such a look says is final in the end."""
    client = Unsteady(10**6, EXPIRED)
    event, slept = wait_for(client, Watch(0, 3600, 10))
    assert (event.outcome, slept, client.sent) == ("error", [], 1 + MOST_RENEWALS)


def test_a_key_that_was_rotated_twice_is_found() -> None:
    """Each renewal is followed by a look."""
    event, slept = wait_for(Unsteady(2, EXPIRED, EXPIRED, RUN), Watch(0, 3600, 10))
    assert (event.outcome, slept) == ("succeeded", [])
