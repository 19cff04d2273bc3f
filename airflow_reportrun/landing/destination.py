"""Where a report goes: a path with placeholders, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from os import W_OK, X_OK, PathLike, access, fspath
from pathlib import Path
from string import Formatter
from typing import Any

from airflow_reportrun.reporting.errors import ConfigurationError


def resolve_destination(template: str | PathLike[str], values: Mapping[str, Any]) -> Path:
    """Return the path that a ``destination`` names for one report.

    :param template: an absolute local path with placeholders such as ``{interval_start:%Y-%m-%d}``; braces are
        doubled to stand for themselves.
    :param values: the placeholders that are known here, by name.
    :raises ConfigurationError: when the path can't be a file on this machine.
    """
    template = fspath(template)
    # Plain ones: pendulum's have formats of their own.
    values = {
        name: datetime.fromtimestamp(value.timestamp(), value.tzinfo) if isinstance(value, datetime) else value
        for name, value in values.items()
    }
    known = ", ".join(f"{{{name}}}" for name in values)
    try:
        names = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
        if unknown := sorted(set(names) - set(values)):
            raise ConfigurationError(
                f"destination {template!r} has the placeholder {{{unknown[0]}}}; known here are {known}."
            )
        text = template.format_map(values)
    except (ValueError, LookupError) as error:
        raise ConfigurationError(f"destination {template!r}: {error}; placeholders are {known}.") from None
    if "://" in text:
        raise ConfigurationError(f"destination {text!r} is a URL; a report lands on a local path.")
    path = Path(text)
    if not path.is_absolute():
        raise ConfigurationError(
            f"destination {text!r} is relative, and a worker's working directory can be anywhere; "
            "give an absolute path."
        )
    try:
        if text.endswith("/") or path.is_dir():
            raise ConfigurationError(f"destination {text!r} is a folder; name a file in it.")
        path.exists()  # a name that is too long is an error here
        folder = next(parent for parent in path.parents if parent.exists())
        if not folder.is_dir() or not access(folder, W_OK | X_OK):
            raise ConfigurationError(f"destination {text!r}: can't write into {folder}.")
    except OSError as error:
        raise ConfigurationError(f"destination {text!r}: {error.strerror}.") from None
    return path
