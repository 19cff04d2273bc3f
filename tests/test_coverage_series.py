from __future__ import annotations

import dataclasses
import json
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun.coverage.landings import Landing
from airflow_reportrun.coverage.series import Series, State, complete_by, series_of
from airflow_reportrun.coverage.steps import step_of
from airflow_reportrun.landing.manifest import Manifest
from tests.landings import manifest_of
from tests.test_manifest import written as manifest

DAY = 86400
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Africa/Cairo", "Australia/Lord_Howe", "Pacific/Apia")


def at(text: str, zone: str = "UTC") -> int:
    """Return a time of a zone in epoch seconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp())


def landing(start: int | None, end: int | None, report_type: str = "balance.summary.1", **about: Any) -> Landing:
    plain: dict[str, Any] = {
        "stripe_account": None,
        "filters": {},
        "format": "csv",
        "path": "/data/it.csv",
        "told_at": "it",
    }
    return Landing(report_type, interval_start=start, interval_end=end, **{**plain, **about})


def days(zone: str, first: date, count: int) -> list[tuple[int, int]]:
    """Return calendar days of a zone, without those that it skips whole."""
    edges = [at(f"{first + timedelta(days=n)}T00:00", zone) for n in range(count + 1)]
    return [(start, end) for start, end in pairwise(edges) if start < end]


def only(landings: list[Landing], **how: Any) -> Series:
    (found,) = series_of(landings, **{"now": 0.0, **how})
    return found


def spans(series: Series, *states: State) -> list[tuple[int, int]]:
    return [(it.start, it.end) for it in series.intervals if not states or it.state in states]


@given(
    zone=st.sampled_from(ZONES),
    first=st.dates(date(2011, 1, 1), date(2026, 6, 1)),
    kept=st.lists(st.booleans(), min_size=1, max_size=400),
    more=st.integers(0, 40 * DAY),
    told=st.booleans(),
)
def test_intervals_tile_time_and_gaps_are_what_is_not_landed(
    zone: str, first: date, kept: list[bool], more: int, told: bool
) -> None:
    """Whatever days are landed, in whatever zone: nothing twice, nothing left out, and no day cut."""
    all_days = days(zone, first, len(kept))
    landed = [span for span, it in zip(all_days, [True, *kept[1:]], strict=False) if it]
    now = landed[-1][1] + more
    found = only([landing(*it) for it in landed], now=now, timezones=[zone] if told else [])
    seen = spans(found)
    assert all(one[1] == other[0] for one, other in pairwise(seen))
    assert seen[0][0] == landed[0][0]
    assert seen[-1][1] > now
    assert spans(found, State.LANDED) == landed
    left = sum(end - start for start, end in seen if (start, end) not in set(landed))
    gaps = found.gaps(State.MISSING, State.NOT_YET)
    assert sum(end - start for start, end in gaps) == left
    assert all(it.end <= complete_by(now) for it in found.intervals if it.state is State.MISSING)
    assert all(it.end > complete_by(now) for it in found.intervals if it.state is State.NOT_YET)
    if told:
        assert {it for it in all_days if it[0] <= now} <= set(seen)


@pytest.mark.parametrize("zone", ZONES)
def test_days_have_as_many_hours_as_the_clocks_give_them(zone: str) -> None:
    """Nobody names the zone; two years of days tell enough of it for the missing ones."""
    every = days(zone, date(2024, 1, 1), 800)
    landed = [it for n, it in enumerate(every) if n % 3 != 1]
    found = only([landing(*it) for it in landed], now=every[-1][0])
    assert spans(found)[: len(every)] == every


def test_a_zone_that_is_told_comes_before_one_that_would_do() -> None:
    """Paris and Berlin have the same clocks."""
    landed = [landing(*it) for it in days("Europe/Paris", date(2024, 1, 1), 300)]
    step = only(landed, timezones=["Europe/Paris"]).step
    assert str(step) == "day, Europe/Paris"
    assert str(only(landed).step) == "day, by clocks as in Europe/Berlin"


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize(("unit", "months"), [("month", 1), ("quarter", 3), ("year", 12)])
def test_months_and_longer_units_are_told(zone: str, unit: str, months: int) -> None:
    """A hole is cut at the beginnings of months, whatever their length."""
    starts = [at(f"{2020 + n // 12}-{n % 12 + 1:02}-01T00:00", zone) for n in range(0, 73, months)]
    every = list(pairwise(starts))
    landed = [it for n, it in enumerate(every) if n not in (2, 3)]
    found = only([landing(*it) for it in landed], now=every[-1][0] + DAY, timezones=[zone])
    assert str(found.step) == f"{unit}, {zone}"
    assert spans(found) == every
    assert spans(found, State.MISSING) == every[2:4]


@pytest.mark.parametrize(
    ("length", "words"), [(3600, "hour"), (900, "900 seconds"), (6 * 3600, "6 hours"), (7 * DAY, "week, UTC")]
)
def test_shorter_units_and_weeks_are_told(length: int, words: str) -> None:
    """Of hours, each missing one is shown."""
    start = at("2026-11-02T00:00")
    every = [(start + n * length, start + (n + 1) * length) for n in range(50)]
    landed = [landing(*it) for it in every if it not in every[10:13]]
    found = only(landed, now=every[-1][1] + 2 * DAY, until=datetime.fromtimestamp(every[-1][1], UTC))
    assert str(found.step) == words
    assert spans(found) == every
    assert found.gaps() == [(every[10][0], every[12][1])]


def test_days_that_begin_in_the_morning_are_told() -> None:
    """A schedule of 06:00 in New York reports on what lies between, on the days of the clocks, too."""
    edges = [at(f"{date(2026, 2, 1) + timedelta(days=n)}T06:00", "America/New_York") for n in range(90)]
    every = list(pairwise(edges))
    found = only([landing(*it) for it in every if it not in every[34:37]], now=every[-1][0])
    assert spans(found)[: len(every)] == every


SECOND, LATEST = 1, 253_402_214_399


@pytest.mark.parametrize("span", [(0, SECOND), (LATEST - 86_400, LATEST), (0, LATEST)])
def test_what_has_no_end_of_steps_has_none(span: tuple[int, int]) -> None:
    """Seconds since 1970, or days until the year 9999, would fill the memory; the year 10000 is none."""
    series = only([landing(*span), landing(1_700_006_400, 1_700_092_800)][: 1 + (span[1] < LATEST)], now=1.8e9)
    assert spans(series, State.LANDED)[0] == span
    assert len(series.intervals) < 300_000


def test_months_at_the_end_of_time_are_told() -> None:
    """Behind the last one there is no other."""
    months = [(at(f"9999-{it:02}-01"), at(f"9999-{it + 1:02}-01")) for it in range(1, 12)]
    assert spans(only([landing(*it) for it in months], now=months[-1][1]))[: len(months)] == months


def test_a_zone_that_is_not_known_here_is_passed_over() -> None:
    """A manifest may name one that only another machine has."""
    told = Manifest.from_json(json.dumps(manifest(parameters={"timezone": "Mars/Base"})))
    found = [landing(*span, manifest=told) for span in days("Europe/Berlin", date(2024, 5, 1), 3)]
    assert str(only(found, now=1_714_600_000).step) == "day from 22:00, UTC"


def test_a_version_of_thousands_of_digits_is_none() -> None:
    """Python refuses to read it."""
    assert only([landing(0, 86_400, f"balance.summary.{'9' * 5000}")]).report == "balance.summary"


def test_one_interval_alone_goes_on_to_now() -> None:
    """It is as long as a day, so the days after it are missing."""
    found = only([landing(at("2026-11-20T00:00"), at("2026-11-21T00:00"))], now=at("2026-11-23T13:00"))
    assert [it.state for it in found.intervals] == [
        *(State.LANDED, State.MISSING, State.MISSING),
        State.NOT_YET,
    ]


def test_months_before_days_are_one_series() -> None:
    """Days were once replaced by their months: a hole among days is one of days, among months one of months."""
    months = [(at(f"2026-{n:02}-01T00:00"), at(f"2026-{n + 1:02}-01T00:00")) for n in (1, 2, 4)]
    landed = [*months, *days("UTC", date(2026, 5, 1), 9), *days("UTC", date(2026, 5, 12), 2)]
    found = only([landing(*it) for it in landed], now=at("2026-05-13T13:00"))
    march = (at("2026-03-01T00:00"), at("2026-04-01T00:00"))
    assert spans(found, State.MISSING) == [march, *days("UTC", date(2026, 5, 10), 2)]
    assert str(found.step) == "day, UTC"


def test_months_beside_their_days_are_two_series() -> None:
    """In a folder of one's own layout both may be landed; each has its own holes."""
    every = days("UTC", date(2026, 1, 1), 59)
    months = [(at("2026-01-01T00:00"), at("2026-02-01T00:00")), (at("2026-02-01T00:00"), at("2026-03-01T00:00"))]
    found = series_of([landing(*it) for it in (*every[:40], *every[41:], *months)], now=at("2026-03-01T13:00"))
    assert [str(it.step) for it in found] == ["day, UTC", "month, UTC"]
    assert [it.gaps() for it in found] == [[every[40]], []]


