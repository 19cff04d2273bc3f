"""What is there of each series of intervals, and what is not. Without I/O and without a clock."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow_reportrun.coverage.steps import Span, Step, pieces, step_of, unit_of
from airflow_reportrun.landing.manifest import iso
from airflow_reportrun.reporting.report_type_ids import family_of

if TYPE_CHECKING:
    from airflow_reportrun.coverage.landings import Landing

_DAY = 86400
_NOON = _DAY // 2
_EAST, _WEST = 13 * 3600, 11 * 3600
"""How long before and after UTC's a midnight may be; a few people in the middle of the Pacific have others."""


class State(StrEnum):
    """How it stands with an interval."""

    LANDED = "landed"
    """It is there."""
    EMPTY = "empty"
    """It is there, and the report has no rows."""
    CHANGED = "changed"
    """It is there, and Stripe has a newer report run of the same question, with a file of another size."""
    LANDING = "landing"
    """It is being landed, or was when that was interrupted."""
    MISSING = "missing"
    """Stripe has its data, and nothing is landed."""
    NOT_YET = "not_yet"
    """Stripe does not have all of its data yet."""

    @property
    def is_there(self) -> bool:
        """Whether the figures of some report run are there, whole."""
        return self in (State.LANDED, State.EMPTY, State.CHANGED)


@dataclass(frozen=True)
class Interval:
    """A piece of time of a series.

    :param start: epoch seconds; of a report that takes an end alone, where the one before ends.
    :param end: epoch seconds, exclusive.
    :param state: see :class:`State`.
    :param landing: what is landed, None where nothing is.
    """

    start: int
    end: int
    state: State
    landing: Landing | None = None


