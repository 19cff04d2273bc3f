"""The folders below a root: what they are called, and where the manifests lie.

A root ends before the last folders that are called ``name=value``. Readers take whatever lies below it for data,
hidden folders included, so that the manifests lie beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow_reportrun.landing.manifest import FILTERS, Manifest, Subject
from airflow_reportrun.landing.stores.place import MovedError
from airflow_reportrun.reporting.errors import ManifestError
from airflow_reportrun.reporting.report_type_ids import family_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_reportrun.landing.stores.place import Place

BOUNDS = ("interval_start", "interval_end")

FILTER = "filter_"  # no report has a column of such a name, and pandas refuses a folder that has a column's
_INSTANT = "%Y-%m-%dT%H-%M-%SZ"  # text to all readers; with colons left out polars makes instants of it
_FORMER_INSTANT = "%Y-%m-%dT%H%M%SZ"
FILE = "report"
_READ_ALIKE = {"csv", "csv.gz", "zip"}  # by the same calls of some reader
_SHOWN = 5  # neighbours in an error

WAS_MOVED = "a lake that was moved needs its manifests, too"
"""What to say where files have no manifests."""


def layout(values: Mapping[str, Any], *, former: bool = False) -> tuple[str, ...]:
    """Return the folders below a root: one for each thing that tells reports apart.

    :param values: see :func:`~airflow_reportrun.landing.destination.placeholders`.
    :param former: as the first version called them, where that has landed below the root.
    """
    folders = [f"{name}={values[name]}" for name in ("report_type", "stripe_account") if name in values]
    folders += [f"{'' if former else FILTER}{name}={values[name]}" for name in FILTERS if name in values]
    form = _FORMER_INSTANT if former else _INSTANT
    folders += [f"{name}={values[name].astimezone(UTC).strftime(form)}" for name in BOUNDS if name in values]
    return tuple(folders)


def told_by(folders: Sequence[str], name: str) -> tuple[str, Subject] | None:
    """Return the report type and the subject of a file of the default layout, None for any other file.

    :param folders: in which it lies; ``livemode`` is not told by them.
    """
    depth = next((n for n, it in enumerate(folders) if it.startswith("report_type=")), None)
    if depth is None or not is_report(name):
        return None
    values: dict[str, str] = {}
    for folder in folders[depth:]:
        key, equals, value = folder.partition("=")
        key = key.removeprefix(FILTER)
        if not equals or key in values:
            return None
        values[key] = value
    report_type, account = values.pop("report_type"), values.pop("stripe_account", None)
    bounds = {key: instant_of(values.pop(key)) for key in BOUNDS if key in values}
    if None in bounds.values() or not values.keys() <= set(FILTERS):
        return None
    start, end = (bounds.get(key) for key in BOUNDS)
    return report_type, Subject(family_of(report_type), False, account, values, start, end)


def is_former(place: Place) -> bool:
    """Tell whether what is landed below the root of the default layout lies in folders of the former names.

    One root has one kind: to readers, the two are columns of different names and types.

    :param place: one of the default layout.
    """
    root = place.folders[: depth_of_layout(place)]
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
            return instant_of(value, _FORMER_INSTANT) is not None
        if name in FILTERS or name.startswith(FILTER):
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


def depth_of_layout(place: Place) -> int | None:
    """Return how many folders lead to the root of the default layout, None where there is no such layout."""
    return next((n for n, it in enumerate(place.folders) if it.startswith("report_type=")), None)


def is_report(name: str) -> bool:
    """Tell whether a file is called as those of the default layout."""
    return name.startswith(f"{FILE}.")


@lru_cache(maxsize=1024)
def instant_of(value: str, *forms: str) -> int | None:
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