def test_two_versions_of_a_report_type_are_one_series() -> None:
    """The newer one stands for both, and of two that are landed of one day it is the one that is shown."""
    first, second = days("UTC", date(2026, 1, 1), 2)
    landed = [landing(*first, "balance.summary.9"), landing(*second, "balance.summary.10")]
    found = only([*landed, landing(*second, "balance.summary.9")], now=second[1])
    assert found.report_types == ("balance.summary.10", "balance.summary.9")
    assert [it.landing and it.landing.report_type for it in found.intervals[:2]] == [
        *("balance.summary.9", "balance.summary.10"),
    ]


def test_accounts_filters_and_modes_are_series_of_their_own() -> None:
    """Test data is nobody's books."""
    (day,) = days("UTC", date(2026, 1, 1), 1)
    told = manifest_of("frr_1", 1, start=day[0], end=day[1], livemode=True)
    found = series_of(
        [
            landing(*day, manifest=told),
            landing(*day, manifest=dataclasses.replace(told, livemode=False)),
            landing(*day, stripe_account="acct_1"),
            landing(*day, filters={"currency": "usd"}),
        ],
        now=day[1],
    )
    assert [(it.stripe_account, it.livemode, dict(it.filters)) for it in found] == [
        (None, None, {"currency": "usd"}),
        (None, False, {}),
        (None, True, {}),
        ("acct_1", None, {}),
    ]


