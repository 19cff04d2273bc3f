"""Objects in the stores of Amazon, Google and Azure, published by completing their upload and never moved."""

from __future__ import annotations

import hashlib
import io
import logging
import re
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from airflow_reportrun.landing.stores.conditions import Mark, conditions_of
from airflow_reportrun.landing.stores.place import ANY, Listed, MovedError, Place, Replacement, Unreadable
from airflow_reportrun.reporting.errors import ConfigurationError, ReportingError, StoreError, raise_alone

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


log = logging.getLogger(__name__)

UPLOAD_SIZE = 8 * 1024 * 1024
"""Bytes that go up at a time, and are in memory."""

_MEMORY = threading.RLock()


class StoredObject(Place):
    """An object in a store that Airflow knows by its scheme, through the connection in its URL.

    A writer that is killed leaves an upload that nobody sees, and that the store's own rules remove.
    """

    def __init__(self, url: str, fs: AbstractFileSystem, path: str) -> None:
        super().__init__(url)
        self._fs = fs
        self._path = path
        self._conditions = conditions_of(fs)

    @property
    def dataset(self) -> tuple[str, str]:
        """Return the bucket and the key; Azure's containers are known by their storage account, too."""
        bucket, _, key = self._path.lstrip("/").partition("/")
        if "abfs" in self._fs.protocol:
            return f"abfss://{bucket}@{self._fs.account_name}.dfs.core.windows.net", key
        scheme = next((it for it in ("s3", "gs") if it in self._fs.protocol), self.url.partition("://")[0])
        return f"{scheme}://{bucket}", key

    @property
    def folders(self) -> tuple[str, ...]:
        """The bucket, and the parts of the key before the last one."""
        return tuple(self._path.lstrip("/").split("/")[:-1])

    @property
    def anchor(self) -> int:
        """Return 1, for the bucket."""
        return 1

    def elsewhere(self, folders: Sequence[str], name: str) -> Place:
        """Return an object in the same bucket."""
        scheme, _, rest = self.url.partition("://")
        url = "/".join([f"{scheme}://{rest.partition('/')[0]}", *folders[1:], name])
        return type(self)(url, self._fs, self._path_of([*folders, name]))

    def can_have(self, folders: Sequence[str]) -> bool:
        """Return True: a store has no folders that would have to be made."""
        return True

    def names_in(self, folders: Sequence[str]) -> list[str]:
        """Return the next part of each key under a prefix; a thousand of them are one request."""
        path = self._path_of(folders)
        self._fs.invalidate_cache(path)
        with suppress(FileNotFoundError):
            return [str(it).rstrip("/").rpartition("/")[2] for it in self._fs.ls(path, detail=False)]
        return []

    def files_below(
        self, folders: Sequence[str], unreadable: Unreadable | None = None
    ) -> Mapping[tuple[str, ...], Listed]:
        """Return the keys under a prefix, as the parts that follow it; a thousand of them are one request."""
        path = self._path_of(folders)
        self._fs.invalidate_cache(path)
        found = self._fs.find(path, detail=True)
        names = {it: tuple(str(it).lstrip("/").split("/")[len(folders) :]) for it in found}
        return {
            parts: _listed(found[it]) for it, parts in names.items() if parts
        }  # none: a file of this very name

    def _path_of(self, parts: Sequence[str]) -> str:
        return "/" * self._path.startswith("/") + "/".join(parts)

    def require_space(self, size: int) -> None:
        """Do nothing: a bucket has no size."""

    def require_bucket(self) -> None:
        """Refuse a bucket that is surely not there; who may not ask for it may still write into it.

        Google is not asked: an empty bucket of its that one may not look at seems not to be there.

        :raises ConfigurationError: when the store says that there is none.
        """
        if not {"s3", "abfs"}.intersection(self._fs.protocol):
            return
        bucket = self._path.lstrip("/").partition("/")[0]
        try:
            self._fs.info(bucket)
        except FileNotFoundError:
            raise ConfigurationError(f"destination {self.url!r}: there is no {bucket!r} in this store.") from None
        except Exception as error:  # to write will tell
            log.debug("Can't look at %s (%s)", bucket, type(error).__name__)

    def read(self) -> bytes | None:
        """Return the contents, None where there are none."""
        try:
            return self._conditions.read(self._path)
        except FileNotFoundError:
            return None

    def remove(self) -> None:
        """Remove the object, if there is one."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._path)

    def has(self, size: int | None, sha256: str | None, etag: str | None, mark: object = None) -> bool:
        """Tell whether the object has this size and ETag; it is read where the store has no ETags."""
        there = mark or self.mark()
        if not isinstance(there, Mark) or there.size != size:
            return False
        if etag is None:
            return hashlib.sha256(self.read() or b"").hexdigest() == sha256
        return there.etag == etag

    def mark(self) -> Mark | None:
        """Return what the store calls the contents."""
        for path in (self._path, self._path.rpartition("/")[0]):  # what is known of both may be old
            self._fs.invalidate_cache(path)
        try:
            return self._conditions.look(self._path)
        except FileNotFoundError:
            return None

    def etag(self, mark: object) -> str | None:
        """Return the ETag in a mark."""
        return mark.etag if isinstance(mark, Mark) else None

    @contextmanager
    def replaced(self, expected: object = ANY, *, near: Place | None = None) -> Iterator[Replacement]:
        """Give an upload to write; it is completed when it is published, or given up."""
        file = self._conditions.begin(self._path, expected, UPLOAD_SIZE)
        published = False

        def finish() -> None:
            if not self._conditions.shows_closed:
                file.close()  # what is refused is refused here, small files included

        def publish(expected: object) -> object:
            nonlocal published
            with self._conditions.moved():
                mark = self._conditions.complete(file, expected)
            published = True
            return mark or self.mark()

        try:
            yield Replacement(file, finish, publish)
        finally:
            if not published:
                _give_up(file)

    def write(self, contents: bytes, expected: object = ANY) -> object:
        """Publish contents that are in memory, in one request."""
        with self._conditions.moved():
            mark = self._conditions.put(self._path, contents, expected)
        return mark or self.mark()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Say what went wrong in the store's words, without what may be a secret in them."""
        try:
            yield
        except Exception as error:
            ours = isinstance(error, ReportingError | MovedError)
            package = type(error).__module__.partition(".")[0]
            plain = package in ("builtins", "pyarrow", "_csv") and not isinstance(error, OSError)
            if ours or (plain and not self._raised(error)):
                raise  # not of the store: a TypeError is a bug
            said = re.sub(r"//[^/@\s]*@", "//", re.sub(r"\?\S*", "?…", str(error)))
            raise_alone(StoreError(f"{self}: {type(error).__name__}: {said}"))

    def _raised(self, error: Exception) -> bool:
        """Tell whether a refusal comes as a ValueError (of Google's) or a RuntimeError (of Azure's)."""
        frames = traceback.walk_tb(error.__traceback__)
        modules = {frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in frames}
        return type(error) in (ValueError, RuntimeError) and type(self._fs).__module__.partition(".")[0] in modules


