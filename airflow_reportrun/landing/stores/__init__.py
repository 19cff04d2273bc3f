"""Where a landed report lies. In whichever store, a reader sees the whole old file or the whole new one.

Locally a temporary file is synced and renamed (``local``). An object store shows an object when its upload is
completed, so there the bytes go to the final key and completing is the last step (``objects``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow_reportrun.reporting.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_reportrun.landing.stores.place import Place

OBJECT_STORES = ("s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss", "adl")
"""Schemes of the stores where an object is seen when its upload is completed, and not before."""


def place_of(url: str) -> Place:
    """Return the place that a destination names; nothing is asked of the store.

    :param url: an absolute local path, or what ObjectStoragePath takes, such as ``s3://conn_id@bucket/key``.
    :raises ConnectionLookUpError: when Airflow gives no such connection.
    :raises ConfigurationError: when no provider is installed that knows the scheme, or the store can't publish a
        file at once.
    """
    from airflow_reportrun.landing.stores.local import LocalFile
    from airflow_reportrun.landing.stores.objects import MemoryObject, StoredObject

    parts = urlsplit(url)
    if not parts.scheme:
        return LocalFile(Path(url))
    if parts.scheme == "memory":  # of which Airflow knows nothing
        from fsspec.implementations.memory import MemoryFileSystem

        memory = MemoryFileSystem()
        return MemoryObject(url, memory, memory._strip_protocol(url))
    if parts.scheme not in OBJECT_STORES:
        raise ConfigurationError(
            f"destination {url!r}: a report is published at once, which can be done on local paths and on "
            f"{', '.join(f'{scheme}://' for scheme in OBJECT_STORES)}."
        )
    conn_id, _, bucket = parts.netloc.rpartition("@")
    if parts.scheme in ("abfs", "abfss") and "." in bucket:  # no container's name has one
        raise ConfigurationError(
            f"destination {url!r} names a storage account, as Azure's own URLs do. In Airflow's, the id of a "
            "connection, which knows the account, stands before the @, and the container behind it: "
            f"{parts.scheme}://CONNECTION@CONTAINER/…"
        )
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_reportrun.wire.lookup import look_up

    def require_connection() -> None:
        """Raise where there is none: its provider would pass it over, for the worker's credentials."""
        if conn_id:
            look_up(conn_id, option=f"destination {url!r}")

    require_connection()
    try:
        path = ObjectStoragePath(url)
        place = StoredObject(url, path.fs, path.path)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(
            f"destination {url!r}: {error}. The scheme needs its provider, such as "
            "apache-airflow-providers-amazon[s3fs] for s3://."
        ) from error
    require_connection()  # the provider has asked in between, and Airflow's database may have gone down by then
    return place
