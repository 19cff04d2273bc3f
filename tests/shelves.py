"""Where tests let reports land: a folder of each store, seen past the code under test."""

from __future__ import annotations

import gc
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fsspec.implementations.memory import MemoryFileSystem

STORES = tuple(os.environ.get("STORES", "local memory s3").split())
"""Where the tests let reports land; ``gs`` and ``abfs`` take what ``make stores`` installs."""


class Bucket(Protocol):
    """A server of an object store, with one bucket."""

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables that tell Airflow the connection."""

    def destination(self, key: str) -> str:
        """Return the URL of an object, as a ``destination`` takes it."""

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Return the contents of each object by key, past the code under test."""

    def read(self, key: str) -> bytes | None:
        """Return the contents of an object, None where there is none."""

    def stamp(self, key: str) -> object:
        """Return what changes whenever an object is published."""

    def unfinished(self, prefix: str = "") -> list[str]:
        """Return the keys of the uploads that were begun and neither completed nor given up."""


Buckets = Callable[[str], Bucket]
"""Gives the bucket of a scheme; see :func:`tests.conftest.buckets`."""


@dataclass(frozen=True)
class Shelf:
    """A folder in a store.

    :param url: of the folder, without a ``/`` at its end.
    :param folder: where a local one is.
    :param bucket: where one in an object store is.
    """

    url: str
    folder: Path | None = None
    bucket: Bucket | None = None

    def destination(self, name: str) -> str:
        """Return the URL of a file."""
        return f"{self.url}/{name}"

    def contents(self) -> dict[str, bytes]:
        """Return what lies there, and the manifests beside it: the contents of all files by name."""
        if self.folder:
            folders = (self.folder, _manifests(self.folder))
            return {it.name: it.read_bytes() for folder in folders for it in folder.glob("*")}
        if self.bucket:
            found = self.bucket.objects(self._prefix.rstrip("/"))
            return {name.rpartition("/")[2]: data for name, data in found.items()}
        prefix = self.url.removeprefix("memory:/")
        stored = {**MemoryFileSystem.store}
        return {
            name.rpartition("/")[2]: stored[name].getvalue()
            for name in stored
            if name.startswith((f"{prefix}/", f"{prefix}_manifests/"))
        }

    def read(self, name: str) -> bytes | None:
        """Return the contents of one file as a reader finds it, None where there is none."""
        is_manifest = name.endswith(".json")
        if self.folder:
            path = (_manifests(self.folder) if is_manifest else self.folder) / name
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None
        assert self.bucket
        prefix = self._prefix.replace("/", "_manifests/") if is_manifest else self._prefix
        return self.bucket.read(prefix + name)

    def stamp(self, name: str) -> object:
        """Return what changes whenever a file is published."""
        if self.folder:
            status = (self.folder / name).stat()
            return status.st_ino, status.st_mtime_ns
        if self.bucket:
            return self.bucket.stamp(self._prefix + name)
        return MemoryFileSystem.store[f"{self.url.removeprefix('memory:/')}/{name}"].created

    def unfinished(self) -> list[str]:
        """Return the uploads that nobody completed or gave up; of a local file that is one of `contents`."""
        if not self.bucket:
            return []
        gc.collect()  # what was dropped open is closed by then
        return self.bucket.unfinished(self._prefix)

    @property
    def _prefix(self) -> str:
        return self.url.rpartition("/")[2] + "/"


def shelf(store: str, name: str, folder: Path, buckets: Buckets) -> Shelf:
    """Return an empty folder of a store.

    :param name: of the folder; another one for each test, where the store is shared.
    :param folder: under which a local one is.
    """
    if store == "local":
        return Shelf(str(folder / name), folder=folder / name)
    if store == "memory":
        return Shelf(f"memory://{name}")
    bucket = buckets(store)
    return Shelf(bucket.destination(name), bucket=bucket)


def manifest_name(name: str) -> str:
    """Return what the manifest of a file is called."""
    return f"{name.replace('.', '-')}.json"


def _manifests(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}_manifests")


def is_told(manifest: bytes, data: bytes) -> bool:
    """Tell whether a manifest is of this data."""
    said = json.loads(manifest)
    return bool((said["size"], said["sha256"]) == (len(data), hashlib.sha256(data).hexdigest()))


def require_landed(found: Mapping[str, bytes], name: str, run_id: str, csv: bytes, parquet: bytes) -> None:
    """Assert that a shelf has one file, with the right contents, and its manifest, and nothing else.

    :param csv: what Stripe wrote.
    :param parquet: what that is as Parquet.
    """
    assert sorted(found) == sorted([name, manifest_name(name)])
    data, manifest = found[name], found[manifest_name(name)]
    if name.endswith(".gz"):
        assert gzip.decompress(data) == csv
    else:
        assert data == (parquet if name.endswith(".parquet") else csv)
    assert is_told(manifest, data)
    said: dict[str, Any] = json.loads(manifest)
    assert said["report_run_id"] == run_id
    assert (said["file_size"], said["file_sha256"]) == (len(csv), hashlib.sha256(csv).hexdigest())
    assert said["path"] == name
