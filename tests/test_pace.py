from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun.waiting.pace import LONGEST_PAUSE, Watch

seconds = st.floats(0, 100_000)


@given(now=seconds, wait=seconds, poll_interval=st.floats(1, 1000), growth=st.floats(0, 1))
def test_watching_ends_at_the_deadline_with_one_last_look(
    now: float, wait: float, poll_interval: float, growth: float
) -> None:
    """Each pause leads to a look at or before the deadline; the look at it is the last."""
    watch = Watch(now, now + wait, poll_interval, growth)
    looks = 1
    while (pause := watch.pause(now)) is not None:
        assert pause > 0
        assert pause <= max(poll_interval, LONGEST_PAUSE)
        now += pause
        looks += 1
        assert now <= watch.deadline + 1e-6
        assert looks <= 2 + wait / poll_interval
    assert now >= watch.deadline


def test_pauses_grow_with_the_age_of_the_run() -> None:
    """A run of minutes is noticed within seconds, one of hours costs few requests."""
    watch = Watch(since=0, deadline=100_000, poll_interval=10)
    assert [watch.pause(age) for age in (0, 30, 100, 1000, 50_000)] == [10, 10, 25, 250, 300]


def test_the_age_counts_and_not_the_clock() -> None:
    """A run that was created today is as young as one of 1970 was then."""
    watch = Watch(since=1_714_521_600, deadline=2e9, poll_interval=10)
    assert [watch.pause(watch.since + age) for age in (0, 100, 1000)] == [10, 25, 250]


@pytest.mark.parametrize(
    ("age", "alone", "others", "pause"),
    [
        (0, 10, 0, 10),
        (0, 10, 1, 6.5),
        (0, 10, 0.05, 1 / 0.15),
        (1200, 300, 0, 300),
        (1200, 300, 1, 100),
        (1200, 300, 1 / 300, 150),
        (12_000, 300, 1, 300),
    ],
)
def test_looks_that_serve_many_are_quicker_and_no_more_in_all(
    age: float, alone: float, others: float, pause: float
) -> None:
    """Down to a twelfth of the age and some seconds, and never slower than one who looks alone."""
    watch = Watch(since=1_714_521_600, deadline=2e9, poll_interval=10)
    assert watch.own_pause(watch.since + age) == alone
    assert watch.shared_pause(watch.since + age, 1 / alone + others) == pytest.approx(pause)


def test_without_growth_the_interval_stays() -> None:
    """A sensor's poke_interval means what it says."""
    assert Watch(0, 100_000, 60, growth=0).pause(50_000) == 60
