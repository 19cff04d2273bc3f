"""Timetables that people write: they alone know their ticks, so each is walked as the scheduler walks it."""

from __future__ import annotations

import datetime as dt
from contextlib import nullcontext
from itertools import islice, pairwise
from typing import Any
from unittest import mock

import pendulum
import pytest
from airflow.providers.common.compat.sdk import AirflowException, Asset
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable
from airflow.timetables.events import EventsTimetable
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable, DeltaTriggerTimetable

from airflow_reportrun.question.intervals import IntervalError, resolve
from tests.dag_runs import epochs, hours, make_context, scheduled, span, triggered, utc, warnings_in
from tests.versions import (
    AIRFLOW,
    AIRFLOW_2,
    AssetOrTimeSchedule,
    CronPartitionTimetable,
    DagRunType,
    coerce_to_core_timetable,
    needs_airflow,
    needs_airflow_3,
)

ZONE = "Europe/Berlin"
EASTER = {"2026-04-03", "2026-04-04", "2026-04-05", "2026-04-06"}
WAYS_OUT = "interval_start= and interval_end=, or interval="
ALL_WAYS_OUT = f'Pass {WAYS_OUT}"day" (or another unit), or give the DAG a schedule with a period.'


class LeavesOutHolidays:
    """Passes over the ticks of the timetable that it is mixed into on some days."""

    def next_dagrun_info(self, *, last_automated_data_interval: Any, restriction: TimeRestriction) -> Any:
        """Step."""
        step: Any = super()
        info = step.next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )
        while info and info.run_after.in_timezone(ZONE).to_date_string() in EASTER:
            info = step.next_dagrun_info(last_automated_data_interval=info.data_interval, restriction=restriction)
        return info


class TriggeredOnWorkdays(LeavesOutHolidays, CronTriggerTimetable):
    """With empty data intervals."""


class DaysWithoutHolidays(LeavesOutHolidays, CronDataIntervalTimetable):
    """With data intervals of a day each."""


class HoursWithoutHolidays(LeavesOutHolidays, DeltaTriggerTimetable):
    """Counts its ticks from the start of the DAG."""


class Explicit(Timetable):
    """Ticks when it is told, with or without intervals; all its attributes mean something of its own."""

    expression = "@hourly"
    _expression = delta = interval = timezone = timetable = timetables = "nonsense"
    key_format = ""

    def __init__(self, ticks: list[pendulum.DateTime], *, whole: bool = False) -> None:
        self.ticks = ticks
        self.whole = whole

    def infer_manual_data_interval(self, *, run_after: pendulum.DateTime) -> DataInterval:
        """Return what lies between the last two ticks."""
        before = [tick for tick in self.ticks if tick <= run_after]
        return DataInterval(start=before[-2], end=before[-1])

    def next_dagrun_info(self, *, last_automated_data_interval: Any, restriction: TimeRestriction) -> Any:
        """Step."""
        after = last_automated_data_interval and last_automated_data_interval.end
        for before, tick in pairwise(self.ticks):
            if (after is None or tick > after) and (restriction.earliest is None or tick >= restriction.earliest):
                return DagRunInfo.interval(before, tick) if self.whole else DagRunInfo.exact(tick)
        return None


def registered(timetable: type) -> Any:
    """Say to Airflow what a plugin would, for the time of a block."""
    where = "airflow.plugins_manager.get_timetables_plugins"
    found = {f"{timetable.__module__}.{timetable.__name__}": timetable}
    if (3, 0) <= AIRFLOW < (3, 2):
        return mock.patch("airflow.plugins_manager.timetable_classes", found)
    return nullcontext() if AIRFLOW_2 else mock.patch(where, return_value=found)


def in_utc(moment: pendulum.DateTime) -> pendulum.DateTime:
    return moment.in_timezone("UTC")


def berlin(day: int, hour: int = 0) -> pendulum.DateTime:
    return pendulum.datetime(2026, 4, day, hour, tz=ZONE)


WORKDAYS = TriggeredOnWorkdays("0 0 * * *", timezone=ZONE)
DAYS = DaysWithoutHolidays("0 0 * * *", timezone=ZONE)
FISCAL = [pendulum.datetime(2025, 12, 28, tz="UTC").add(weeks=week) for week in (0, 4, 8, 13, 17, 21, 26, 30)]


