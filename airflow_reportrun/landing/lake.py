"""The folders below a root: what they are called, where the manifests lie, and what else is landed there.

A root ends before the first folder that is called ``name=value``. Readers take whatever lies below it for data,
hidden folders included, so that the manifests lie beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_reportrun.landing.manifest import FILTERS, Manifest, Subject
from airflow_reportrun.landing.overlaps import Overlap, described, overlap
from airflow_reportrun.landing.stores.place import MovedError
from airflow_reportrun.reporting.errors import LandingConflictError, ManifestError
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


def is_former(place: Place) -> bool:
    """Tell whether what is landed below the root of the default layout lies in folders of the former names.

    One root has one kind: to readers, the two are columns of different names and types.

    :param place: one of the default layout.
    """
    root = place.folders[: _depth_of_layout(place)]
    try:
        return bool(_is_former(place, root))
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
        if name in ("report_type", "stripe_account"):
            found = _is_former(place, [*folders, f"{name}={value}"])
            if found is not None:
                return found
    return None


def manifest_of(place: Place) -> Place:
    """Return the place of the manifest of what lies in another one, whether it is there or not.

    It is beside the root, in a folder that is called as the root with ``_manifests`` behind it, and there in the
    same folders as below the root. Where nothing beside the root lasts as what is in it (a bucket, a mounted
    volume), or can be written, it is below the root, in ``_manifests``.
    """
    beside, below = _beside(place), _below(place)
    return beside if beside and place.can_have(beside.folders[: _depth(place)]) else below


def gather_manifest(place: Place) -> None:
    """Bring a manifest that lies elsewhere, as by an earlier version, to where it belongs.

    :raises ManifestError: when something else lies there.
    """
    now = manifest_of(place)
    for former in former_manifests_of(place):
        text = former.read()
        if text is None:
            continue
        try:
            Manifest.from_json(text)
        except ManifestError as error:
            raise ManifestError(f"{former}: {error}") from None
        if now.read() is None:
            with suppress(MovedError):  # by another task
                now.write(text, None)  # first, so that no kill leaves data of which nothing tells
        former.remove()


def former_manifests_of(place: Place) -> list[Place]:
    """Return where the manifest may be besides: beside the data, or where it would be for another worker."""
    from airflow_reportrun.landing.stores.local import LocalFile

    now = manifest_of(place).url
    others = [_beside(place), _below(place)] if isinstance(place, LocalFile) else []
    others.append(place.beside(f"_{place.name}.manifest.json"))
    return [it for it in others if it and it.url != now]


def _depth(place: Place) -> int:
    """Return how many folders lead to the root."""
    folders = place.folders
    return next((n for n, it in enumerate(folders) if n >= place.anchor and "=" in it), len(folders))


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


def _note(place: Place) -> str:
    """Return a name that no pattern for data such as ``*.csv*`` fits."""
    return f"{place.name.replace('.', '-')}.json"


def require_apart(place: Place, subject: Subject) -> None:
    """Refuse to land in the default layout what would count rows twice beside what is landed there.

    What is landed is told by the names of its folders. Of what begins before the interval, the last alone is
    looked at. Other layouts say nothing.

    :raises LandingConflictError: see above.
    """
    root = _root_of(place, subject)
    if root is None:
        return
    found: dict[Sequence[str], Subject] = {}
    try:
        for folders, other in _neighbours(place, root, subject):
            if overlap(subject, other) is not Overlap.APART:
                found[folders] = other
            if len(found) > _SHOWN:
                break
    except PermissionError as error:
        log.warning("%s: what overlaps it is not looked for, since folders can't be listed (%s).", place, error)
        return
    if found:
        shown = "; ".join(
            f"{described(other)} ({'/'.join(folders)})" for folders, other in list(found.items())[:_SHOWN]
        )
        more = " and more" if len(found) > _SHOWN else ""
        raise LandingConflictError(
            f"{described(subject)} would count the same twice beside what is landed below the same root: "
            f"{shown}{more}. Ways out: land it below another root, or remove these folders, with their manifests, "
            f"if it is to take their place ({place})."
        )


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


def _neighbours(place: Place, root: tuple[str, ...], subject: Subject) -> Iterator[tuple[Sequence[str], Subject]]:
    """Yield what is landed below a root and may overlap, by folders below it."""
    account = () if subject.stripe_account is None else (f"stripe_account={subject.stripe_account}",)
    for name in sorted(place.names_in(root)):
        key, _, report_type = name.partition("=")
        if key == "report_type" and family_of(report_type) == subject.report:
            for folders, other in _below_filters(
                place, (*root, name, *account), replace(subject, filters={}), subject
            ):
                if folders != place.folders:
                    yield folders[len(root) :], other


def _below_filters(
    place: Place, folders: tuple[str, ...], there: Subject, subject: Subject
) -> Iterator[tuple[tuple[str, ...], Subject]]:
    """Yield what is landed in a folder, or below it in one of a filter that does not tell it apart.

    :param there: what the folders so far say, with the bounds of the subject.
    """
    spans: list[tuple[int, str]] = []
    for name in place.names_in(folders):
        key, _, value = name.partition("=")
        filtered = key.removeprefix(_FILTER)
        if filtered in FILTERS and subject.filters.get(filtered, value) == value:
            other = replace(there, filters={**there.filters, filtered: value})
            yield from _below_filters(place, (*folders, name), other, subject)
        elif key == "interval_start" and subject.interval_start is not None:
            start = _instant(value)
            if start is not None and start < (subject.interval_end or 0):
                spans.append((start, name))
        elif key == "interval_end" and subject.interval_start is None and _instant(value) == subject.interval_end:
            if any(map(_is_report, place.names_in((*folders, name)))):
                yield (*folders, name), there
        elif subject.interval_end is None and _is_report(name):
            yield folders, there
    for start, name in sorted(spans, reverse=True):
        ends = {it[0] for it in place.files_below((*folders, name)) if len(it) == 2 and _is_report(it[1])}
        for folder in sorted(ends):
            key, _, value = folder.partition("=")
            if key == "interval_end" and (end := _instant(value)) is not None:
                yield (*folders, name, folder), replace(there, interval_start=start, interval_end=end)
        if ends and start < (subject.interval_start or 0):
            break  # what begins earlier and reaches further would overlap that one


def _is_report(name: str) -> bool:
    return name.startswith(f"{_FILE}.")


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
