"""A database that is a file on the worker's disk: where it can lie, and why it can't be opened."""

from __future__ import annotations

from pathlib import Path

from airflow_reportrun.reporting.errors import ConfigurationError


def require_absolute(path: str | None) -> None:
    """Refuse a path that leads each worker elsewhere, before a database is made there.

    :raises ConfigurationError: naming it.
    """
    if path and not path.startswith(":memory:") and not Path(path).is_absolute():
        raise ConfigurationError(
            f"The connection leads to {path!r}, which is relative, and a worker's working directory can be "
            "anywhere: give it the absolute path of a file, which is its host."
        )


def in_memory(product: str) -> ConfigurationError:
    """Return what is said of a database that is no file."""
    return ConfigurationError(
        f"The connection leads to a {product} in memory, which is gone when the task ends: "
        "give it the path of a file, which is its host."
    )


def unopened(product: str, path: str, error: Exception) -> ConfigurationError:
    """Return what tells which file can't be opened, and whether its folder is there."""
    folder = Path(path).parent
    why = error if folder.is_dir() else f"there is no folder {folder}. Make it, or mend the connection's host"
    return ConfigurationError(f"{product} can't open {path}: {why}.")
