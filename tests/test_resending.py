from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import Retrying

from airflow_reportrun.reporting import resending
from airflow_reportrun.reporting.errors import (
    APIConnectionError,
    APIError,
    InvalidParametersError,
    RateLimitError,
    ReportingError,
    UnexpectedResponseError,
    error_class,
)
from airflow_reportrun.reporting.resending import Refusals, ResendPolicy, Tries, is_worth_another_try


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


@pytest.fixture
def longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance makes each pause as long as it may be."""
    monkeypatch.setattr("random.uniform", lambda least, most: most)


def pauses_of(policy: ResendPolicy, problem: Exception) -> list[float]:
    """Return the pauses after an error that stays, until it is raised."""
    slept: list[float] = []

    def fails() -> None:
        raise problem

    with pytest.raises(type(problem)):
        Retrying(sleep=slept.append, **policy.options())(fails)
    return slept


@pytest.mark.usefixtures("longest")
@pytest.mark.parametrize(
    ("policy", "problem", "pauses"),
    [
        (ResendPolicy(), error(503), [0.5, 1, 2, 4, 8]),
        (ResendPolicy(max_tries=9), error(503), [0.5, 1, 2, 4, 8, 16, 20, 20]),
        (ResendPolicy(max_tries=9, max_wait=15.5), error(503), [0.5, 1, 2, 4, 8]),
        (ResendPolicy(max_tries=9, max_wait=15.4), error(503), [0.5, 1, 2, 4]),
        (ResendPolicy(max_tries=4), error(503, retry_after=1.5), [1.5, 1.5, 2]),
        (ResendPolicy(max_tries=1), error(503), []),
        (ResendPolicy(max_refused=183), error(429, code="rate_limit"), [1, 2, 4, 8, 16, 32, 60, 60]),
        (ResendPolicy(max_refused=15), error(429, code="rate_limit"), [1, 2, 4, 8]),
        (ResendPolicy(max_refused=14.9), error(429, code="rate_limit"), [1, 2, 4]),
        (ResendPolicy(max_refused=90), error(429, code="rate_limit", retry_after=30), [30, 30, 30]),
        (ResendPolicy(), error(400), []),
    ],
)
def test_pauses_double_until_no_more_fit(policy: ResendPolicy, problem: Exception, pauses: list[float]) -> None:
    """What a pause comes to at most, and the last one that is begun."""
    assert pauses_of(policy, problem) == pauses


def test_each_try_that_follows_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """What failed, which try comes, and when."""
    problem = error(503)
    first, second = pauses_of(ResendPolicy(max_tries=3), problem)
    assert caplog.messages == [
        f"{problem}. Try 2 of 3 follows in {first:.1f} s.",
        f"{problem}. Try 3 of 3 follows in {second:.1f} s.",
    ]


def test_each_refusal_is_told_of(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """To who measures, with Stripe's reason; the log has the first in full."""
    monkeypatch.setattr(resending, "REFUSALS", Refusals())
    told: list[tuple[float, str | None]] = []
    policy = ResendPolicy(max_refused=8, on_refused=lambda seconds, reason: told.append((seconds, reason)))
    problem = error(429, rate_limited_reason="endpoint-rate", retry_after=3.5)
    assert pauses_of(policy, problem)[0] == 3.5
    assert told == [(3.5, "endpoint-rate"), (3.5, "endpoint-rate")]
    assert caplog.messages == [
        "Requests of this process that Stripe refused for its rate limits: 1. They pause for 3.5 s in all, "
        f"are sent again and spend no try. The last one: {problem}"
    ]


def test_who_keeps_something_between_tries_has_as_many() -> None:
    """Each is waited for, and the last raises its own error, also when it is asked again; anew they begin anew."""
    slept: list[float] = []
    tries = Tries(ResendPolicy(max_tries=3), slept.append)
    for _ in range(2):
        tries.begin_anew()
        slept.clear()
        tries.failed(error(503, said="first"))
        tries.failed(error(503, said="second"))
        for last in ("third", "fourth"):
            with pytest.raises(APIError, match=last):
                tries.failed(error(503, said=last))
        assert len(slept) == 2
        assert 0.25 <= slept[0] <= 0.5 <= slept[1] <= 1
    tries.begin_anew()
    with pytest.raises(APIError, match="for good"):
        tries.failed(error(400, said="for good"))


def refusal(**facts: Any) -> APIError:
    return error(429, **{"code": "rate_limit", **facts})


@given(answers=st.lists(st.booleans(), max_size=400), retry_after=st.none() | st.floats(0, 30))
def test_refusals_spend_no_try_and_end(answers: list[bool], retry_after: float | None) -> None:
    """Each kind of failure is counted as if there was no other: tries in number, refusals in time."""
    slept: list[float] = []
    came: list[bool] = []

    def ask() -> str:
        if len(came) == len(answers):
            return "done"
        came.append(answers[len(came)])
        raise refusal(retry_after=retry_after) if came[-1] else error(503)

    policy = ResendPolicy()
    try:
        assert Retrying(sleep=slept.append, **policy.options())(ask) == "done"
        assert len(slept) == len(answers)
    except APIError as last:
        if isinstance(last, RateLimitError):
            assert sum(slept[place] for place in range(len(slept)) if came[place]) > policy.max_refused - 60
        else:
            assert came.count(False) == policy.max_tries
    assert came.count(False) <= policy.max_tries
    assert sum(slept[place] for place in range(len(slept)) if came[place]) <= policy.max_refused


@pytest.mark.parametrize(
    ("problem", "about_rates"),
    [
        (error(429, rate_limited_reason="endpoint-rate"), True),
        (error(429, code="rate_limit"), True),
        (error(429, code="lock_timeout"), False),
        (error(429), False),
    ],
)
def test_only_a_refusal_for_rates_is_free(problem: APIError, about_rates: bool) -> None:
    """A locked object is not, nor is a proxy's own 429."""
    told = isinstance(problem, RateLimitError) and problem.is_about_rates
    assert told is about_rates


def test_many_that_were_refused_at_once_do_not_come_back_in_step() -> None:
    """Their pauses are spread evenly from nothing to the longest, which doubles."""
    policy = ResendPolicy()
    for refusals, longest in [(1, 1.0), (3, 4.0), (50, 60.0)]:
        pauses = sorted(policy.refused_pause(refusal(), refusals) for _ in range(2000))
        assert 0 <= pauses[0] < longest / 20
        assert longest * 0.95 < pauses[-1] <= longest
        assert abs(pauses[1000] - longest / 2) < longest / 10


def test_a_storm_of_refusals_is_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """It says how many there were since the last one, and how long they pause."""
    now = 0.0
    refusals = Refusals(lambda: now)
    for second in range(150):
        now = float(second)
        for _ in range(10):
            refusals.count(refusal(), 0.5)
    lines = [record.getMessage() for record in caplog.records]
    assert [re.findall(r"limits: (\d+)\. They", line) for line in lines] == [["1"], ["600"], ["600"]]
    assert "pause for 300.0 s in all" in lines[1]
    assert "What Stripe said" in lines[1]


@given(tries=st.integers(1, 10_000))
def test_a_pause_has_bounds_and_jitter(tries: int) -> None:
    """It never grows past the longest, and is never less than half of what the doubling says."""
    policy = ResendPolicy(first_pause=0.5, longest_pause=20)
    doubled = min(20.0, 0.5 * 2 ** min(tries - 1, 32))
    assert doubled / 2 <= policy.pause(None, tries) <= doubled
