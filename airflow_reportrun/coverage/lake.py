"""What is landed in a store: told by the names of folders and files, and by manifests where these don't tell."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from os.path import isabs, isdir, isfile
from typing import Any

from airflow_reportrun.coverage.landings import Landing
from airflow_reportrun.landing.beside import told_of
from airflow_reportrun.landing.destination import refuse_credentials
from airflow_reportrun.landing.lake import WAS_MOVED, data_of, folders_of_manifests, note_of, told_by
from airflow_reportrun.landing.manifest import Manifest, Subject
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.landing.stores.local import LocalFile
from airflow_reportrun.landing.stores.place import Listed
from airflow_reportrun.reporting.errors import (
    ConfigurationError,
    ManifestError,
    ReportingError,
    StoreError,
    raise_alone,
)

log = logging.getLogger(__name__)

_AT_ONCE = 16
"""Manifests that are read at the same time."""

_LATEST = 100
"""Manifests that are read for having changed last, where not all are: an interrupted landing is among them."""

Names = tuple[str, ...]


@dataclass(frozen=True)
class _Note:
    """A manifest that is there, as the list of it says: in which folders, and where that is."""

    folders: Names
    name: str
    url: str
    listed: Listed


_Named = tuple[Landing, _Note, Listed]
"""What names tell of, its manifest, and what the list said of its file."""


class Lake:
    """What is landed in a folder and below it, in any layout.

    In the default layout names say which interval a file is of, so that not each manifest has to be read:

    * On disks all are.
    * In stores those that changed last, that of the last interval of each report, those without their file, and
      those of files that are so small that they may have no rows; of files with the same ETag, one. Of the others
      it is taken that they are landed as their names say: a file is published whole or not at all.

    In other layouts all manifests are read.

    :param destination: as a task's, or the beginning of one: a folder, the root of the default layout, or with
        placeholders, from the first of which on it is left out. Of a file that is landed it is the folder.
    :raises ConfigurationError: when it can't be one.
    :raises ConnectionLookUpError: when Airflow gives no such connection.
    """

    def __init__(self, destination: str) -> None:
        refuse_credentials(destination)
        root = destination.partition("{")[0]
        if root != destination:
            root = root.rpartition("/")[0]
        root = root.removeprefix("file://") if root.startswith("file:///") else root
        if "://" not in root and not isabs(root):
            raise ConfigurationError(f"destination {destination!r} is no absolute path and no URL.")
        self._destination = destination
        self._look_in(root.rstrip("/") or "/")

    def _look_in(self, root: str) -> None:
        self.root, self._untold = root, 0
        self.passed_over: list[str] = []
        with self._quoted():
            self._top = place_of(f"{root}/_")

    def __str__(self) -> str:
        return self.root

    @contextmanager
    def _quoted(self) -> Iterator[None]:
        """Let an error quote what was given, instead of a file below it that stands for all of them."""
        try:
            yield
        except ReportingError as error:
            said = re.sub(rf"{re.escape(self.root)}/_(?![\w.-])", lambda _: self._destination, str(error))
            raise_alone(type(error)(said))

    @property
    def is_to_be_made(self) -> bool:
        """Never: folders that are not there can be looked at, too."""
        return False

    def landings(self) -> list[Landing]:
        """Return what is landed there; see the class."""
        found = self._landings()
        if not found and self._is_landed_file():
            self._look_in(self.root.rpartition("/")[0] or "/")
            found = self._landings()
        return found

    def nothing(self) -> str:
        """Say that nothing is landed there, that there is no such folder, or that files lack their manifests."""
        if isinstance(self._top, LocalFile) and not isdir(self.root):
            but = ", but a file that no manifest tells of" if isfile(self.root) else ""
            return f"There is no folder {self.root}{but}."
        said = f"Nothing is landed in {self.root}."
        if not self._untold:
            return said
        files = "One file lies" if self._untold == 1 else f"{self._untold} files lie"
        return f"{said} {files} there without a manifest; {WAS_MOVED} (in folders called …_manifests)."

    def _is_landed_file(self) -> bool:
        """Tell whether the destination is that of one file, as its manifest says where it can be read."""
        if "{" in self._destination or self._destination.endswith("/"):
            return False
        file = place_of(self.root)
        with suppress(StoreError), file.errors():
            it = told_of(file) if len(file.folders) >= file.anchor else None
            return it is not None and it.path == file.name
        return False

    def _landings(self) -> list[Landing]:
        top, own = self._top, self._top.folders
        self.passed_over.clear()
        with self._quoted(), top.errors(), ThreadPoolExecutor(_AT_ONCE) as pool:
            lists = self._lists()
            below = list(pool.map(self._files_in, (folders for folders, _ in lists)))
            files, notes = below[0], self._notes(zip(lists, below, strict=True))
            told = set(notes)
            found: list[Landing] = []
            by_names: list[_Named] = []
            for (*folders, name), listed in files.items():
                names = told_by([*own, *folders], name)
                note = notes.pop((tuple(folders), note_of(name)), None) if names else None
                if names and note:  # without a manifest it is nobody's
                    path = "/".join([self.root, *folders, name])
                    by_names.append((_by_names(*names, name, path, note.url), note, listed))
            read: dict[_Note, Manifest | None] = {}
            for choose in (_all,) if isinstance(top, LocalFile) else (_latest, _perhaps_empty):
                wanted = [note for note in choose(by_names, read) if note not in read]
                read |= zip(wanted, self._read(wanted), strict=True)
            empty = {there.etag for _, note, there in by_names if (it := read.get(note)) and it.rows == 0} - {""}
            for by_name, note, there in by_names:
                if note in read:
                    found += _checked(by_name, read[note], there)
                else:
                    found.append(replace(by_name, is_empty=there.etag in empty))
            for (inside, _), note, manifest in zip(notes, notes.values(), self._read(notes.values()), strict=True):
                if manifest:
                    path = "/".join([self.root, *inside, manifest.path])
                    data = files.get((*inside, manifest.path))
                    found += _checked(Landing.of(manifest, path=path, told_at=note.url), manifest, data)
            self._untold = 0 if found else sum(_is_untold(folders, name, told) for *folders, name in files)
            return found

    def manifest(self, told_at: str) -> Manifest | None:
        """Return the manifest of a landing, None where it is there no longer.

        :raises ConfigurationError: when no manifest of what is landed there can be called so.
        """
        for folders, own in self._lists():
            prefix = self._prefix(folders)
            *below, name = told_at.removeprefix(prefix).split("/")
            if told_at.startswith(prefix) and ".." not in below and data_of([*own, *below], name):
                place = self._top.elsewhere([*folders, *below], name)
                with place.errors():
                    text = place.read()
                return None if text is None else Manifest.from_json(text)
        raise ConfigurationError(f"{told_at!r} is no manifest of what is landed in {self}.")

    def _lists(self) -> list[tuple[Names, Names]]:
        """Return the folders in which manifests may be, and what their names are to be read behind."""
        return [(self._top.folders, ()), *((it, ("_manifests",)) for it in folders_of_manifests(self._top))]

    def _files_in(self, folders: Names) -> Mapping[Names, Listed]:
        """Return the files below a folder, without those in what may not be read, which may be nobody's."""

        def pass_over(names: Names, error: PermissionError) -> None:
            said = f"{self._prefix((*folders, *names)).rstrip('/')}: {error.strerror}"
            if not names:
                raise StoreError(said) from error
            self.passed_over.append(f"{said}: what may be landed there is not shown.")
            log.warning("%s", self.passed_over[-1])

        return self._top.files_below(folders, pass_over)

    def _prefix(self, folders: Names) -> str:
        return self._top.elsewhere(folders, "_").url.removesuffix("_")

    def _notes(
        self, lists: Iterable[tuple[tuple[Names, Names], Mapping[Names, Listed]]]
    ) -> dict[tuple[Names, str], _Note]:
        """Return the manifests by the folders of their data, below the root, and their names."""
        found: dict[tuple[Names, str], _Note] = {}
        for (folders, own), files in lists:
            prefix = self._prefix(folders)
            for names, listed in files.items():
                *below, name = names
                if key := data_of([*own, *below], name):
                    found[key] = _Note((*folders, *below), name, f"{prefix}{'/'.join(names)}", listed)
        return found

    def _read(self, notes: Iterable[_Note]) -> list[Manifest | None]:
        def read(note: _Note) -> Manifest | None:
            place = self._top.elsewhere(note.folders, note.name)
            with place.errors():
                text = place.read()
            try:
                return None if text is None else Manifest.from_json(text)
            except ManifestError as error:
                log.warning("%s: %s", note.url, error)
                return None

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(read, notes))


