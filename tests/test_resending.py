from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import Retrying

from airflow_reportrun.reporting.errors import (
    APIConnectionError,
    APIError,
    InvalidParametersError,
    ReportingError,
    UnexpectedResponseError,
    error_class,
)
from airflow_reportrun.reporting.resending import ResendPolicy, is_worth_another_try


def error(status: int, **facts: Any) -> APIError:
    said = facts.pop("said", "What Stripe said")
    return error_class(status, facts.get("type"), said)(said, http_status=status, **facts)


NOT_YET = "Data is only available through 2022-05-08 12:00:00 UTC; you requested `interval_end` = 2022-05-09."


@pytest.mark.parametrize(
    ("problem", "again"),
    [
        (error(400), False),
        (error(401), False),
        (error(403), False),
        (error(404), False),
        (error(409), True),
        (error(429), True),
        (error(500), True),
        (error(503), True),
        (error(500, stored=True), False),
        (error(500, stored=True, replayed=True), False),
        (error(500, stored=True, should_retry=True), False),
        (error(500, should_retry=False), False),
        (error(400, should_retry=True), True),
        (error(429, should_retry=False), False),
        (error(400, param="parameters.interval_end", said=NOT_YET), False),
        (APIConnectionError("reset"), True),
        (UnexpectedResponseError("a login page"), True),
        (InvalidParametersError("reversed"), False),
        (RuntimeError("a bug of ours"), False),
    ],
)
def test_decides_whether_to_send_again(problem: Exception, again: bool) -> None:
    """Stripe's own word first; then what can pass by itself; never what is stored under the key."""
    assert is_worth_another_try(problem) is again


@given(
    max_tries=st.integers(1, 40),
    max_wait=st.floats(0, 1000),
    retry_after=st.none() | st.floats(0, 10_000),
)
def test_retries_end(max_tries: int, max_wait: float, retry_after: float | None) -> None:
    """In number and in time, whatever a proxy asks for, and with the error that was last seen."""
    slept: list[float] = []
    calls = 0

    def fails() -> None:
        nonlocal calls
        calls += 1
        raise error(503, retry_after=retry_after)

    policy = ResendPolicy(max_tries=max_tries, max_wait=max_wait)
    with pytest.raises(ReportingError, match="What Stripe said"):
        Retrying(sleep=slept.append, **policy.options())(fails)
    assert calls <= max_tries
    assert sum(slept) <= max_wait
    assert len(slept) == calls - 1
    assert all(pause >= (retry_after or 0) for pause in slept)


@given(tries=st.integers(1, 10_000))
def test_a_pause_has_bounds_and_jitter(tries: int) -> None:
    """It never grows past the longest, and is never less than half of what the doubling says."""
    policy = ResendPolicy(first_pause=0.5, longest_pause=20)
    doubled = min(20.0, 0.5 * 2 ** min(tries - 1, 32))
    assert doubled / 2 <= policy.pause(None, tries) <= doubled