class MemoryObject(StoredObject):
    """An object in this process's memory, where tests may let reports land.

    Its store shows a file from its opening on, so it is handed over whole.
    """

    def require_bucket(self) -> None:
        """Do nothing: a bucket comes with its first object."""

    @contextmanager
    def replaced(self, expected: object = ANY, *, near: Place | None = None) -> Iterator[Replacement]:
        """Give a buffer to write, which is stored whole when it is published."""
        file = io.BytesIO()

        def publish(expected: object) -> object:
            with self.locked(()):
                if expected is not ANY and self.mark() != expected:
                    raise MovedError
                self._fs.pipe_file(self._path, file.getvalue())
                return self.mark()

        yield Replacement(file, lambda: None, publish)

    write = Place.write

    def locked(self, folders: Sequence[str]) -> AbstractContextManager[bool]:
        """Keep the other threads out."""
        return _MEMORY


def _listed(it: Mapping[str, Any]) -> Listed:
    modified = next((it[name] for name in ("LastModified", "updated", "last_modified") if it.get(name)), "")
    return Listed(it.get("size") or 0, str(modified), str(it.get("ETag") or it.get("etag") or ""))


def _give_up(file: Any) -> None:
    """Leave an upload without a trace. Some stores publish what is closed, also by the garbage collector."""
    with suppress(Exception):  # what led here is the error to tell
        file.discard()
    with suppress(AttributeError):
        file.closed = True
