"""Bytes as they arrive become a file that is whole or not there."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from airflow_reportrun.reporting.errors import DownloadError


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


def land(chunks: Iterable[bytes], path: Path, *, expected_size: int) -> LandedFile:
    """Write a file, readable by its owner alone, that appears at once and complete.

    :param chunks: the contents; nothing is kept of them in memory.
    :param path: where the file goes; an existing file is replaced, missing folders are made.
    :param expected_size: bytes.
    :raises DownloadError: when another number of bytes came; the path is as it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    size = 0
    # In the same folder, since only there a rename is atomic; mkstemp gives it mode 0600.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".airflow-reportrun-", suffix=".part")
    try:
        with open(descriptor, "wb") as file:
            for chunk in chunks:
                size += len(chunk)
                digest.update(chunk)
                file.write(chunk)
            if size != expected_size:
                raise DownloadError(f"{size} bytes came for {path.name}, and Stripe's file has {expected_size}")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)
    return LandedFile(path, size, digest.hexdigest())


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, on file systems that can: the file is in place either way."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