def around_easter(schedule: Any, **options: Any) -> list[dict[str, Any]]:
    start = options.pop("start", berlin(1).subtract(months=2))
    return list(scheduled(schedule, zone=ZONE, earliest=berlin(1), until=berlin(10), start=start, **options))


@pytest.mark.parametrize("or_assets", [False, True], ids=["by itself", "or assets"])
def test_the_ticks_that_a_cron_of_ones_own_leaves_out_are_in_the_next_report(
    or_assets: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The four days of Easter belong to the run after them: consecutive runs tile time."""
    either: Any = AssetOrTimeSchedule
    schedule = either(timetable=WORKDAYS, assets=[Asset("orders")]) if or_assets else WORKDAYS
    with registered(TriggeredOnWorkdays):
        found = [resolve(context) for context in around_easter(schedule)]
    assert [(it.end.day, hours(it)) for it in found] == [(1, 24), (2, 24), (7, 120), (8, 24), (9, 24), (10, 24)]
    assert all(epochs(before)[1] == epochs(after)[0] for before, after in pairwise(found))
    assert {it.start.timezone_name for it in found} == {ZONE}
    assert warnings_in(caplog) == []


def test_data_intervals_that_leave_time_out_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    """Airflow gives them, so they are used; that 96 hours are in no report is said where it happens."""
    found = [resolve(context) for context in around_easter(DAYS)]
    assert {hours(it) for it in found} == {24}
    (warning,) = warnings_in(caplog)
    assert warning == (
        "[2026-04-02 00:00:00+02:00, 2026-04-06 00:00:00+02:00) is in no report of DaysWithoutHolidays: it lies "
        "between this run and the one before."
    )


class Overlapping(Explicit):
    """Begins each interval a week early."""

    def next_dagrun_info(self, *, last_automated_data_interval: Any, restriction: TimeRestriction) -> Any:
        """Step."""
        last = last_automated_data_interval
        info = super().next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        return info and DagRunInfo.interval(info.data_interval.start.subtract(weeks=1), info.data_interval.end)


def test_data_intervals_that_overlap_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    """Each week that is in two of them."""
    runs = scheduled(Overlapping(FISCAL, whole=True), earliest=FISCAL[2], start=FISCAL[0])
    assert [hours(resolve(context)) / 24 / 7 for context in runs] == [5, 6, 5, 5, 6, 5]
    assert warnings_in(caplog) == [
        f"[{end.subtract(weeks=1)}, {end}) is in two reports of Overlapping: it lies between this run and the one "
        "before."
        for end in FISCAL[1:7]
    ]


@pytest.mark.parametrize("schedule", [WORKDAYS, DAYS, "0 0 * * 1-5"], ids=["triggers", "intervals", "cron"])
def test_a_unit_that_the_schedule_passes_over_is_warned_about(
    schedule: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A weekday cron that reports on the day before never reports on Friday and Saturday."""
    runs = [context for context in around_easter(schedule) if context["dag_run"].run_after < berlin(9)]
    for context in runs:
        resolve(context, interval="day")
    gap = "2026-04-03" if schedule == "0 0 * * 1-5" else "2026-04-02"
    assert len(warnings_in(caplog)) == 1
    assert warnings_in(caplog)[0].startswith(f"[{gap} 00:00:00+02:00, 2026-04-0")
    assert warnings_in(caplog)[0].endswith(' with interval="day": it lies between this run and the one before.')
    caplog.clear()
    for context in runs:
        resolve(context, interval="month")
        resolve(make_context(schedule, zone=ZONE, run_after=context["dag_run"].run_after), interval="day")
    assert warnings_in(caplog) == []


def test_a_first_tick_of_a_cron_of_ones_own_has_the_period_before_the_dag_began() -> None:
    """As that of Airflow's own crons has."""
    (context, *_) = around_easter(WORKDAYS, start=berlin(1))
    assert span(resolve(context)) == ("2026-03-31T00:00:00+02:00", "2026-04-01T00:00:00+02:00")


def test_ticks_that_are_counted_from_the_start_of_the_dag_are_found() -> None:
    """No walk from elsewhere comes to them."""
    start = berlin(1).add(hours=3, minutes=7)
    schedule = HoursWithoutHolidays(dt.timedelta(hours=7))
    runs = scheduled(schedule, zone=ZONE, earliest=start, until=berlin(10), start=start)
    contexts = list(runs)[1:]
    found = [resolve(context) for context in contexts]
    assert [it.end for it in found] == [context["dag_run"].run_after for context in contexts]
    assert all(epochs(before)[1] == epochs(after)[0] for before, after in pairwise(found))
    assert max(map(hours, found)) > 96


def test_the_first_tick_that_is_counted_from_the_start_is_refused() -> None:
    """Nothing lies before it."""
    start = berlin(1).add(hours=3, minutes=7)
    schedule = HoursWithoutHolidays(dt.timedelta(hours=7))
    (context, *_) = scheduled(schedule, zone=ZONE, earliest=start, until=berlin(10), start=start)
    with pytest.raises(IntervalError, match=WAYS_OUT):
        resolve(context)


class EveryNth(Timetable):
    """Begins with a whole unit, then counts: every third day, every second Monday, or each one."""

    def __init__(self, unit: str, n: int) -> None:
        self.unit, self.n = unit, n

    def infer_manual_data_interval(self, *, run_after: pendulum.DateTime) -> DataInterval:
        """Infer nothing."""
        return DataInterval.exact(run_after)

    def next_dagrun_info(self, *, last_automated_data_interval: Any, restriction: TimeRestriction) -> Any:
        """Step."""
        if last := last_automated_data_interval:
            return DagRunInfo.exact(last.end.add(**{f"{self.unit}s": self.n}))
        assert restriction.earliest
        first = restriction.earliest.add(**{f"{self.unit}s": 1}, microseconds=-1)
        return DagRunInfo.exact(first.start_of(self.unit))


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("unit", ["hour", "day", "week", "month"])
def test_every_nth_unit_since_the_start_of_the_dag_is_what_a_run_by_hand_reports_on(unit: str, n: int) -> None:
    """Of two beginnings that have the same rest, both come to the same ticks, which are not the scheduler's."""
    start = pendulum.datetime(2026, 1, 1, 5)
    schedule = EveryNth(unit, n)
    ticks = [context["dag_run"].run_after for context in islice(scheduled(schedule, earliest=start), 90, 110)]
    for before, tick in pairwise(ticks):
        found = resolve(make_context(schedule, start=start, run_after=tick + (tick - before) * 0.4))
        assert (found.start, found.end) == (before, tick)


@pytest.mark.parametrize(("unit", "n"), [("minute", 7), ("hour", 2), ("hour", 3), ("hour", 24)])
def test_ticks_too_many_to_walk_are_not_guessed(unit: str, n: int) -> None:
    """Those that are counted from the start are refused, and those of each hour need no walk from there."""
    start = pendulum.datetime(1926, 1, 1, 5)
    now = pendulum.datetime(2026, 4, 1, 9, 30)
    with pytest.raises(IntervalError, match="more than 20000 ticks"):
        resolve(make_context(EveryNth(unit, n), start=start, run_after=now))
    found = resolve(make_context(EveryNth(unit, 1), start=start, run_after=now))
    assert found.end == now.start_of(unit)


def test_a_calendar_that_begins_after_the_dag_is_walked_from_where_it_begins() -> None:
    """As one of holidays, of which the scheduler asks no old ones anymore."""

    class Calendar(EveryNth):
        def next_dagrun_info(self, *, last_automated_data_interval: Any, restriction: TimeRestriction) -> Any:
            if restriction.earliest and restriction.earliest.year < 2025:
                raise LookupError("no holidays are known of that year")
            last = last_automated_data_interval
            return super().next_dagrun_info(last_automated_data_interval=last, restriction=restriction)

    context = make_context(Calendar("day", 1), run_after=pendulum.datetime(2026, 4, 1, 9, 30))
    assert span(resolve(context)) == ("2026-03-31T00:00:00+00:00", "2026-04-01T00:00:00+00:00")
    context = make_context(Calendar("day", 2), run_after=pendulum.datetime(2026, 4, 1, 9, 30))
    with pytest.raises(IntervalError, match="LookupError: no holidays"):
        resolve(context)


@pytest.mark.parametrize("whole", [True, False], ids=["intervals", "ticks"])
def test_a_timetable_from_nothing_is_asked_and_its_attributes_are_not(whole: bool) -> None:
    """Fiscal months of four and five weeks."""
    schedule = Explicit(FISCAL, whole=whole)
    found = [resolve(it) for it in scheduled(schedule, earliest=FISCAL[2], start=FISCAL[0])]
    assert [hours(it) / 24 / 7 for it in found] == [4, 5, 4, 4, 5, 4]
    assert [it.end for it in found] == FISCAL[2:]


@pytest.mark.parametrize("whole", [True, False], ids=["intervals", "ticks"])
def test_a_run_by_hand_has_the_interval_that_the_timetable_infers(
    whole: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With a logical date Airflow has asked it already; without one, and so without an interval, we ask."""
    schedule = Explicit(FISCAL, whole=whole)
    expected = FISCAL[3], FISCAL[4]
    now = FISCAL[4].add(days=3)
    dated = make_context(
        schedule,
        start=FISCAL[0],
        run_after=now,
        logical_date=now,
        data_interval=schedule.infer_manual_data_interval(run_after=now),
    )
    undated = resolve(make_context(schedule, start=FISCAL[0], run_after=now))
    assert (undated.start, undated.end) == expected
    assert undated.rule == "data interval of Explicit at run_after"
    assert (resolve(dated).start, resolve(dated).end) == expected
    assert warnings_in(caplog) == []


def test_an_inferred_interval_that_is_none_of_the_schedule_is_warned_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On Easter Monday Airflow's cron infers Sunday, which is in Tuesday's report of no run or in two."""
    found = resolve(make_context(DAYS, zone=ZONE, start=berlin(1).subtract(months=2), run_after=berlin(6, 12)))
    assert span(found) == ("2026-04-05T00:00:00+02:00", "2026-04-06T00:00:00+02:00")
    (warning,) = warnings_in(caplog)
    assert warning == (
        "[2026-04-05 00:00:00+02:00, 2026-04-06 00:00:00+02:00) is none of the intervals of DaysWithoutHolidays's "
        'scheduled runs, and may overlap theirs. Pass interval="day" (or another unit) to report on whole '
        "calendar units."
    )


def test_a_run_by_hand_without_an_inferred_interval_has_the_last_period() -> None:
    """A timetable of triggers infers an empty one; on Easter Monday the last complete one is Wednesday's."""
    found = resolve(make_context(WORKDAYS, zone=ZONE, run_after=berlin(6, 12)))
    assert span(found) == ("2026-04-01T00:00:00+02:00", "2026-04-02T00:00:00+02:00")


@pytest.mark.parametrize("dated", [True, False], ids=["dated", "undated"])
def test_a_run_by_hand_of_a_date_that_a_timetable_does_not_know_is_refused(dated: bool) -> None:
    """What Airflow inferred for the time of the call would be another interval."""

    class Calendar(Explicit):
        def infer_manual_data_interval(self, *, run_after: pendulum.DateTime) -> DataInterval:
            if run_after < FISCAL[2]:
                raise LookupError("no holidays are known of that year")
            return super().infer_manual_data_interval(run_after=run_after)

    schedule = Calendar(FISCAL, whole=True)
    asked, now = FISCAL[1].add(days=3), FISCAL[4].add(days=3)
    of_the_call = schedule.infer_manual_data_interval(run_after=now)
    run = (
        {"run_after": now, "logical_date": asked, "data_interval": of_the_call} if dated else {"run_after": asked}
    )
    context = make_context(schedule, start=FISCAL[0], **run)
    with pytest.raises(IntervalError, match=r"can't be asked for .*LookupError: no holidays.*interval_start="):
        resolve(context)


@pytest.mark.parametrize("dated", [FISCAL[1], FISCAL[4]], ids=["for its beginning", "for now"])
def test_a_run_by_hand_whose_interval_is_known_takes_no_answer_of_its_timetable(dated: pendulum.DateTime) -> None:
    """The REST API takes one, also where none is inferred; and what Airflow inferred is of the call."""

    class Closed(Explicit):
        def infer_manual_data_interval(self, *, run_after: pendulum.DateTime) -> DataInterval:
            raise ValueError("nothing is inferred here")

    schedule, known = Closed(FISCAL, whole=True), (FISCAL[1], FISCAL[1].add(days=5))
    run: dict[str, Any] = {"run_after": FISCAL[4], "logical_date": dated, "data_interval": known}
    found = resolve(make_context(schedule, start=FISCAL[0], **run))
    assert (found.start, found.end) == known


class Stuck(Explicit):
    """Always gives the same tick."""

    def next_dagrun_info(self, **_: Any) -> Any:
        """Step."""
        return DagRunInfo.exact(FISCAL[1])


class Broken(Explicit):
    """Has no ticks but what its author forgot to write."""

    def next_dagrun_info(self, **_: Any) -> Any:
        """Step."""
        raise RuntimeError("holidays.csv is missing")


class Hasty(Explicit):
    """Ticks more often than anybody can walk, and differently from each beginning."""

    def next_dagrun_info(self, *, last_automated_data_interval: Any, restriction: TimeRestriction) -> Any:
        """Step."""
        assert restriction.earliest
        last = last_automated_data_interval.end if last_automated_data_interval else restriction.earliest
        return DagRunInfo.exact(last.add(seconds=13))


class WithoutSteps(Explicit):
    """Only runs by hand."""

    next_dagrun_info = Timetable.next_dagrun_info


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Stuck(FISCAL), "does not get beyond"),
        (Broken(FISCAL), r"RuntimeError: holidays.csv is missing"),
        (Hasty(FISCAL), "more than 20000 ticks"),
        (WithoutSteps(FISCAL), "NotImplementedError"),
    ],
    ids=["stuck", "broken", "hasty", "without steps"],
)
def test_a_timetable_that_cannot_be_walked_is_refused_with_ways_out_that_work(schedule: Any, words: str) -> None:
    """A calendar unit and bounds need no walk, and neither does a data interval that Airflow gave."""
    tick = FISCAL[4]
    context = make_context(
        schedule, run_type=DagRunType.SCHEDULED, start=FISCAL[0], run_after=tick, logical_date=tick
    )
    with pytest.raises(IntervalError, match=rf"can't be asked for its ticks .*{words}.*{WAYS_OUT}"):
        resolve(context)
    assert hours(resolve(context, interval="day")) == 24
    assert hours(resolve(context, interval_start=1714521600, interval_end=1714608000)) == 24
    whole = make_context(
        schedule,
        run_type=DagRunType.SCHEDULED,
        run_after=tick,
        logical_date=FISCAL[3],
        data_interval=(FISCAL[3], tick),
    )
    assert hours(resolve(whole)) == 28 * 24