def _is_untold(folders: Sequence[str], name: str, told: Collection[tuple[Names, str]]) -> bool:
    """Tell whether a file is one without a manifest, those left out that readers pass over."""
    if any(it.startswith(("_", ".")) for it in (*folders, name)) or data_of(folders, name):
        return False
    return (tuple(folders), note_of(name)) not in told


def _by_names(report_type: str, subject: Subject, name: str, path: str, told_at: str) -> Landing:
    return Landing(
        report_type=report_type,
        stripe_account=subject.stripe_account,
        filters=subject.filters,
        interval_start=subject.interval_start,
        interval_end=subject.interval_end,
        format=name.partition(".")[2],
        path=path,
        told_at=told_at,
    )


def _checked(it: Landing, manifest: Manifest | None, there: Listed | None) -> list[Landing]:
    """Return a landing as its manifest tells of it, nothing where it is not, or no longer, what lies there."""
    if manifest is None:
        return []
    if not manifest.landing and (there is None or manifest.size not in (None, there.size)):
        log.warning("%s is not what its manifest tells of (%s): it counts as missing.", it.path, it.told_at)
        return []
    return [replace(it, whole=not manifest.landing, manifest=manifest, is_empty=manifest.rows == 0)]


# --- Which manifests are read, of those whose files are told by their names ----------------------------------