def test_reports_of_an_instant_are_told_by_it() -> None:
    """They have an end alone: the day before it is the piece of time that they stand for."""
    ends = [end for _, end in days("UTC", date(2026, 1, 1), 6)]
    landed = [landing(None, end, "ending_balance_reconciliation.summary.1") for end in (*ends[:3], ends[5])]
    found = only(landed, now=ends[-1] + DAY // 2)
    assert not found.has_starts
    assert [it.end for it in found.intervals if it.state is State.MISSING] == ends[3:5]
    assert found.intervals[0].start == at("2026-01-01T00:00")
    alone = only(landed[:1], now=ends[-1])
    assert [(it.start, it.end, it.state) for it in alone.intervals] == [(ends[0], ends[0], State.LANDED)]
    assert alone == only(landed[:1], now=ends[-1], since=datetime(2026, 1, 2), until=datetime(2026, 1, 2))
    for bound in ({"since": datetime(2026, 1, 3)}, {"until": datetime(2026, 1, 1)}):
        assert only(landed[:1], now=ends[-1], **bound).intervals == ()


def test_reports_of_payouts_have_no_calendar() -> None:
    """A thousand payouts are one line."""
    landed = [
        landing(None, None, "payout_reconciliation.by_id.summary.1", filters={"payout": f"po_{n}"}) for n in "ab"
    ]
    found = only(landed)
    assert (len(found.without_interval), found.intervals, dict(found.filters)) == (2, (), {})


def test_data_that_stripe_lacks_is_not_missing() -> None:
    """By the clock, a UTC day is there by noon of the next one; Stripe's own word comes before."""
    (first,) = days("UTC", date(2026, 11, 20), 1)
    for hour, data, states in (
        (11, {}, [State.LANDED, State.NOT_YET, State.NOT_YET]),
        (12, {}, [State.LANDED, State.MISSING, State.NOT_YET]),
        (12, {(None, "balance.summary.1"): first[1]}, [State.LANDED, State.NOT_YET, State.NOT_YET]),
        (11, {(None, "balance.summary.1"): first[1] + DAY}, [State.LANDED, State.MISSING, State.NOT_YET]),
        (11, {("acct_1", "balance.summary.1"): first[1] + DAY}, [State.LANDED, State.NOT_YET, State.NOT_YET]),
    ):
        found = only([landing(*first)], now=at(f"2026-11-22T{hour}:00"), data_available_end=data)
        assert [it.state for it in found.intervals] == states, (hour, data)


def test_states_are_those_of_the_landing() -> None:
    """What is there whole is there, empty or changed or not."""
    every = days("UTC", date(2026, 1, 1), 4)
    about: list[dict[str, Any]] = [
        {},
        {"is_empty": True},
        {"newer_report_run": "frr_2", "changed": True},
        {"whole": False},
    ]
    found = only([landing(*it, **how) for it, how in zip(every, about, strict=True)], now=every[-1][0])
    states = [it.state for it in found.intervals]
    assert states == [State.LANDED, State.EMPTY, State.CHANGED, State.LANDING]
    assert [it.is_there for it in states] == [True, True, True, False]
    assert found.counts()[State.EMPTY] == 1


def test_since_and_until_are_what_is_shown() -> None:
    """Before the first landing the same steps go back."""
    every = days("UTC", date(2026, 1, 10), 5)
    landed = [landing(*it) for it in every]
    found = only(landed, now=at("2026-01-20T13:00"), since=datetime(2026, 1, 8), until=datetime(2026, 1, 12))
    assert spans(found) == days("UTC", date(2026, 1, 8), 4)
    assert found.gaps() == [(at("2026-01-08T00:00"), at("2026-01-10T00:00"))]


@given(
    zone=st.sampled_from(ZONES),
    first=st.dates(date(2022, 1, 1), date(2026, 6, 1)),
    count=st.integers(4, 400),
    told=st.booleans(),
)
def test_dates_without_an_offset_are_those_of_the_days(zone: str, first: date, count: int, told: bool) -> None:
    """Whether the clocks change among the days, which tells their zone, or not; offsets are as said."""
    every = days(zone, first, count)
    named = [zone] if told else []
    bounds = [datetime.combine(first + timedelta(days=it), datetime.min.time()) for it in (1, count - 1)]
    landed = [landing(*it) for it in every]
    found = only(landed, now=every[-1][1], timezones=named, since=bounds[0], until=bounds[1])
    assert spans(found) == every[1:-1]
    exact = [it.replace(tzinfo=ZoneInfo(zone)) for it in bounds]
    assert spans(only(landed, now=every[-1][1], since=exact[0], until=exact[1])) == every[1:-1]


def test_a_time_of_day_without_an_offset_is_as_said() -> None:
    """A midnight alone stands for the beginning of a day, such as 11:00 UTC in Auckland."""
    every = days("Etc/GMT-13", date(2026, 11, 1), 6)
    for since, first in (
        (datetime(2026, 11, 2), 1),
        (datetime(2026, 11, 2, 11), 2),
        (datetime(2026, 11, 2, 12), 3),
    ):
        found = only([landing(*it) for it in every], now=every[-1][0], since=since)
        assert spans(found) == every[first:]


def test_a_date_in_the_middle_of_a_month_leaves_the_month_out() -> None:
    """Only what is next to midnight is meant by it."""
    every = [(at(f"2026-{it:02}-01T00:00"), at(f"2026-{it + 1:02}-01T00:00")) for it in range(1, 9)]
    found = only([landing(*it) for it in every], now=every[-1][1], since=datetime(2026, 2, 15))
    assert spans(found)[:1] == every[2:3]


def test_formats_of_the_same_intervals_are_told_apart() -> None:
    """What lacks intervals is not hidden by what has them, but one format may take the place of another."""
    every = days("UTC", date(2026, 1, 1), 5)
    both = [landing(*it) for it in every] + [landing(*it, format="parquet") for it in every[:3]]
    csv, parquet = series_of(both, now=float(every[-1][1] + 2 * DAY), until=datetime(2026, 1, 6))
    assert (csv.format, parquet.format) == ("csv", "parquet")
    assert (len(spans(csv, State.LANDED)), spans(parquet, State.MISSING)) == (5, every[3:])
    assert str(parquet) == "balance.summary.1 as parquet"
    changed = [landing(*it) for it in every[:3]] + [landing(*it, format="parquet") for it in every[3:]]
    assert only(changed, now=float(every[-1][1])).format is None


def test_landings_that_overlap_are_shown_once() -> None:
    """The last seven days, landed anew each day, tile time by what each one adds."""
    starts = [at("2026-01-01T00:00") + n * DAY for n in range(5)]
    found = only([landing(it, it + 7 * DAY) for it in starts], now=starts[0])
    assert spans(found)[:5] == [
        (starts[0], starts[0] + 7 * DAY),
        *((it + 6 * DAY, it + 7 * DAY) for it in starts[1:]),
    ]


@given(st.sampled_from(ZONES), st.integers(0, 4000), st.integers(0, 100))
def test_edges_begin_at_or_before_and_end_at_or_after(zone: str, day: int, length: int) -> None:
    """They are what they say, and grow."""
    every = days(zone, date(2016, 1, 1), 400)
    step = step_of(every, [zone])
    assert step is not None
    start = at("2014-01-01T00:00") + day * DAY + day
    edges = step.edges(start, start + length * DAY)
    assert edges[0] <= start
    assert edges[-1] >= start + length * DAY
    assert all(one < other for one, other in pairwise(edges))
    assert all(datetime.fromtimestamp(it, UTC) for it in edges)


def test_nothing_is_landed() -> None:
    """No series is made up."""
    assert series_of([], now=0.0) == []
    assert step_of([]) is None
