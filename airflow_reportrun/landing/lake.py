"""The folders below a root: what they are called, where the manifests lie, and what else is landed there.

A root ends before the last folders that are called ``name=value``. Readers take whatever lies below it for data,
hidden folders included, so that the manifests lie beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from airflow_reportrun.landing.manifest import FILTERS, Manifest, Subject
from airflow_reportrun.landing.overlaps import Overlap, described, overlap
from airflow_reportrun.landing.stores.place import MovedError
from airflow_reportrun.reporting.errors import ConfigurationError, LandingConflictError, ManifestError
from airflow_reportrun.reporting.report_type_ids import family_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_reportrun.landing.stores.place import Place

log = logging.getLogger(__name__)

BOUNDS = ("interval_start", "interval_end")

_FILTER = "filter_"  # no report has a column of such a name, and pandas refuses a folder that has a column's
_INSTANT = "%Y-%m-%dT%H-%M-%SZ"  # text to all readers; with colons left out polars makes instants of it
_FORMER_INSTANT = "%Y-%m-%dT%H%M%SZ"
_FILE = "report"
_READ_ALIKE = {"csv", "csv.gz", "zip"}  # by the same calls of some reader
_SHOWN = 5  # neighbours in an error


def layout(values: Mapping[str, Any], *, former: bool = False) -> tuple[str, ...]:
    """Return the folders below a root: one for each thing that tells reports apart.

    :param values: see :func:`~airflow_reportrun.landing.destination.placeholders`.
    :param former: as the first version called them, where that has landed below the root.
    """
    folders = [f"{name}={values[name]}" for name in ("report_type", "stripe_account") if name in values]
    folders += [f"{'' if former else _FILTER}{name}={values[name]}" for name in FILTERS if name in values]
    form = _FORMER_INSTANT if former else _INSTANT
    folders += [f"{name}={values[name].astimezone(UTC).strftime(form)}" for name in BOUNDS if name in values]
    return tuple(folders)


def told_by(folders: Sequence[str], name: str) -> tuple[str, Subject] | None:
    """Return the report type and the subject of a file of the default layout, None for any other file.

    :param folders: in which it lies; ``livemode`` is not told by them.
    """
    depth = next((n for n, it in enumerate(folders) if it.startswith("report_type=")), None)
    if depth is None or not _is_report(name):
        return None
    values: dict[str, str] = {}
    for folder in folders[depth:]:
        key, equals, value = folder.partition("=")
        key = key.removeprefix(_FILTER)
        if not equals or key in values:
            return None
        values[key] = value
    report_type, account = values.pop("report_type"), values.pop("stripe_account", None)
    bounds = {key: _instant(values.pop(key)) for key in BOUNDS if key in values}
    if None in bounds.values() or not values.keys() <= set(FILTERS):
        return None
    start, end = (bounds.get(key) for key in BOUNDS)
    return report_type, Subject(family_of(report_type), False, account, values, start, end)


def is_former(place: Place) -> bool:
    """Tell whether what is landed below the root of the default layout lies in folders of the former names.

    One root has one kind: to readers, the two are columns of different names and types.

    :param place: one of the default layout.
    """
    root = place.folders[: _depth_of_layout(place)]
    try:
        types = sorted(it for it in place.names_in(root) if it.startswith("report_type="))
        told = (_is_former(place, [*root, it]) for it in types)
        return next((it for it in told if it is not None), False)
    except PermissionError:
        return False  # and what is landed there is not seen, which require_apart says


def _is_former(place: Place, folders: Sequence[str]) -> bool | None:
    """Tell it of what lies in a folder, None where nothing tells it."""
    names = sorted(name.partition("=")[::2] for name in place.names_in(folders) if "=" in name)
    for name, value in names:
        if name in BOUNDS:
            return _instant(value, _FORMER_INSTANT) is not None
        if name in FILTERS or name.startswith(_FILTER):
            return name in FILTERS
    for name, value in names:
        if name == "stripe_account":
            found = _is_former(place, [*folders, f"{name}={value}"])
            if found is not None:
                return found
    return None


def manifest_of(place: Place) -> Place:
    """Return the place of the manifest of what lies in another one, whether it is there or not.

    It is beside the root, in a folder that is called as the root with ``_manifests`` behind it, and there in the
    same folders as below the root. Where nothing beside the root lasts as what is in it (a bucket, a mounted
    volume), or can be written, it is below the root, in ``_manifests``, or else in one in the file's own folder.
    """
    beside, below, depth = _beside(place), _below(place), _depth(place)
    if beside and place.can_have(beside.folders[:depth]):
        return beside
    return below if place.can_have(below.folders[: depth + 1]) else _within(place)


def gather_manifest(place: Place) -> None:
    """Bring a manifest that lies elsewhere, as by an earlier version, to where it belongs.

    :raises ManifestError: when something else lies there.
    """
    now = manifest_of(place)
    for former in former_manifests_of(place):
        text = former.read()
        if text is None:
            continue
        _require_manifest(former, text)
        with now.errors(), suppress(MovedError):  # by another task
            known, mark = now.read(), now.mark()
            if known is None or (_is_of(text, place) and not _is_of(known, place)):
                now.write(text, mark)  # first, so that no kill leaves data of which nothing tells
        former.remove()


def _require_manifest(note: Place, text: bytes) -> None:
    try:
        Manifest.from_json(text)
    except ManifestError as error:
        raise ManifestError(f"{note}: {error}") from None


def _is_of(text: bytes, place: Place) -> bool:
    """Tell whether a manifest tells of what is there."""
    with suppress(ManifestError):
        it = Manifest.from_json(text)
        return place.has(it.size, it.sha256, it.etag)
    return False


def folders_of_manifests(place: Place) -> list[tuple[str, ...]]:
    """Return the folders outside of a place's own in which the manifests of what lies there and below may be."""
    own = place.folders
    found = [it.folders for it in (_beside(place), _below(place)) if it]
    return [it for it in found if it[: len(own)] != own]


