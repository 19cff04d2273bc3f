"""Where a Delta table lies: a folder of a disk or of a store, and what deltalake reaches it with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deltalake.exceptions import DeltaProtocolError, SchemaMismatchError

from airflow_reportrun.landing.destination import require_folder
from airflow_reportrun.landing.lakehouse.table import came_through
from airflow_reportrun.landing.names import DELTA_SCHEMES, folder_of_delta
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.landing.stores.local import LocalFile
from airflow_reportrun.reporting.errors import (
    ConfigurationError,
    ContentsError,
    ReportingError,
    StoreError,
    raise_alone,
)
from airflow_reportrun.reporting.secrets import redacted
from airflow_reportrun.wire.lookup import look_up

if TYPE_CHECKING:
    from airflow_reportrun.landing.stores.place import Place

_SECRET = re.compile("secret|token|key", re.IGNORECASE)
"""Names of options whose values no error may show."""

_STAYS = (DeltaProtocolError, SchemaMismatchError, PermissionError)

_STAYS_SAYING = re.compile(
    r"Permission denied|Read-only file system|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch"
    r"|NoSuchBucket|Unsupported|not (yet )?supported|features must be specified|is append-only"
)
"""What a retry would only meet again; deltalake has one class for it and for a line that breaks."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST = 400


@dataclass(frozen=True)
class Location:
    """A folder that is a table, whether it is there or not.

    :param url: what the task calls it, without a ``/`` at its end.
    :param uri: what deltalake calls it.
    :param options: what deltalake reaches the store with.
    :param place: the same, as other files of ours are reached.
    """

    url: str
    uri: str
    options: Mapping[str, str]
    place: Place

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Say in a line what the store or deltalake said, without what is secret, and without values of rows."""
        try:
            yield
        except ReportingError:
            raise
        except Exception as error:
            # A disk that refuses stays so; a store calls credentials that have expired the same.
            refused = isinstance(error, PermissionError) and isinstance(self.place, LocalFile)
            if not (type(error) is Exception or refused or came_through(error, "deltalake")):
                with self.place.errors():
                    raise
            secrets = (value for name, value in self.options.items() if _SECRET.search(name))
            text = redacted(_shown(str(error)), *secrets)
            stays = isinstance(error, _STAYS) or _STAYS_SAYING.search(str(error))
            breaks = "failed validation check" in text  # a constraint of the owner's
            kind = ContentsError if breaks else ConfigurationError if stays else StoreError
            raise_alone(kind(f"table {self.url}: {type(error).__name__}: {text}"))


def location_of(table: object) -> Location:
    """Return where a table lies; nothing is asked of the store.

    :param table: an absolute path, or ``s3://conn_id@bucket/key``; without the id of a connection the worker's
        environment says how to reach the store.
    :raises ConfigurationError: when it is none, a file is in its place, or a package is missing.
    :raises ConnectionLookUpError: when Airflow gives no such connection.
    """
    text = folder_of_delta(str(table))
    place = place_of(text)
    if "://" not in text:
        require_folder(f"table {text}", Path(text))
        return Location(text, Path(text).as_uri(), {}, place)
    parts = urlsplit(text)
    conn_id, _, bucket = parts.netloc.rpartition("@")
    return Location(text, f"{DELTA_SCHEMES[parts.scheme]}://{bucket}{parts.path}", _of_s3(conn_id), place)


def _of_s3(conn_id: str) -> Mapping[str, str]:
    """Return what deltalake needs of a connection to Amazon's or another S3."""
    if not conn_id:
        return {}
    look_up(conn_id, option="table")
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    hook: Any = S3Hook(aws_conn_id=conn_id)
    session = hook.get_session()
    credentials = session.get_credentials()
    frozen = credentials.get_frozen_credentials() if credentials else None
    endpoint = hook.conn_config.get_service_endpoint_url(service_name="s3")
    look_up(conn_id, option="table")  # the hook has asked in between, and takes none for the worker's credentials
    options = {
        "AWS_ACCESS_KEY_ID": frozen and frozen.access_key,
        "AWS_SECRET_ACCESS_KEY": frozen and frozen.secret_key,
        "AWS_SESSION_TOKEN": frozen and frozen.token,
        "AWS_SKIP_SIGNATURE": None if frozen else "true",
        "AWS_REGION": session.region_name,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true" if endpoint and endpoint.startswith("http://") else None,
    }
    return {name: value for name, value in options.items() if value}


def _shown(said: str) -> str:
    """Return what tells the cause, in a line: what follows an empty line, such as rows, is left out."""
    lines = _COLOURS.sub("", said).partition("\n\n")[0].splitlines()
    lines = [line.strip().removeprefix("↳ ") for line in lines if "Preview of invalid data" not in line]
    text = re.sub(r"'[^']*' to value", "a cell to value", " ".join(lines))
    return re.sub(r"\?\S*", "?…", text)[:_LONGEST]