def test_a_run_of_a_tick_that_the_timetable_no_longer_has_is_refused() -> None:
    """A holiday was added since: what lies between is in another run's report by now."""
    context = make_context(
        WORKDAYS, zone=ZONE, run_type=DagRunType.SCHEDULED, run_after=berlin(3), logical_date=berlin(3)
    )
    with pytest.raises(IntervalError) as caught:
        resolve(context)
    assert str(caught.value) == (
        f"This run is of {in_utc(berlin(3))}, which is no tick of TriggeredOnWorkdays as it is now: the last one "
        f"is {in_utc(berlin(2))}. {ALL_WAYS_OUT}"
    )


class Weeks(DeltaTriggerTimetable):
    """Inherits all."""


@pytest.mark.parametrize("days", [1, 3, 7])
def test_ticks_that_airflow_counts_from_its_first_run_are_refused_for_that_reason(days: int) -> None:
    """With catchup=False they begin at the time of that; the timetable has not changed."""
    first = pendulum.datetime(2026, 5, 6, 9, 30)
    schedule = Weeks(dt.timedelta(days=days))
    for run in range(3):
        tick = first.add(days=run * days)
        context = make_context(
            schedule,
            run_type=DagRunType.SCHEDULED,
            start=pendulum.datetime(2026, 1, 1),
            run_after=tick,
            logical_date=tick,
        )
        with pytest.raises(IntervalError) as caught:
            resolve(context)
        words = str(caught.value)
        assert words.startswith(
            f"This run is of {tick}, and Weeks counts its ticks from a beginning: from the DAG's start_date, "
            "2026-01-01 00:00:00+00:00, the last one is 2026-0"
        )
        assert words.endswith(
            " With catchup=False Airflow counts from the time at which it made the first run, which nothing tells."
            f" {ALL_WAYS_OUT}"
        )
        assert hours(resolve(context, interval="day")) == 24