def data_of(folders: Sequence[str], name: str) -> tuple[tuple[str, ...], str] | None:
    """Return the folders of the data that a file is the manifest of, and the manifest's name now.

    None for a file that is not called as a manifest.
    """
    own = tuple(it.removesuffix("_manifests") for it in folders if it != "_manifests")
    if name.startswith("_") and name.endswith(".manifest.json"):  # of an earlier version
        return own, note_of(name.removeprefix("_").removesuffix(".manifest.json"))
    told = name.endswith(".json") and any(it.endswith("_manifests") for it in folders)
    return (own, name) if told else None


def former_manifests_of(place: Place) -> list[Place]:
    """Return where the manifest may be besides: beside the data, or where it would be for another worker."""
    from airflow_reportrun.landing.stores.local import LocalFile

    now = manifest_of(place).url
    others = [_beside(place), _below(place), _within(place)] if isinstance(place, LocalFile) else []
    others.append(place.beside(f"_{place.name}.manifest.json"))
    return [it for it in others if it and it.url != now]


def _depth(place: Place) -> int:
    """Return how many folders lead to the root."""
    folders = place.folders
    depth = len(folders)
    while depth > place.anchor and "=" in folders[depth - 1]:
        depth -= 1
    return depth


def root_of(place: Place) -> tuple[str, ...]:
    """Return the folders that lead to the root, and it."""
    return place.folders[: _depth(place)]


def _beside(place: Place) -> Place | None:
    depth, folders = _depth(place), place.folders
    if depth <= place.anchor:
        return None
    return place.elsewhere(
        [*folders[: depth - 1], f"{folders[depth - 1]}_manifests", *folders[depth:]], _note(place)
    )


def _below(place: Place) -> Place:
    depth, folders = _depth(place), place.folders
    return place.elsewhere([*folders[:depth], "_manifests", *folders[depth:]], _note(place))


def _within(place: Place) -> Place:
    return place.elsewhere([*place.folders, "_manifests"], _note(place))


def _note(place: Place) -> str:
    return note_of(place.name)


def note_of(name: str) -> str:
    """Return the name of the manifest of a file, which no pattern for data such as ``*.csv*`` fits."""
    return f"{name.replace('.', '-')}.json"


