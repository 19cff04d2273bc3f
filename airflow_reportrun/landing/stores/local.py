"""Files on the worker's own disks, or on what is mounted there: whole, or as they were before."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from airflow_reportrun.landing.stores.place import ANY, Listed, MovedError, Place, Replacement, Unreadable
from airflow_reportrun.reporting.errors import DownloadError, StoreError

_AHEAD = 8 << 20
"""Bytes that are written before the disk begins with them."""


class LocalFile(Place):
    """A file under an absolute path, readable by its owner alone.

    What killed processes left of the same file is removed by the next one that writes it.
    """

    compares = False

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    @property
    def uri(self) -> str:
        """Return the path with the scheme ``file``."""
        return self._path.as_uri()

    @property
    def dataset(self) -> tuple[str, str]:
        """Return ``file`` and the path."""
        return "file", self.url

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders that it lies in, from the root of the file system."""
        return self._parent.parts[1:]

    @property
    def _parent(self) -> Path:
        """The folder itself, whatever links lead to it: two names for it have one manifest."""
        return Path(os.path.realpath(self._path.parent))

    @property
    def anchor(self) -> int:
        """How many of the folders lead to what is mounted, 0 on the system's own disk."""
        return next(len(it.parts) - 1 for it in (self._parent, *self._parent.parents) if _is_mounted(it))

    def elsewhere(self, folders: Sequence[str], name: str) -> LocalFile:
        """Return a file in other folders."""
        return LocalFile(_folder(folders) / name)

    def can_have(self, folders: Sequence[str]) -> bool:
        """Tell whether a folder is there, or the one that it would be made in can be written into."""
        folder = _folder(folders)
        above = next(it for it in folder.parents if os.path.exists(it))
        return folder.is_dir() or os.access(above, os.W_OK | os.X_OK)

    def names_in(self, folders: Sequence[str]) -> list[str]:
        """Return the names of what lies in a folder, none where there is no such folder."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return os.listdir(_folder(folders))
        return []

    def files_below(
        self, folders: Sequence[str], unreadable: Unreadable | None = None
    ) -> Mapping[tuple[str, ...], Listed]:
        """Return the files in a folder and those below it."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return dict(_files(str(_folder(folders)), (), unreadable))
        return {}

    def require_space(self, size: int) -> None:
        """Refuse what the file system has no room for; a file that is replaced takes its own until then."""
        folder = next(parent for parent in self._path.parents if parent.exists())
        free = shutil.disk_usage(folder).free
        if free < size:
            raise DownloadError(
                f"{self._path.name} has {size} bytes, and {folder} has room for {free}; nothing was downloaded"
            )

    def read(self) -> bytes | None:
        """Return the contents, None where there is no file."""
        with suppress(FileNotFoundError):
            return self._path.read_bytes()
        return None

    def remove(self) -> None:
        """Remove the file, if there is one."""
        self._path.unlink(missing_ok=True)
        _sync_folder(self._path.parent)

    def has(self, size: int | None, sha256: str | None, etag: str | None, mark: object = None) -> bool:
        """Tell whether the file has these contents; reads it where its size is right."""
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == size:
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256
        return False

    def mark(self) -> object:
        """Return which file it is, and of when."""
        with suppress(FileNotFoundError):
            return _mark(self._path.stat())
        return None

    @contextmanager
    def replaced(self, expected: object = ANY, *, near: Place | None = None) -> Iterator[Replacement]:
        """Give a file to write, which takes the place of this one when published; missing folders are made."""
        folder = near._path.parent if isinstance(near, LocalFile) else self._path.parent
        for it in (self._path.parent, folder):
            it.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_dev != self._path.parent.stat().st_dev:  # by a link
            folder = self._path.parent
        descriptor, temporary = _temporary(self._path, folder)
        try:
            with io.BufferedWriter(_Output(descriptor, "wb")) as file:

                def finish() -> None:
                    file.flush()
                    os.fsync(file.fileno())

                def publish(expected: object) -> object:
                    if expected is not ANY and self.mark() != expected:
                        raise MovedError
                    mark = _mark(os.fstat(file.fileno()))
                    os.replace(temporary, self._path)
                    _sync_folder(self._path.parent)
                    return mark

                yield Replacement(file, finish, publish)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)

    @contextmanager
    def locked(self, folders: Sequence[str]) -> Iterator[bool]:
        """Keep out who else publishes, by a lock on a folder that ends with its process, however that ends."""
        descriptor = os.open(_folder(folders), os.O_RDONLY)  # no file of its own would be left
        try:
            locked = False
            with suppress(OSError):  # a file system without locks: what is expected is compared there, too
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                locked = True
            yield locked
        finally:
            os.close(descriptor)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Say what went wrong in the operating system's words, as our error."""
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self}: {error.strerror or error}") from error


class _Output(io.FileIO):
    """A file that the disk takes while it is written, so that little is left to wait for at its end."""

    _written = _begun = 0

    def write(self, data: Any, /) -> int:
        size = super().write(data)
        self._written += size
        if self._written - self._begun >= _AHEAD:
            with suppress(AttributeError, OSError):  # of Linux alone, and only advice
                os.posix_fadvise(self.fileno(), self._begun, self._written - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = self._written
        return size


def _folder(folders: Sequence[str]) -> Path:
    return Path(os.sep, *folders)


def _files(
    folder: str, names: tuple[str, ...], unreadable: Unreadable | None
) -> Iterator[tuple[tuple[str, ...], Listed]]:
    def may_not(error: PermissionError, *name: str) -> None:
        if unreadable is None:
            raise error
        unreadable((*names, *name), error)

    try:
        entries = os.scandir(folder)
    except PermissionError as error:
        return may_not(error)
    with entries:
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(entry.path, (*names, entry.name), unreadable)
                elif entry.is_file():
                    it = entry.stat()
                    yield (*names, entry.name), Listed(it.st_size, f"{it.st_mtime_ns:020}")
            except PermissionError as error:  # a link may lead anywhere
                may_not(error, entry.name)
            except FileNotFoundError:  # removed meanwhile
                continue


def _is_mounted(folder: Path) -> bool:
    """Tell whether a folder is on another file system than the one above it, as a link to it is, too."""
    with suppress(OSError):
        return os.path.ismount(folder) or folder.stat().st_dev != folder.parent.stat().st_dev
    return False


def _mark(it: os.stat_result) -> object:
    return it.st_ino, it.st_mtime_ns, it.st_size


def _temporary(path: Path, folder: Path) -> tuple[int, str]:
    """Make a file that is to become another one; it is locked for as long as it is open."""
    # Names may be as long as the file system allows, so that they don't fit into one of ours.
    name = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    prefix = f".airflow-reportrun-{name}-"
    for left in (*folder.glob(f"{prefix}*.part"), *path.parent.glob(f"{prefix}*.part")):
        _remove_if_dead(left)
    while True:
        # On the same file system, since only there a rename is atomic; mkstemp gives it mode 0600.
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=prefix, suffix=".part")
        with suppress(OSError):  # a file system without locks, where nobody takes this for dead either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, temporary
        os.close(descriptor)  # somebody came between the two and took it for dead


def _remove_if_dead(part: Path) -> None:
    """Remove a temporary file unless its writer lives: a lock ends with its process, however that ends."""
    with suppress(OSError), part.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part.unlink()


def _sync_folder(folder: Path) -> None:
    """Make a change of names survive a power cut, on file systems that can: it is seen either way."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