class Unreachable(TriggeredOnWorkdays):
    """Its calendar is elsewhere."""

    error: Exception = AirflowException("the calendar is not reachable")

    def infer_manual_data_interval(self, *, run_after: pendulum.DateTime) -> DataInterval:
        """Fail."""
        raise self.error


class Wrong(Unreachable):
    """Has a mistake in it."""

    error = TypeError("unsupported operand")


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("kind", [Unreachable, Wrong])
def test_a_timetable_that_cannot_infer_an_interval_is_refused_with_ways_out_that_work(
    kind: type[Unreachable], dated: bool
) -> None:
    """Whatever it raises: when a run is asked for without a date, and where its date is compared."""
    now = berlin(9, 12)
    context = make_context(
        kind("0 0 * * *", timezone=ZONE),
        zone=ZONE,
        start=berlin(1),
        run_after=now,
        logical_date=now if dated else None,
    )
    with pytest.raises(IntervalError) as caught:
        resolve(context)
    assert str(caught.value) == (
        f"{kind.__name__} can't be asked for the data interval of {in_utc(now)} ({type(kind.error).__name__}: "
        f"{kind.error}). {ALL_WAYS_OUT}"
    )
    assert caught.value.__cause__ is kind.error
    assert hours(resolve(context, interval="day")) == 24
    assert hours(resolve(context, interval_start=1714521600, interval_end=1714608000)) == 24


