"""What a table or a file can be called, as far as the name alone says it: known when a DAG file is parsed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from airflow_reportrun.landing.destination import refuse_credentials
from airflow_reportrun.reporting.errors import ConfigurationError

DELTA_SCHEMES = {"s3": "s3", "s3a": "s3", "s3n": "s3"}
"""Stores that a Delta table may lie in, and what deltalake calls them."""


def require_packages(what: str, install: str, *packages: str) -> None:
    """Refuse what can't be without a package, which is looked for and not loaded.

    :param what: begins the error.
    :param install: what pip takes.
    :raises ConfigurationError: when one of them is not installed.
    """
    if missing := [it for it in packages if find_spec(it) is None]:
        raise ConfigurationError(f"{what} needs {' and '.join(missing)}: pip install '{install}'")


def split_table(table: str) -> tuple[str, str]:
    """Return the schema of a table of a database, which may be empty, and its name.

    :raises ConfigurationError: when it is neither ``table`` nor ``schema.table``.
    """
    schema, dot, name = table.rpartition(".")
    if not name or (dot and not schema) or "." in schema:
        raise ConfigurationError(f"table {table!r}: give a name, or a schema and a name with a point between.")
    return schema, name


def identifier_of(table: str) -> tuple[str, ...]:
    """Return the parts of the name of an Iceberg table: its namespace, which may have several, and its own.

    :raises ConfigurationError: when it has no namespace.
    """
    parts = tuple(table.split("."))
    if len(parts) < 2 or any(not part.strip() for part in parts):
        raise ConfigurationError(f"table {table!r}: give namespace and name with a point between.")
    return parts


def folder_of_catalog(warehouse: str) -> str:
    """Return the path of a folder that has a catalog of its own.

    :raises ConfigurationError: when it can't be one.
    """
    refuse_credentials(warehouse)
    folder = warehouse.removeprefix("file://")
    if not folder.startswith("/"):
        raise ConfigurationError(
            f"warehouse {warehouse!r}: give the absolute path of a folder. Tables in a store need a catalog that "
            "all workers reach; name it by catalog_conn_id."
        )
    if any(ord(sign) < 32 for sign in folder) or ".." in folder.split("/"):
        raise ConfigurationError(f"warehouse {warehouse!r}: no '..' and no control characters, please.")
    if odd := set(folder) & set("%?#"):
        raise ConfigurationError(
            f"warehouse {warehouse!r}: name a folder without {' '.join(sorted(odd))}, which would be misread."
        )
    return folder


def folder_of_delta(table: str) -> str:
    """Return the path or the URL of a Delta table, without a ``/`` at its end.

    :raises ConfigurationError: when it can't be one.
    """
    text = table.rstrip("/")
    refuse_credentials(text)
    if any(ord(sign) < 32 for sign in text) or ".." in text.split("/"):
        raise ConfigurationError(f"table {text!r}: no '..' and no control characters, please.")
    text = text.removeprefix("file://")
    if "://" not in text:
        if not Path(text).is_absolute():
            raise ConfigurationError(
                f"table {text!r} is relative, and a worker's working directory can be anywhere; "
                "give an absolute path."
            )
        if odd := set(text) & set("%?#*[]"):
            raise ConfigurationError(
                f"table {text!r}: name a folder without {' '.join(sorted(odd))}, which deltalake reads otherwise."
            )
        return text
    parts = urlsplit(text)
    if parts.scheme not in DELTA_SCHEMES:
        raise ConfigurationError(
            f"table {text!r}: a Delta table lies in a local folder or below s3:// here; for another store, land "
            "Parquet files there (docs/landing.md#formats)."
        )
    if not parts.netloc.rpartition("@")[2] or not parts.path.strip("/"):
        raise ConfigurationError(f"table {text!r} names no folder in a bucket.")
    return text
