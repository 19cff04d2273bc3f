"""One file in some store, and how it comes to be there: what local disks and object stores have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple
from urllib.parse import urlsplit

ANY = object()
"""The mark that is expected by who writes over whatever is there."""


class Listed(NamedTuple):
    """What a list says of a file.

    :param size: bytes.
    :param modified: what grows when it is written again, empty where the list does not say it.
    :param etag: what the store calls the contents, empty where the list does not say it.
    """

    size: int
    modified: str = ""
    etag: str = ""


Unreadable = Callable[[tuple[str, ...], PermissionError], None]
"""Takes the names that lead to a folder, and why it may not be read."""


class MovedError(Exception):
    """What is there is no longer what somebody looked at; it was left as it is."""


class Replacement:
    """A file on its way into a place; it is given up unless it is published.

    :param file: to be written, in order.
    :param finish: writes out all that can be before anybody sees it.
    :param publish: see :meth:`publish`.
    """

    def __init__(self, file: BinaryIO, finish: Callable[[], None], publish: Callable[[object], object]) -> None:
        self.file = file
        self._finish, self._publish = finish, publish
        self._finished = False

    def finish(self) -> None:
        """Do all that is left before the publication, and takes time or may be refused."""
        if not self._finished:
            self._finish()
        self._finished = True

    def publish(self, expected: object = ANY) -> object:
        """Put the file in its place, and return its mark there.

        :param expected: the mark of what has to be there; a store that can't compare takes whatever is there.
        :raises MovedError: when something else is there.
        """
        self.finish()
        return self._publish(expected)


class Place(ABC):
    """One file in some store, whether it is there or not.

    :param url: what users call it; a local path is one without a scheme.
    """

    compares = True
    """Whether nobody comes between the comparison with what is expected and the publication."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.url).name

    @property
    def uri(self) -> str:
        """What an asset of this place is called: without the connection, which others may know by another id."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    @property
    def dataset(self) -> tuple[str, str]:
        """The namespace and the name that OpenLineage's rules give it: for a store, the bucket and the key."""
        parts = urlsplit(self.uri)
        return f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/")

    @property
    @abstractmethod
    def folders(self) -> tuple[str, ...]:
        """The folders that it lies in, from the top; a store's first one is the bucket."""

    @property
    @abstractmethod
    def anchor(self) -> int:
        """How many of the folders lead to what all of it is in: a bucket, or what is mounted."""

    @abstractmethod
    def elsewhere(self, folders: Sequence[str], name: str) -> Place:
        """Return the place of a file in other folders of the same store."""

    def beside(self, name: str) -> Place:
        """Return the place of another name in the same folder."""
        return self.elsewhere(self.folders, name)

    @abstractmethod
    def can_have(self, folders: Sequence[str]) -> bool:
        """Tell whether a folder is there or can be made, as far as that can be told without making it."""

    @abstractmethod
    def names_in(self, folders: Sequence[str]) -> list[str]:
        """Return the names of what lies in a folder, none where there is no such folder."""

    @abstractmethod
    def files_below(
        self, folders: Sequence[str], unreadable: Unreadable | None = None
    ) -> Mapping[tuple[str, ...], Listed]:
        """Return the files in a folder and those below it, by the names that lead there from that folder.

        :param unreadable: told of each folder that may not be read, which is passed over then, by the names that
            lead there; without it that is an error. Stores have no folders.
        """

    @abstractmethod
    def require_space(self, size: int) -> None:
        """Refuse a file of so many bytes where there surely is no room for it; writes nothing.

        :raises DownloadError: when fewer bytes are free.
        """

    @abstractmethod
    def read(self) -> bytes | None:
        """Return the contents, None where there are none."""

    @abstractmethod
    def remove(self) -> None:
        """Remove what is there, if anything is."""

    @abstractmethod
    def has(self, size: int | None, sha256: str | None, etag: str | None, mark: object = None) -> bool:
        """Tell whether these contents are there, without transferring them.

        :param mark: of what is there, where it is known.
        """

    def etag(self, mark: object) -> str | None:
        """Return what the store calls the contents that have a mark, None where it has no such name."""
        return None

    @abstractmethod
    def mark(self) -> object:
        """Return what differs when somebody else has written here meanwhile, None where nothing is there."""

    @abstractmethod
    def replaced(
        self, expected: object = ANY, *, near: Place | None = None
    ) -> AbstractContextManager[Replacement]:
        """Give something to write that becomes the contents when it is published, and never otherwise.

        :param expected: what will be expected then, for a store that has to know it from the beginning.
        :param near: whose folder what is written lies in until then, where it is a file of its own.
        """

    def write(self, contents: bytes, expected: object = ANY) -> object:
        """Publish contents that are in memory; see :meth:`Replacement.publish`."""
        with self.replaced(expected) as new:
            new.file.write(contents)
            return new.publish(expected)

    def locked(self, folders: Sequence[str]) -> AbstractContextManager[bool]:
        """Keep out who else publishes with a lock on a folder that is there; tell whether the store can."""
        return nullcontext(False)

    @abstractmethod
    def errors(self) -> AbstractContextManager[None]:
        """Turn the store's errors into a StoreError."""
