"""The catalog that knows an Iceberg table: of an Airflow connection, or of a folder's own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EACCES, ENAMETOOLONG, EPERM, EROFS
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pyiceberg import exceptions
from pyiceberg.catalog import load_catalog

from airflow_reportrun.landing.destination import require_folder
from airflow_reportrun.landing.lakehouse.table import came_through
from airflow_reportrun.landing.names import folder_of_catalog
from airflow_reportrun.reporting.errors import ConfigurationError, ReportingError, StoreError, raise_alone
from airflow_reportrun.wire.lookup import look_up

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

EMBEDDED = "reportrun"
"""Name of a folder's own catalog, by which it finds its tables."""

DATABASE = "catalog.db"
"""File of a folder's own catalog, of SQLite."""

_SECRET = re.compile("secret|token|password|credential|key|sas|auth|connection-string|^uri$|header", re.IGNORECASE)
"""Names of properties whose values no error may show; the URI of a database may have a password in it."""

_STAYS = (
    *(exceptions.BadRequestError, exceptions.UnauthorizedError, exceptions.ForbiddenError, exceptions.OAuthError),
    *(exceptions.NoSuchNamespaceError, exceptions.NoSuchPropertyException, exceptions.NotInstalledError),
    *(exceptions.NoSuchIcebergTableError, exceptions.ValidationError, ValueError, TypeError),
    *(NotImplementedError, ImportError),
)
"""What a retry would only meet again."""

_STAYS_IN_SQLITE = re.compile("readonly database|unable to open|no such (table|column)")


@dataclass(frozen=True)
class Lakehouse:
    """A catalog, and what may not be shown of it.

    :param catalog: that tables are asked of.
    :param is_ours: it is a folder's own, in which we make namespaces.
    :param secrets: texts that no error shows.
    """

    catalog: Catalog
    is_ours: bool
    secrets: frozenset[str]

    @contextmanager
    def errors(self, table: str) -> Iterator[None]:
        """Say in a line what the catalog, a store or pyiceberg said, without what is secret."""
        with _errors(f"table {table}", self.secrets):
            yield


def lakehouse_of(catalog_conn_id: str | None, warehouse: str | None) -> Lakehouse:
    """Return the catalog that a task names, in one of two ways.

    :param catalog_conn_id: Airflow connection of type ``iceberg``.
    :param warehouse: a folder that has a catalog of its own in it, which is made where it is missing.
    :raises ConfigurationError: when no catalog can be made of it.
    :raises ConnectionLookUpError: when Airflow does not give the connection.
    :raises StoreError: when the catalog does not answer.
    """
    return _connected(catalog_conn_id) if catalog_conn_id is not None else _embedded(str(warehouse))


def has_catalog(warehouse: str) -> bool:
    """Tell whether a folder has its own catalog already.

    :raises ConfigurationError: when it can't have one.
    """
    return Path(folder_of_catalog(warehouse), DATABASE).exists()


def _embedded(warehouse: str) -> Lakehouse:
    folder = folder_of_catalog(warehouse)
    try:
        import sqlalchemy

        if int(sqlalchemy.__version__.partition(".")[0]) < 2:
            raise ImportError(f"SQLAlchemy {sqlalchemy.__version__} is installed")
    except ImportError as error:
        raise ConfigurationError(
            f"A warehouse with a catalog of its own needs SQLAlchemy 2 ({error}), which Airflow allows from 3.1 "
            "on: name a catalog by catalog_conn_id instead."
        ) from None
    path = Path(folder)
    require_folder(f"warehouse {folder}", path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        kind = ConfigurationError if error.errno in (EACCES, EPERM, EROFS, ENAMETOOLONG) else StoreError
        raise kind(f"warehouse {folder}: {error.strerror or error}") from None
    properties = {"type": "sql", "uri": f"sqlite:///{path / DATABASE}", "warehouse": f"file://{path}"}
    with _errors(f"warehouse {folder}", frozenset()):
        try:
            catalog = load_catalog(EMBEDDED, **properties)
        except sqlalchemy.exc.OperationalError:  # somebody else was making the same catalog
            catalog = load_catalog(EMBEDDED, **properties)
        except sqlalchemy.exc.DatabaseError as error:
            if "not a database" not in str(error):
                raise
            raise ConfigurationError(
                f"warehouse {folder}: its catalog, {DATABASE}, is no database. Restore it, or name another folder."
            ) from None
    return Lakehouse(catalog, True, frozenset())


def _connected(conn_id: str) -> Lakehouse:
    connection = look_up(conn_id, option="catalog_conn_id")
    if connection.conn_type != "iceberg":
        raise ConfigurationError(
            f"catalog_conn_id {conn_id!r} is of type {connection.conn_type}: an Iceberg catalog's is iceberg, "
            "with the URI as host, client id and secret as login and password, and other properties in the extra."
        )
    # What has parts, such as auth and ssl, is handed on as it is.
    properties: dict[str, Any] = {
        name: value if isinstance(value, dict) else str(value)
        for name, value in _extra(conn_id, connection.extra).items()
    }
    if connection.host:
        properties["uri"] = connection.host.rstrip("/")
    secrets = {it for name, value in properties.items() if _SECRET.search(name) for it in _texts(value)}
    properties.setdefault("type", "rest")
    if properties["type"] == "rest" and connection.login and connection.password:
        properties["credential"] = f"{connection.login}:{connection.password}"
    secrets |= {it for it in (connection.password, properties.get("credential")) if it}
    where = urlsplit(str(properties.get("uri", "")))
    secrets |= {it for it in (where.password, where.query) if it}
    hidden = frozenset(secrets)
    with _errors(f"catalog_conn_id {conn_id!r}", hidden):
        catalog = load_catalog(conn_id, **properties)
    return Lakehouse(catalog, False, hidden)


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts that a property has in it."""
    if isinstance(value, dict):
        for it in value.values():
            yield from _texts(it)
    elif value:
        yield str(value)


def _extra(conn_id: str, extra: Any) -> Mapping[str, Any]:
    """Read a connection's extra as text: Airflow makes an empty one of what is no JSON."""
    try:
        found = json.loads(extra) if isinstance(extra, str) and extra.strip() else extra or {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigurationError(
            f'catalog_conn_id {conn_id!r}: its extra is no JSON object, such as {{"warehouse": "s3://lake"}}.'
        )
    return found


@contextmanager
def _errors(what: str, secrets: frozenset[str]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(error, ReportingError) or not came_through(error, "pyiceberg"):
            raise
        kind = ConfigurationError if _stays(error) else StoreError
        raise_alone(kind(f"{what}: {type(error).__name__}: {_shown(error, secrets)}"))


def _stays(error: Exception) -> bool:
    if type(error).__module__.startswith("sqlalchemy"):
        return bool(_STAYS_IN_SQLITE.search(str(error)))
    if isinstance(error, PermissionError):
        return error.errno is not None  # a disk's; a store says the same of credentials that have expired
    return isinstance(error, _STAYS)


def _shown(error: Exception, secrets: frozenset[str]) -> str:
    text = str(getattr(error, "orig", None) or error)
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text.strip().partition("\n")[0]
