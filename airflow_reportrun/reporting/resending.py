"""Whether a request is worth sending again, and after how long: decisions without I/O.

Source: https://docs.stripe.com/error-low-level.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Any

from tenacity import Retrying, retry_if_exception

from airflow_reportrun.reporting.errors import (
    APIError,
    ConnectionLookUpError,
    DataNotReadyError,
    RateLimitError,
    ReportingError,
)

if TYPE_CHECKING:
    from tenacity import RetryCallState

log = logging.getLogger(__name__)

BETWEEN_LINES = 60.0
"""Seconds between two lines of log about refusals."""


def is_worth_another_try(error: BaseException) -> bool:
    """Return whether the same request, with the same idempotency key, may get a better answer.

    A stored answer never is: the key would get it again. Then Stripe's own word (``Stripe-Should-Retry``) decides;
    without it, conflicts, rate limits, server errors and broken connections are worth another try. Data that is
    not ready won't be in seconds, and for Airflow's connections there are the retries of the task.
    """
    if isinstance(error, APIError):
        if error.stored:
            return False
        if error.should_retry is not None:
            return error.should_retry
        return error.is_transient and not isinstance(error, DataNotReadyError)
    return (
        isinstance(error, ReportingError) and error.is_transient and not isinstance(error, ConnectionLookUpError)
    )


@dataclass(frozen=True)
class ResendPolicy:
    """How often and how long to try one request.

    The pause doubles with each try, is shortened by up to a half at random so that a thousand tasks don't
    come back in step, and is never shorter than a ``Retry-After``.

    A refusal for too many requests spends no try. The request is sent again at random within a pause that doubles,
    too, so that a thousand processes that were refused at once come back spread over it.

    One call ends within ``max_tries`` times the limit of one exchange, which is the connection's ``timeout``, and
    ``max_wait``: eight minutes by default, and longer only where requests can't connect to any of a host's many
    addresses, or are refused. A download's limit grows with its file.

    :param max_tries: requests in all.
    :param max_wait: seconds of waiting in all; a pause that would exceed them is not begun.
    :param first_pause: seconds before the second try.
    :param longest_pause: seconds that the doubling ends at.
    :param max_refused: seconds of waiting in all after refusals.
    :param first_refused: seconds before a request is sent again that was refused, at most.
    :param longest_refused: seconds that this doubling ends at.
    :param on_refused: told of each pause after a refusal: its seconds, and Stripe's reason.
    """

    max_tries: int = 6
    max_wait: float = 120.0
    first_pause: float = 0.5
    longest_pause: float = 20.0
    max_refused: float = 600.0
    first_refused: float = 1.0
    longest_refused: float = 60.0
    on_refused: Callable[[float, str | None], object] = lambda seconds, reason: None

    def pause(self, error: BaseException | None, tries: int) -> float:
        """Return the seconds to wait after so many tries."""
        doubled = _doubled(self.first_pause, tries, self.longest_pause)
        jittered = doubled * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        return max(jittered, getattr(error, "retry_after", None) or 0.0)

    def refused_pause(self, error: BaseException | None, refusals: int) -> float:
        """Return the seconds to wait after so many refusals."""
        doubled = _doubled(self.first_refused, refusals, self.longest_refused)
        jittered = random.uniform(0.0, doubled)  # noqa: S311 - spreads load, guards nothing
        return max(jittered, getattr(error, "retry_after", None) or 0.0)

    def options(self) -> dict[str, Any]:
        """Return the options that make tenacity's ``Retrying`` and ``AsyncRetrying`` follow this policy, once."""
        tally = _Tally(self)
        return {
            "retry": retry_if_exception(is_worth_another_try),
            "wait": tally.pause,
            "stop": tally.is_over,
            "before_sleep": tally.say,
            "reraise": True,
        }


def _doubled(first: float, times: int, longest: float) -> float:
    return min(longest, first * 2.0 ** min(times - 1, 32))


class _Tally:
    """What one request has met so far. tenacity asks for the pause first, once each time."""

    def __init__(self, policy: ResendPolicy) -> None:
        self._policy = policy
        self._tries = self._refusals = 0
        self._refused = False
        self._refused_wait = 0.0

    def pause(self, state: RetryCallState) -> float:
        error = _error(state)
        self._refused = isinstance(error, RateLimitError) and error.is_about_rates
        if self._refused:
            self._refusals += 1
            return self._policy.refused_pause(error, self._refusals)
        self._tries += 1
        return self._policy.pause(error, self._tries)

    def is_over(self, state: RetryCallState) -> bool:
        if self._refused:
            self._refused_wait += state.upcoming_sleep
            return self._refused_wait > self._policy.max_refused
        waited = state.idle_for - self._refused_wait
        return self._tries >= self._policy.max_tries or waited + state.upcoming_sleep > self._policy.max_wait

    def say(self, state: RetryCallState) -> None:
        if self._refused:
            error = _error(state)
            self._policy.on_refused(state.upcoming_sleep, getattr(error, "rate_limited_reason", None))
            REFUSALS.count(error, state.upcoming_sleep)
        else:
            log.warning(
                "%s. Try %d of %d follows in %.1f s.",
                _error(state),
                self._tries + 1,
                self._policy.max_tries,
                state.upcoming_sleep,
            )


class Refusals:
    """Says in one line a minute how many requests were refused, instead of in one for each.

    :param clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget those so far."""
        self._lock = Lock()
        self._said_at = -inf
        self._number, self._paused = 0, 0.0

    def count(self, error: BaseException | None, pause: float) -> None:
        """Count one that is sent again after so many seconds."""
        with self._lock:
            self._number += 1
            self._paused += pause
            if (now := self._clock()) - self._said_at < BETWEEN_LINES:
                return
            number, paused = self._number, self._paused
            self._said_at, self._number, self._paused = now, 0, 0.0
        log.warning(
            "Requests of this process that Stripe refused for its rate limits: %d. They pause for %.1f s in all, "
            "are sent again and spend no try. The last one: %s",
            number,
            paused,
            error,
        )


REFUSALS = Refusals()
"""Those of this process."""
# A lock that another thread holds while a process is forked is never released in the child.
os.register_at_fork(after_in_child=REFUSALS.begin_anew)


class Tries:
    """The tries of something that keeps what it has between them: a policy's loop, turned inside out.

    :param sleep: waits for so many seconds.
    """

    def __init__(self, policy: ResendPolicy, sleep: Callable[[float], None]) -> None:
        self._policy = policy
        self._sleep = sleep
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget the tries so far, as after one that was worth it."""
        self._tries = iter(Retrying(sleep=self._sleep, **self._policy.options()))
        self._this = next(self._tries)

    def failed(self, error: Exception) -> None:
        """Wait before the next try, or raise the error of this one where it is the last."""
        with self._this:
            raise error
        following = next(self._tries, None)
        if following is None:  # asked again after the last
            raise error
        self._this = following


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
