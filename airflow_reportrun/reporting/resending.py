"""Whether a request is worth sending again, and after how long: decisions without I/O.

Source: https://docs.stripe.com/error-low-level.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenacity import Retrying, retry_if_exception

from airflow_reportrun.reporting.errors import (
    APIError,
    ConnectionLookUpError,
    DataNotReadyError,
    ReportingError,
)

if TYPE_CHECKING:
    from tenacity import RetryCallState

log = logging.getLogger(__name__)


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

    One call ends within ``max_tries`` times the limit of one exchange, which is the connection's ``timeout``, and
    ``max_wait``: eight minutes by default, and longer only where requests can't connect to any of a host's many
    addresses. A download's limit grows with its file.

    :param max_tries: requests in all.
    :param max_wait: seconds of waiting in all; a pause that would exceed them is not begun.
    :param first_pause: seconds before the second try.
    :param longest_pause: seconds that the doubling ends at.
    """

    max_tries: int = 6
    max_wait: float = 120.0
    first_pause: float = 0.5
    longest_pause: float = 20.0

    def pause(self, error: BaseException | None, tries: int) -> float:
        """Return the seconds to wait after so many tries."""
        doubled = min(self.longest_pause, self.first_pause * 2.0 ** min(tries - 1, 32))
        jittered = doubled * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        return max(jittered, getattr(error, "retry_after", None) or 0.0)

    def options(self) -> dict[str, Any]:
        """Return the options that make tenacity's ``Retrying`` and ``AsyncRetrying`` follow this policy."""
        return {
            "retry": retry_if_exception(is_worth_another_try),
            "wait": lambda state: self.pause(_error(state), state.attempt_number),
            "stop": lambda state: (
                state.attempt_number >= self.max_tries or state.idle_for + state.upcoming_sleep > self.max_wait
            ),
            "before_sleep": lambda state: log.warning(
                "%s. Try %d of %d follows in %.1f s.",
                _error(state),
                state.attempt_number + 1,
                self.max_tries,
                state.upcoming_sleep,
            ),
            "reraise": True,
        }


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