def require_apart(place: Place, subject: Subject, *, any_mode: bool = False) -> None:
    """Refuse to land in the default layout what would count rows twice beside what is landed there.

    So would test data beside live data, to who reads the whole folder. What is landed is told by the names of its
    folders, and its mode by one manifest, since all of a report and an account are of the same. Of what begins
    before the interval, the last alone is looked at. Other layouts say nothing.

    :param any_mode: whether the subject is test data or live data is not known yet.
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
            seen += [place.elsewhere(folders, it) for it in names if _is_report(it)]
            if not beside and (alike := _read_alike(place, names)):
                raise LandingConflictError(
                    f"{alike} has the same rows, and readers of CSV would count them twice beside {place.name}. "
                    "Ways out: land it below another root, or remove that file, and its manifest "
                    f"{manifest_of(alike)}, if it is to take its place."
                )
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
    there = next((told for it in others if (told := _told_of(it))), None)
    if there and there.livemode != subject.livemode:
        mine, its = ("live", "test") if subject.livemode else ("test", "live")
        raise LandingConflictError(
            f"{place.url.partition('/report_type=')[0]}/ has {its} data (report run {there.report_run_id}), and "
            f"{described(subject)} is of {mine} data: land it below another root."
        )


def _told_of(place: Place) -> Manifest | None:
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


def _depth_of_layout(place: Place) -> int | None:
    return next((n for n, it in enumerate(place.folders) if it.startswith("report_type=")), None)


def _root_of(place: Place, subject: Subject) -> tuple[str, ...] | None:
    """Return the folders that lead to the root, None where a place is not one of the default layout."""
    folders, depth = place.folders, _depth_of_layout(place)
    if depth is None or not place.name.startswith(f"{_FILE}."):
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


def _read_alike(place: Place, names: Collection[str]) -> Place | None:
    """Return a second file of the same rows which the readers of the first would take, too."""
    alike = {f"{_FILE}.{it}" for it in _READ_ALIKE}
    others = sorted(alike.intersection(names) - {place.name}) if place.name in alike else []
    return place.beside(others[0]) if others else None


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
            if _is_report(name):
                yield listed.place_of([*folders, *inner], name)
        return
    for name in sorted(listed.names_in(folders), reverse=True):
        key = name.partition("=")[0]
        if _is_report(name):
            yield listed.place_of(folders, name)
        elif key in BOUNDS or key.removeprefix(_FILTER) in FILTERS:
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
        filtered = key.removeprefix(_FILTER)
        if filtered in FILTERS and subject.filters.get(filtered, value) == value:
            other = replace(there, filters={**there.filters, filtered: value})
            yield from _below_filters(listed, (*folders, name), other, subject)
        elif key == "interval_start" and subject.interval_start is not None:
            start = _instant(value)
            if start is not None and start < (subject.interval_end or 0):
                spans.append((start, name))
        elif key == "interval_end" and subject.interval_start is None and _instant(value) == subject.interval_end:
            if files := list(filter(_is_report, listed.names_in((*folders, name)))):
                yield (*folders, name), files, there
        elif subject.interval_end is None and _is_report(name):
            yield folders, names, there
    for start, name in sorted(spans, reverse=True):
        ends: dict[str, list[str]] = {}
        for it in listed.files_below((*folders, name)):
            if len(it) == 2 and _is_report(it[1]):
                ends.setdefault(it[0], []).append(it[1])
        for folder, files in sorted(ends.items()):
            key, _, value = folder.partition("=")
            if key == "interval_end" and (end := _instant(value)) is not None:
                yield (*folders, name, folder), files, replace(there, interval_start=start, interval_end=end)
        if ends and start < (subject.interval_start or 0):
            break  # what begins earlier and reaches further would overlap that one


def _is_report(name: str) -> bool:
    return name.startswith(f"{_FILE}.")


@lru_cache(maxsize=1024)
def _instant(value: str, *forms: str) -> int | None:
    """Return the epoch seconds that a folder's value stands for, None where it stands for none."""
    for form in forms or (_INSTANT, _FORMER_INSTANT):
        try:
            return int(datetime.strptime(value, form).replace(tzinfo=UTC).timestamp())
        except ValueError:
            continue
    return None


def gather_manifests(root: str) -> int:
    """Bring all manifests that an earlier version left beside data to where they belong; return how many.

    :param root: as in ``destination``: an absolute path, or a URL with the id of the Airflow connection.
    :raises ConfigurationError: when it is none.
    :raises ManifestError: when something else is called as a manifest; all others are moved.
    """
    from airflow_reportrun.landing.destination import resolve_destination
    from airflow_reportrun.landing.stores import place_of

    top, moved, others = place_of(resolve_destination(f"{root.rstrip('/')}/_", {})), 0, []
    with top.errors():
        for *folders, name in top.files_below(top.folders):
            if name.startswith("_") and name.endswith(".manifest.json"):
                data = name.removeprefix("_").removesuffix(".manifest.json")
                try:
                    gather_manifest(top.elsewhere([*top.folders, *folders], data))
                    moved += 1
                except ManifestError as error:
                    others.append(str(error))
    if others:
        raise ManifestError(f"{moved} manifests were moved. {' '.join(others)}")
    return moved