class NotPeriodic(Explicit):
    """As EventsTimetable and the like may say."""

    periodic = False


def test_a_timetable_of_ones_own_that_says_that_it_is_not_periodic_has_no_period() -> None:
    """Nothing is walked."""
    tick = FISCAL[4]
    context = make_context(NotPeriodic(FISCAL), run_type=DagRunType.SCHEDULED, run_after=tick, logical_date=tick)
    with pytest.raises(IntervalError) as caught:
        resolve(context)
    assert str(caught.value) == (
        f"NotPeriodic has no period by {tick}, its first tick or earlier, and this DAG run no data interval. "
        + ALL_WAYS_OUT
    )


class Matches(EventsTimetable):
    """Of a league."""


def test_events_of_ones_own_tick_at_the_events() -> None:
    """Airflow's are refused, since nothing says that time between two of them belongs together; see the docs."""
    schedule = Matches([berlin(day, 20) for day in (1, 4, 8, 11)])
    found = [resolve(context) for context in scheduled(schedule, zone=ZONE, earliest=berlin(2), start=berlin(1))]
    assert [(it.start.day, it.end.day) for it in found] == [(1, 4), (4, 8), (8, 11)]


def test_deltas_of_ones_own_with_data_intervals_are_taken_as_they_are() -> None:
    """What Airflow gives needs no walk."""

    class Weeks(DeltaDataIntervalTimetable):
        pass

    runs = scheduled(Weeks(dt.timedelta(days=7)), earliest=berlin(1), until=berlin(20), start=berlin(1))
    assert [hours(resolve(context)) for context in runs] == [168, 168, 168]