def _all(found: Sequence[_Named], read: Mapping[_Note, Manifest | None]) -> list[_Note]:
    return [note for _, note, _ in found]


def _latest(found: Sequence[_Named], read: Mapping[_Note, Manifest | None]) -> list[_Note]:
    """Return those that changed last, and of each kind the one with the latest interval."""
    if not all(there.etag for _, _, there in found):
        return _all(found, read)
    newest: dict[Any, tuple[Landing, _Note]] = {}
    for it, note, _ in found:
        if (kind := _kind(it)) not in newest or (it.interval_end or 0) > (newest[kind][0].interval_end or 0):
            newest[kind] = it, note
    by_time = sorted((note for _, note, _ in found), key=lambda it: it.listed.modified)
    return list(dict.fromkeys((*(note for _, note in newest.values()), *by_time[-_LATEST:])))


def _perhaps_empty(found: Sequence[_Named], read: Mapping[_Note, Manifest | None]) -> list[_Note]:
    """Return those of files that are no larger than one without rows can be."""
    known = {_kind(it): manifest for it, note, _ in found if (manifest := read.get(note))}
    small: dict[object, _Note] = {}
    for it, note, there in found:
        columns = known[_kind(it)].columns if _kind(it) in known else None
        if columns and there.size <= _most_without_rows(it.format, columns):
            small[there.etag or note] = note
    return list(small.values())


def _kind(it: Landing) -> Any:
    filters = {name: value for name, value in it.filters.items() if name != "payout"}  # of which there are many
    return it.report_type, it.stripe_account, tuple(sorted(filters.items())), it.format


def _most_without_rows(format: str, columns: Sequence[str]) -> int:
    """Return the size that a file of these columns surely has not without rows, as measured with pyarrow 26."""
    header = sum(len(it.encode()) + 3 for it in columns)  # quotes and a comma
    # Parquet has about 100 bytes for a column, and 120 more where there are rows.
    return {"csv": header, "csv.gz": header + 60, "parquet": header + 160 * len(columns) + 400}.get(format, 0)
