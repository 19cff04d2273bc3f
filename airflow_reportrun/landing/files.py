"""Bytes as they arrive become a file that is whole or not there."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_reportrun.reporting.errors import DownloadError

if TYPE_CHECKING:
    from airflow_reportrun.landing.structure import ReportCheck


@dataclass(frozen=True)
class LandedFile:
    """A file that was checked and is in place.

    :param path: absolute path.
    :param size: bytes.
    :param sha256: of the contents, in hexadecimal.
    """

    path: Path
    size: int
    sha256: str


def require_space(path: Path, size: int) -> None:
    """Refuse a file that its file system has no room for; writes nothing, and takes nothing for itself.

    :param path: where the file is to go.
    :param size: bytes. A file that is replaced goes on taking its own until then.
    :raises DownloadError: when fewer are free.
    """
    folder = next(parent for parent in path.parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < size:
        raise DownloadError(
            f"{path.name} has {size} bytes, and {folder} has room for {free}; nothing was downloaded"
        )


def land(
    chunks: Iterable[bytes], path: Path, *, expected_size: int, check: ReportCheck | None = None
) -> LandedFile:
    """Write a file, readable by its owner alone, that appears at once and complete.

    :param chunks: the contents; nothing is kept of them in memory.
    :param path: where the file goes; an existing file is replaced, missing folders are made. What killed
        processes left of the same file is removed.
    :param expected_size: bytes.
    :param check: looks at the contents before they are in place.
    :raises DownloadError: when another number of bytes came, or the check says so; the path is as it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    size = 0
    descriptor, temporary = _temporary(path)
    try:
        with open(descriptor, "wb") as file:
            for chunk in chunks:
                if check:
                    check.feed(chunk)
                size += len(chunk)
                digest.update(chunk)
                file.write(chunk)
            if size != expected_size:
                raise DownloadError(f"{size} bytes came for {path.name}, and Stripe's file has {expected_size}")
            if check:
                check.end()
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)
    return LandedFile(path, size, digest.hexdigest())


def _temporary(path: Path) -> tuple[int, str]:
    """Make a file that is to become another one; it is locked for as long as it is open."""
    # Names may be as long as the file system allows, so that they don't fit into one of ours.
    name = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    prefix = f".airflow-reportrun-{name}-"
    for left in path.parent.glob(f"{prefix}*.part"):
        _remove_if_dead(left)
    while True:
        # In the same folder, since only there a rename is atomic; mkstemp gives it mode 0600.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".part")
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
    """Make the rename itself survive a power cut, on file systems that can: the file is in place either way."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
