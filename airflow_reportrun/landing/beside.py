"""What else is landed below a root, as its folders tell: what may not lie there, and what came last."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from airflow_reportrun.landing.lake import (
    BOUNDS,
    FILE,
    FILTER,
    depth_of_layout,
    former_manifests_of,
    instant_of,
    is_report,
    layout,
    manifest_of,
)
from airflow_reportrun.landing.manifest import FILTERS, Manifest, Subject
from airflow_reportrun.landing.overlaps import Overlap, described, overlap
from airflow_reportrun.reporting.errors import ConfigurationError, LandingConflictError, ManifestError
from airflow_reportrun.reporting.report_type_ids import family_of

if TYPE_CHECKING:
    from airflow_reportrun.landing.stores.place import Place

log = logging.getLogger(__name__)

_READ_ALIKE = {"csv", "csv.gz", "zip"}  # by the same calls of some reader
_SHOWN = 5  # neighbours in an error


def require_apart(
    place: Place,
    subject: Subject,
    *,
    any_mode: bool = False,
    before: Iterable[tuple[Place, Subject]] = (),
) -> None:
    """Refuse to land in the default layout what would count rows twice beside what is landed there.

    So would test data beside live data, to who reads the whole folder. What is landed is told by the names of its
    folders, and its mode by one manifest, since all of a report and an account are of the same. Of what begins
    before the interval, the last alone is looked at. Other layouts say nothing.

    :param any_mode: whether the subject is test data or live data is not known yet.
    :param before: what is not there yet, and will be before this one.
    :raises LandingConflictError: see above.
    """
    root = _root_of(place, subject)
    if root is None:
        return
    found: dict[Sequence[str], Subject] = {}
    listed = _Listed(place)
    seen: list[Place] = []
    try:
        for folders, names, other in _neighbours(listed, root, subject):
            beside = folders != place.folders
            seen += [place.elsewhere(folders, it) for it in names if is_report(it)]
            if not beside:
                _require_unlike(place, names)
            if beside and overlap(subject, other) is not Overlap.APART:
                found[folders[len(root) :]] = other
            if len(found) > _SHOWN:
                break
        if not any_mode:
            below = (_reports_below(listed, it) for it in _of_report(listed, root, subject))
            _require_mode(place, subject, chain(seen, chain.from_iterable(below)))
    except PermissionError as error:
        log.warning("%s: what overlaps it is not looked for, since folders can't be listed (%s).", place, error)
        return
    for there, other in before:
        if overlap(subject, other) is Overlap.APART or _root_of(there, other) != root:
            continue
        if there.folders == place.folders:
            _require_unlike(place, [there.name])
        elif there.elsewhere(place.folders, place.name).url == place.url:
            found[there.folders[len(root) :]] = other
    if found:
        shown = "; ".join(
            f"{described(other)} ({'/'.join(folders)})" for folders, other in list(found.items())[:_SHOWN]
        )
        more = " and more" if len(found) > _SHOWN else ""
        notes = manifest_of(place).url.partition(f"/{'/'.join(place.folders[len(root) :])}/")[0]
        raise LandingConflictError(
            f"{described(subject)} would count the same twice beside what is landed below the same root: "
            f"{shown}{more}. Ways out: land it below another root, or remove these folders, and those of the same "
            f"names below {notes}, if it is to take their place ({place})."
        )


def _require_mode(place: Place, subject: Subject, landed: Iterable[Place]) -> None:
    """Refuse test data beside live data, and the other way round, by the first manifest that is found."""
    others = (it for it in islice(landed, _SHOWN) if it.url != place.url)  # each without one is a request or two
    there = next((told for it in others if (told := told_of(it))), None)
    if there and there.livemode != subject.livemode:
        mine, its = ("live", "test") if subject.livemode else ("test", "live")
        raise LandingConflictError(
            f"{place.url.partition('/report_type=')[0]}/ has {its} data (report run {there.report_run_id}), and "
            f"{described(subject)} is of {mine} data: land it below another root."
        )


def told_of(place: Place) -> Manifest | None:
    """Return what a manifest says of what lies in a place, None where there is none that can be read."""
    for note in (manifest_of(place), *former_manifests_of(place)):
        with suppress(ManifestError):  # of somebody else
            if (text := note.read()) is not None:
                return Manifest.from_json(text)
    return None


def landed_last(place: Place, subject: Subject) -> Iterator[Place]:
    """Yield where files of this name and report lie below the same root, first what tells of its schema today.

    That is the last interval of the same version, account and filters, if there is one.

    :raises ConfigurationError: when that can't be known.
    """
    root = _root_of(place, subject)
    try:
        if root is not None:
            yield from _last_below(place, root, subject)
            return
        why = "elsewhere than in the default layout"
    except PermissionError as error:
        why = f"where folders can't be listed ({error})"
    raise ConfigurationError(
        f"{place}: schema='freeze' can't tell what is landed {why}: end destination with /, let the folders be "
        "listed, or leave schema out."
    )


def _last_below(place: Place, folders: tuple[str, ...], subject: Subject) -> Iterator[Place]:
    own = [it for it in place.folders if not it.startswith(BOUNDS)]
    names = sorted(place.names_in(folders), reverse=True)
    if place.name in names:
        yield place.elsewhere(folders, place.name)
    for name in sorted(names, key=lambda it: it not in own):
        key, equals, value = name.partition("=")
        if equals and (key != "report_type" or family_of(value) == subject.report):
            yield from _last_below(place, (*folders, name), subject)


def _root_of(place: Place, subject: Subject) -> tuple[str, ...] | None:
    """Return the folders that lead to the root, None where a place is not one of the default layout."""
    folders, depth = place.folders, depth_of_layout(place)
    if depth is None or not place.name.startswith(f"{FILE}."):
        return None
    values = _values(folders[depth].partition("=")[2], subject)
    fits = folders[depth:] in (layout(values), layout(values, former=True))
    return folders[:depth] if fits else None


def _values(report_type: str, subject: Subject) -> dict[str, Any]:
    instants = {name: getattr(subject, name) for name in BOUNDS}
    return {
        "report_type": report_type,
        **({} if subject.stripe_account is None else {"stripe_account": subject.stripe_account}),
        **{name: subject.filters[name] for name in FILTERS if name in subject.filters},
        **{name: datetime.fromtimestamp(it, UTC) for name, it in instants.items() if it is not None},
    }


def _require_unlike(place: Place, names: Collection[str]) -> None:
    """Refuse a second file of the same rows which the readers of the first would take, too."""
    alike = {f"{FILE}.{it}" for it in _READ_ALIKE}
    others = sorted(alike.intersection(names) - {place.name}) if place.name in alike else []
    if others:
        other = place.beside(others[0])
        raise LandingConflictError(
            f"{other} has the same rows, and readers of CSV would count them twice beside {place.name}. "
            "Ways out: land it below another root, or remove that file, and its manifest "
            f"{manifest_of(other)}, if it is to take its place."
        )


class _Listed:
    """Folders of a store, each of them listed once, when it is looked into."""

    def __init__(self, place: Place) -> None:
        self.names_in = cache(place.names_in)
        self.files_below = cache(place.files_below)
        self.place_of = place.elsewhere


def _of_report(listed: _Listed, root: tuple[str, ...], subject: Subject) -> Iterator[tuple[str, ...]]:
    """Yield the folders below a root that all of a report and an account lies in: one for each version."""
    account = () if subject.stripe_account is None else (f"stripe_account={subject.stripe_account}",)
    for name in sorted(listed.names_in(root)):
        key, _, report_type = name.partition("=")
        if key == "report_type" and family_of(report_type) == subject.report:
            yield (*root, name, *account)


def _reports_below(listed: _Listed, folders: tuple[str, ...]) -> Iterator[Place]:
    """Yield the reports in a folder and below it, the last intervals first, by few requests until the first."""
    if folders[-1].startswith(BOUNDS):
        for *inner, name in listed.files_below(folders):
            if is_report(name):
                yield listed.place_of([*folders, *inner], name)
        return
    for name in sorted(listed.names_in(folders), reverse=True):
        key = name.partition("=")[0]
        if is_report(name):
            yield listed.place_of(folders, name)
        elif key in BOUNDS or key.removeprefix(FILTER) in FILTERS:
            yield from _reports_below(listed, (*folders, name))


def _neighbours(
    listed: _Listed, root: tuple[str, ...], subject: Subject
) -> Iterator[tuple[tuple[str, ...], Collection[str], Subject]]:
    """Yield the folders below a root in which something is landed that may overlap, and their files."""
    there = replace(subject, filters={})
    for folders in _of_report(listed, root, subject):
        yield from _below_filters(listed, folders, there, subject)


def _below_filters(
    listed: _Listed, folders: tuple[str, ...], there: Subject, subject: Subject
) -> Iterator[tuple[tuple[str, ...], Collection[str], Subject]]:
    """Yield what is landed in a folder, or below it in one of a filter that does not tell it apart.

    :param there: what the folders so far say, with the bounds of the subject.
    """
    spans: list[tuple[int, str]] = []
    names = listed.names_in(folders)
    for name in names:
        key, _, value = name.partition("=")
        filtered = key.removeprefix(FILTER)
        if filtered in FILTERS and subject.filters.get(filtered, value) == value:
            other = replace(there, filters={**there.filters, filtered: value})
            yield from _below_filters(listed, (*folders, name), other, subject)
        elif key == "interval_start" and subject.interval_start is not None:
            start = instant_of(value)
            if start is not None and start < (subject.interval_end or 0):
                spans.append((start, name))
        elif (
            key == "interval_end" and subject.interval_start is None and instant_of(value) == subject.interval_end
        ):
            if files := list(filter(is_report, listed.names_in((*folders, name)))):
                yield (*folders, name), files, there
        elif subject.interval_end is None and is_report(name):
            yield folders, names, there
    for start, name in sorted(spans, reverse=True):
        ends: dict[str, list[str]] = {}
        for it in listed.files_below((*folders, name)):
            if len(it) == 2 and is_report(it[1]):
                ends.setdefault(it[0], []).append(it[1])
        for folder, files in sorted(ends.items()):
            key, _, value = folder.partition("=")
            if key == "interval_end" and (end := instant_of(value)) is not None:
                yield (*folders, name, folder), files, replace(there, interval_start=start, interval_end=end)
        if ends and start < (subject.interval_start or 0):
            break  # what begins earlier and reaches further would overlap that one
