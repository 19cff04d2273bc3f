"""Where a report goes: a path or URL with placeholders, checked before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from os import W_OK, X_OK, PathLike, access, fspath
from pathlib import Path
from string import Formatter
from typing import Any
from urllib.parse import urlsplit

from airflow_reportrun.landing.manifest import FILTERS
from airflow_reportrun.reporting.errors import ConfigurationError

LATER = "{report_run_id}"
"""Stands for the id of a run that is not created yet; see :func:`resolve_destination`."""

BOUNDS = ("interval_start", "interval_end")


def placeholders(
    report_type: str,
    parameters: Mapping[str, Any],
    bounds: Mapping[str, datetime],
    *,
    stripe_account: str | None,
    report_run_id: str = LATER,
) -> dict[str, Any]:
    """Return what a destination can be made of; what a report was not asked for with is not among it.

    :param parameters: of the report, by Stripe's names.
    :param bounds: the interval, or its end alone, in the time zone in which to write it.
    """
    return {
        "report_type": report_type,
        "report_run_id": report_run_id,
        **({} if stripe_account is None else {"stripe_account": stripe_account}),
        **{name: parameters[name] for name in FILTERS if parameters.get(name) is not None},
        **bounds,
    }


def is_compressed(parameters: Mapping[str, Any]) -> bool:
    """Tell whether Stripe was asked to compress the file."""
    return str(parameters.get("compress_file") or False).lower() != "false"


def text_of(path: object) -> object:
    """Return a path of Airflow's or Python's as the text that it stands for, anything else as it is.

    :raises ConfigurationError: when an ObjectStoragePath has options, which the text would lose.
    """
    if isinstance(path, str | None):
        return path
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    if isinstance(path, ObjectStoragePath):
        if options := sorted(set(path.storage_options) - {"conn_id"}):
            raise ConfigurationError(
                f"destination: {', '.join(options)} of the ObjectStoragePath can't be kept; put what the store "
                "needs into its Airflow connection, whose id stands before the @."
            )
        text: object = str(path)
    else:
        text = fspath(path) if isinstance(path, PathLike) else path
    if isinstance(text, str) and "." not in text.rpartition("/")[2]:
        raise ConfigurationError(
            f"destination {text!r} has no ending. A path object loses the / of a root: for the default layout "
            "below it, give a text that ends in /."
        )
    return text


def resolve_destination(
    template: object, values: Mapping[str, Any], format: str = "csv", *, compressed: bool = False
) -> str:
    """Return the path or URL that a ``destination`` names for one report.

    :param template: an absolute local path or a URL that ObjectStoragePath takes, or one of Python's or Airflow's
        paths, with placeholders such as ``{interval_start:%Y-%m-%d}``; braces are doubled to stand for
        themselves. With a ``/`` at its end it is the root of the default layout:
        ``report_type=…/interval_start=…/interval_end=…/report.csv``, in UTC, with the account and what else
        chose rows in between.
    :param values: the placeholders that are known here, by name; see :func:`placeholders`.
    :param format: what the file's name ends in under the default layout.
    :param compressed: Stripe was asked to compress the file, which a name may say.
    :raises ConfigurationError: when it can't be a file there.
    """
    template = text_of(template)
    if not isinstance(template, str):
        raise ConfigurationError(
            f"destination is a path or a URL, not {type(template).__name__} {template!r:.100}."
        )
    _refuse_credentials(template)
    # Plain ones: pendulum's have formats of their own.
    values = {
        name: datetime.fromtimestamp(value.timestamp(), value.tzinfo) if isinstance(value, datetime) else value
        for name, value in values.items()
    }
    if odd := [f"{name} {value!r}" for name, value in values.items() if "/" in str(value)]:
        raise ConfigurationError(f"destination {template!r}: {odd[0]} has a /, which would make folders of it.")
    text = _filled_in(template, values)
    _refuse_credentials(text)
    if text.endswith("/"):
        text += _layout(values, format)
    if any(ord(sign) < 32 for sign in text) or ".." in text.split("/"):
        raise ConfigurationError(f"destination {text!r}: no '..' and no control characters, please.")
    _refuse_anothers_suffix(text, format, compressed=compressed)
    return checked(text)


def checked(text: str) -> str:
    """Return a path or URL that a file can have.

    :raises ConfigurationError: when it can't be one, such as a relative path.
    """
    return _checked_url(text) if "://" in text else str(_checked_path(text))


def _refuse_credentials(url: str) -> None:
    """Before another error shows them."""
    scheme, given, rest = url.partition("://")
    # A secret may have a slash, and a key an @: what looks like both is refused.
    if given and ":" in re.sub(r"{[^}]*}", "", rest).rpartition("@")[0]:
        raise ConfigurationError(
            f"destination {scheme}://…: credentials belong into an Airflow connection, whose id stands before "
            "the @."
        )


def _refuse_anothers_suffix(text: str, format: str, *, compressed: bool) -> None:
    """Refuse the name of another format, since readers go by it."""
    others = {".csv": "csv", ".gz": "csv.gz", ".parquet": "parquet"}
    says = next((other for suffix, other in others.items() if text.lower().endswith(suffix)), format)
    if says != format and not (says == "csv.gz" and compressed):
        raise ConfigurationError(
            f"destination {text!r} has the name of {says}, and what lands there is {format}: end it in .{format}, "
            f"or land {says}, with format={says!r} of StripeReportDownloadOperator."
        )


def _filled_in(template: str, values: Mapping[str, Any]) -> str:
    known = ", ".join(f"{{{name}}}" for name in values)
    try:
        fields = [field for field in Formatter().parse(template) if field[1] is not None]
        unknown = sorted({str(name) for _, name, _, _ in fields} - set(values))
        text = "" if unknown else template.format_map(values)
    except (ValueError, LookupError) as error:
        raise ConfigurationError(f"destination {template!r}: {error}; placeholders are {known}.") from None
    if unknown:
        raise ConfigurationError(
            f"destination {template!r} has the placeholder {{{unknown[0]}}}; known here are {known}."
        )
    if any(name == "report_run_id" and (spec or conversion) for _, name, spec, conversion in fields):
        raise ConfigurationError(f"destination {template!r}: {{report_run_id}} takes no format.")
    return text


def _layout(values: Mapping[str, Any], format: str) -> str:
    """Return the default path below a root: one folder for each thing that tells reports apart."""
    names = ("report_type", "stripe_account", *FILTERS)
    folders = [f"{name}={values[name]}" for name in names if name in values]
    folders += [f"{name}={values[name].astimezone(UTC):%Y-%m-%dT%H%M%SZ}" for name in BOUNDS if name in values]
    return "/".join([*folders, f"report.{format}"])


def _checked_url(url: str) -> str:
    from airflow_reportrun.landing.stores import place_of
    from airflow_reportrun.landing.stores.objects import StoredObject

    parts = urlsplit(url)
    if parts.scheme == "file":
        if parts.netloc:
            raise ConfigurationError(f"destination {url!r}: a local file's URL has three slashes, file:///data/….")
        return str(_checked_path(url.removeprefix("file://")))
    if parts.netloc.startswith("@"):
        raise ConfigurationError(f"destination {url!r}: the id of the connection before the @ is empty.")
    if not parts.netloc or not parts.path.strip("/"):
        raise ConfigurationError(f"destination {url!r} names no object in a bucket.")
    place = place_of(url)
    if isinstance(place, StoredObject):
        place.require_bucket()
    return url


def _checked_path(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise ConfigurationError(
            f"destination {text!r} is relative, and a worker's working directory can be anywhere; "
            "give an absolute path."
        )
    try:
        if path.is_dir():
            raise ConfigurationError(f"destination {text!r} is a folder; end it with / for the default layout.")
        path.with_name(f"_{path.name}.manifest.json").exists()  # a name that is too long is an error here
        folder = next(parent for parent in path.parents if parent.exists())
        if not folder.is_dir() or not access(folder, W_OK | X_OK):
            raise ConfigurationError(f"destination {text!r}: can't write into {folder}.")
    except OSError as error:
        raise ConfigurationError(f"destination {text!r}: {error.strerror}.") from None
    return path