@needs_airflow(3, 3, "dates of partitions")
def test_partitions_of_ones_own_are_refused() -> None:
    """How long they are nobody but the timetable knows, and it has no word for it."""

    class Partitions(CronPartitionTimetable):
        pass

    context = make_context(
        Partitions("@daily", timezone=ZONE), zone=ZONE, partition_key="2026-04-03", partition_date=berlin(3)
    )
    with pytest.raises(IntervalError, match=f"Partitions does not say how long.*{WAYS_OUT}"):
        resolve(context)
    assert hours(resolve(context, interval="day")) == 24


@needs_airflow(3, 2, "timetables for DAG files beside those of the scheduler")
def test_a_timetable_for_dag_files_is_walked_as_the_scheduler_has_it() -> None:
    """A class of airflow.sdk has no ticks: a plugin says which class of the core it is to the scheduler."""
    import airflow.sdk

    class Files(airflow.sdk.CronTriggerTimetable):
        @classmethod
        def deserialize(cls, data: dict[str, Any]) -> Any:
            return TriggeredOnWorkdays(data["expression"], timezone=data["timezone"])

    tick = berlin(7)
    context = make_context(
        Files("0 0 * * *", timezone=ZONE), run_type=DagRunType.SCHEDULED, run_after=tick, logical_date=tick
    )
    with pytest.raises(IntervalError, match=f"Files can't be asked.*not registered.*{WAYS_OUT}"):
        resolve(context)
    with registered(Files):
        assert isinstance(coerce_to_core_timetable(context["dag"].timetable), TriggeredOnWorkdays)
        assert hours(resolve(context)) == 120


@needs_airflow_3("REST API of this kind")
def test_a_run_of_a_plugins_timetable_that_the_rest_api_dates_is_not_refused() -> None:
    """The stored DAG has the same class, and infers the same for the date."""
    with registered(TriggeredOnWorkdays):
        context = triggered(WORKDAYS, zone=ZONE, logical_date=berlin(4, 9), run_after=utc("2026-05-01T00:00Z"))
    assert span(resolve(context)) == ("2026-04-01T00:00:00+02:00", "2026-04-02T00:00:00+02:00")