@dataclass(frozen=True)
class Series:
    """Reports that differ in their interval alone.

    :param report: the report type without its version, such as ``balance.summary``.
    :param report_types: with their versions, the one that landed last first.
    :param stripe_account: the account that was acted as, None for the key's own.
    :param livemode: False for test data; None where no manifest was read.
    :param format: of the files, where the same intervals are landed in others, too; None otherwise.
    :param filters: the parameters that chose rows, by Stripe's names.
    :param step: from each interval to the next, None where nothing tells.
    :param has_starts: False for reports that take an end alone: a state at an instant.
    :param intervals: in their order, each one beginning where the one before ends.
    :param reaches: epoch seconds up to which Stripe has data, or should have by the clock.
    :param without_interval: what is landed and has no interval, such as reports of one payout each.
    """

    report: str
    report_types: tuple[str, ...]
    stripe_account: str | None
    livemode: bool | None
    format: str | None
    filters: Mapping[str, str]
    step: Step | None
    has_starts: bool
    intervals: tuple[Interval, ...]
    reaches: int
    without_interval: tuple[Landing, ...] = ()

    def __str__(self) -> str:
        account = f" of {self.stripe_account}" if self.stripe_account else ""
        filters = f" with {json.dumps(dict(self.filters), sort_keys=True)}" if self.filters else ""
        return f"{self.report_types[0]}{account}{filters}{f' as {self.format}' if self.format else ''}"

    def counts(self) -> dict[State, int]:
        """Return how many intervals there are of each state."""
        counted = Counter(it.state for it in self.intervals)
        return {state: counted[state] for state in State}

    def gaps(self, *states: State) -> list[Span]:
        """Return the stretches of time, in epoch seconds, whose intervals are of these states.

        :param states: ``missing`` by default.
        """
        found: list[Span] = []
        for it in self.intervals:
            if it.state in (states or (State.MISSING,)):
                joins = found and found[-1][1] == it.start
                start = found.pop()[0] if joins else it.start
                found.append((start, it.end))
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON has it; instants are ISO 8601 in UTC."""
        return {
            "report_type": self.report_types[0],
            "report_types": list(self.report_types),
            "stripe_account": self.stripe_account,
            "livemode": self.livemode,
            "format": self.format,
            "filters": dict(self.filters),
            "step": None if self.step is None else str(self.step),
            "timezone": None if self.step is None else self.step.timezone,
            "data_available_end": iso(self.reaches),
            "counts": {str(state): count for state, count in self.counts().items()},
            "without_interval": len(self.without_interval),
            "intervals": [
                {
                    "interval_start": iso(it.start) if self.has_starts else None,
                    "interval_end": iso(it.end),
                    "state": str(it.state),
                    **_told(it.landing),
                }
                for it in self.intervals
            ],
        }


def _told(landing: Landing | None) -> dict[str, Any]:
    if landing is None:
        return {}
    newer = landing.newer_report_run
    found = {"format": landing.format, "path": landing.path, "manifest": landing.told_at}
    return {**found, **({"newer_report_run": newer} if newer else {})}


def complete_by(now: float) -> int:
    """Return up to when Stripe should have the data: a UTC day is complete by noon of the next one.

    :param now: epoch seconds.
    """
    at = int(now) - _NOON
    return at - at % _DAY


def series_of(
    landings: Iterable[Landing],
    *,
    now: float,
    data_available_end: Mapping[tuple[str | None, str], int] | None = None,
    timezones: Sequence[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Series]:
    """Return the series that landings make, ordered by what they are about.

    Each goes on from its first interval to the one that is under way now. Time in which nothing is landed is cut
    into steps: those of the intervals before it. Landings that overlap are series of their own by the units that
    they are: days beside their months.

    :param landings: of one store or table.
    :param now: epoch seconds.
    :param data_available_end: by accounts and report types: up to when Stripe has data, epoch seconds. For others
        the clock says it; see :func:`complete_by`.
    :param timezones: IANA names of zones in which days may have been counted, the likeliest first.
    :param since: leave out what begins before, and begin there where nothing is landed. Without an offset it is
        what the clocks of a series show.
    :param until: leave out what ends later; the same.
    """
    grouped: dict[tuple[Any, ...], list[Landing]] = defaultdict(list)
    for it in landings:
        filters = {name: value for name, value in it.filters.items() if name != "payout" or it.interval_end}
        key = (family_of(it.report_type), it.stripe_account or "", json.dumps(filters, sort_keys=True))
        shape = ("" if it.interval_end is None else "end" if it.interval_start is None else "interval",)
        grouped[(*key, *shape)].append(it)
    found: list[Series] = []
    for (report, account, filters, shape), members in sorted(grouped.items()):
        for livemode, format, alike in _told_apart(members):
            latest = sorted(alike, key=lambda it: (it.interval_end or 0, _version(it.report_type)), reverse=True)
            report_types = tuple(dict.fromkeys(it.report_type for it in latest))
            ends = data_available_end or {}
            known = [ends[account or None, it] for it in report_types if (account or None, it) in ends]
            about = Series(
                report=report,
                report_types=report_types,
                stripe_account=account or None,
                livemode=livemode,
                format=format,
                filters=json.loads(filters),
                step=None,
                has_starts=shape == "interval",
                intervals=(),
                reaches=max(known, default=complete_by(now)),
            )
            if not shape:
                found.append(replace(about, without_interval=tuple(alike)))
                continue
            zones = [*timezones, *_timezones(latest)]
            found += [
                _laid_out(about, spans, zones, now=now, since=since, until=until)
                for spans in _apart(_spans(alike, zones))
            ]
    return found


def _version(report_type: str) -> int:
    end = report_type.rpartition(".")[2]
    return int(end) if end.isdecimal() and len(end) < 10 else 0


def _told_apart(landings: list[Landing]) -> Iterator[tuple[bool | None, str | None, list[Landing]]]:
    """Part test data from live data, and formats where an interval is landed in several: one may lack others."""
    for livemode, alike in _by_livemode(landings):
        formats = defaultdict[tuple[Any, ...], set[str]](set)
        for it in alike:
            formats[it.interval_start, it.interval_end, it.filters.get("payout")].add(it.format)
        if max(map(len, formats.values())) == 1:  # one that took the place of another has all of them together
            yield livemode, None, alike
            continue
        for format in sorted({it.format for it in alike}):
            yield livemode, format, [it for it in alike if it.format == format]


def _by_livemode(landings: list[Landing]) -> list[tuple[bool | None, list[Landing]]]:
    """Part test data from live data; what is not told is as the newest that is."""
    newest_first = sorted(landings, key=lambda it: it.interval_end or 0, reverse=True)
    default = next((it.manifest.livemode for it in newest_first if it.manifest), None)
    found: dict[bool | None, list[Landing]] = defaultdict(list)
    for it in landings:
        found[it.manifest.livemode if it.manifest else default].append(it)
    return sorted(found.items(), key=lambda it: str(it[0]))


def _timezones(landings: Iterable[Landing]) -> list[str]:
    """Return the zones in which the files have their times: days are likely to be counted in the same."""
    named = (it.manifest.parameters.get("timezone") for it in landings if it.manifest)
    return list(dict.fromkeys(it for it in named if it and it != "Etc/UTC"))


def _spans(landings: Iterable[Landing], zones: Sequence[str]) -> dict[Span, Landing]:
    """Return what is landed by its bounds, in their order; an end alone begins where the one before it ends."""
    best: dict[tuple[int | None, int], Landing] = {}
    for it in landings:
        bounds = (it.interval_start, it.interval_end or 0)
        if bounds not in best or _rank(it) > _rank(best[bounds]):
            best[bounds] = it
    if all(start is not None for start, _ in best):
        return {(start or 0, end): it for (start, end), it in sorted(best.items(), key=lambda it: it[0][1])}
    ends = sorted(end for _, end in best)
    step = step_of(_like_most(list(pairwise(ends))), zones)
    first = ends[0] if step is None else step.edges(ends[0] - 1, ends[0])[0]
    before = [first, *ends]
    return {
        (max(at, step.edges(end - 1, end)[0]) if step else at, end): best[None, end]
        for at, end in zip(before, ends, strict=False)
    }


def _rank(it: Landing) -> tuple[Any, ...]:
    """Say which of several landings of one interval stands for it."""
    created = (it.manifest.report_run_created if it.manifest else None) or ""
    return (it.whole, _version(it.report_type), created, it.path)


def _like_most(spans: list[Span]) -> list[Span]:
    """Leave out the spans over gaps: those of other units, or lengths, than the most have."""
    if not spans:
        return []
    kinds = [unit_of(it) or it[1] - it[0] for it in spans]
    usual = Counter(kinds).most_common(1)[0][0]
    return [span for span, kind in zip(spans, kinds, strict=True) if kind == usual]


def _apart(spans: Mapping[Span, Landing]) -> list[dict[Span, Landing]]:
    """Part the spans by their units where some overlap."""
    ordered = dict(sorted(spans.items()))
    if all(one[1] <= other[0] for one, other in pairwise(ordered)):
        return [ordered]
    found: dict[Any, dict[Span, Landing]] = defaultdict(dict)
    for span, it in ordered.items():
        found[unit_of(span) or span[1] - span[0]][span] = it
    return [found[kind] for kind in sorted(found, key=lambda kind: min(end - start for start, end in found[kind]))]


def _laid_out(
    about: Series,
    landed: Mapping[Span, Landing],
    zones: Sequence[str],
    *,
    now: float,
    since: datetime | None,
    until: datetime | None,
) -> Series:
    """Return the series with its intervals, which tile time."""
    kinds: dict[Any, list[Span]] = defaultdict(list)
    for span in landed:
        kinds[unit_of(span) or span[1] - span[0]].append(span)
    shown = (int(now), *(() if since is None else (_by_the_clocks(since, None),)))
    steps = {kind: step_of(spans, zones, shown=shown) for kind, spans in kinds.items()}
    by_span = {span: steps[kind] for kind, spans in kinds.items() for span in spans}
    first = next(iter(landed))
    step, found = by_span[first], list[Interval]()
    begin, close = (None if it is None else _by_the_clocks(it, step) for it in (since, until))

    def asked_for(it: Interval) -> bool:
        return (begin is None or it.start >= begin) and (close is None or it.end <= close)

    if first[0] == first[1]:  # one instant, of which nothing tells how long it is to the next
        it = Interval(*first, _state(landed[first]), landed[first])
        return replace(about, intervals=(it,) if asked_for(it) else ())
    at = first[0]
    if begin is not None and begin < at and step:
        at = step.edges(begin, begin)[-1]

    def leave_out(until: int) -> None:
        found.extend(
            Interval(start, end, State.MISSING if end <= about.reaches else State.NOT_YET)
            for start, end in pieces(at, until, step)
        )

    for (start, end), there in landed.items():
        leave_out(start)
        if end > at:  # what the one before covers, too, is shown once
            found.append(Interval(max(start, at), end, _state(there), there))
            at, step = end, by_span[start, end]
    if step:
        leave_out(step.edges(at, max(at, int(now) + 1))[-1])
    return replace(about, step=step, intervals=tuple(filter(asked_for, found)))


def _by_the_clocks(at: datetime, step: Step | None) -> int:
    """Return an instant in epoch seconds: without an offset it is what the clocks of a step show.

    A step that is told by UTC may be that of clocks which did not change: a midnight is its edge next to it.
    """
    if at.tzinfo is not None or step is None or step.unit is None:
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    shown = int(at.replace(tzinfo=ZoneInfo(step.timezone)).timestamp())
    edges = step.edges(shown - _EAST, shown + _WEST) if at.time() == time() else ()
    return next((it for it in edges if shown - _EAST <= it <= shown + _WEST), shown)


def _state(landing: Landing) -> State:
    if not landing.whole:
        return State.LANDING
    if landing.changed:
        return State.CHANGED
    return State.EMPTY if landing.is_empty else State.LANDED
