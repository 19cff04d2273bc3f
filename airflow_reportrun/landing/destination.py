"""Where a report goes: a path or URL with placeholders, checked before anything is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_reportrun.landing.lake import former_manifests_of, is_former, layout, manifest_of
from airflow_reportrun.landing.manifest import FILTERS, Manifest
from airflow_reportrun.reporting.errors import ConfigurationError, ManifestError
from airflow_reportrun.reporting.models import is_printable

if TYPE_CHECKING:
    from airflow_reportrun.landing.stores.place import Place

LATER = "{report_run_id}"
"""Stands for the id of a run that is not created yet; see :func:`resolve_destination`."""

_WIDE = re.compile(r"{|\d{6}")


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
        text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if isinstance(text, str) and "." not in text.rpartition("/")[2]:
        raise ConfigurationError(
            f"destination {text!r} has no ending. A path object loses the / of a root: for the default layout "
            "below it, give a text that ends in /."
        )
    return text


def check_written(template: str, format: str | None) -> None:
    """Refuse a destination that no placeholder can mend, where its text is written.

    :param format: what lands there, None where that is not known.
    :raises ConfigurationError: see above.
    """
    if "://" not in template:
        _require_absolute(template)
    if format and not template.endswith("/") and not template.lower().endswith(".zip"):
        _refuse_anothers_suffix(template, format)


def resolve_destination(
    template: object, values: Mapping[str, Any], format: str = "csv", *, compressed: bool = False
) -> str:
    """Return the path or URL that a ``destination`` names for one report.

    :param template: an absolute local path or a URL that ObjectStoragePath takes, or one of Python's or Airflow's
        paths, with placeholders such as ``{interval_start:%Y-%m-%d}``; braces are doubled to stand for
        themselves. With a ``/`` at its end it is the root of the default layout:
        ``report_type=…/interval_start=…/interval_end=…/report.csv``, in UTC, with the account and what else
        chose rows in between; what is landed below it says how the folders are called.
    :param values: the placeholders that are known here, by name; see :func:`placeholders`.
    :param format: what the file's name ends in under the default layout.
    :param compressed: Stripe was asked to compress the file, so that it is a ``zip``.
    :raises ConfigurationError: when it can't be a file there.
    """
    template = text_of(template)
    if not isinstance(template, str):
        raise ConfigurationError(
            f"destination is a path or a URL, not {type(template).__name__} {template!r:.100}."
        )
    refuse_credentials(template)
    # Plain ones: pendulum's have formats of their own.
    values = {
        name: datetime.fromtimestamp(value.timestamp(), value.tzinfo) if isinstance(value, datetime) else value
        for name, value in values.items()
    }
    if odd := [f"{name} {value!r}" for name, value in values.items() if "/" in str(value)]:
        raise ConfigurationError(f"destination {template!r}: {odd[0]} has a /, which would make folders of it.")
    text = filled_in("destination", template, values)
    refuse_credentials(text)
    ending, root = "zip" if compressed else format, text
    if root.endswith("/"):
        text = _in_layout(root, values, ending)
    if not is_printable(text):
        raise ConfigurationError(f"destination {text!r}: a NUL or half a character is in no file's name.")
    if any(ord(sign) < 32 for sign in text) or ".." in text.split("/"):
        raise ConfigurationError(f"destination {text!r}: no '..' and no control characters, please.")
    _refuse_anothers_suffix(text, ending)
    text = checked(text)
    return _as_landed(text, root, values, ending) if root.endswith("/") else text


def checked(text: str) -> str:
    """Return a path or URL that a file can have.

    :raises ConfigurationError: when it can't be one, such as a relative path.
    """
    return _checked_url(text) if "://" in text else str(_checked_path(text))


def require_folder(said: str, folder: Path) -> None:
    """Refuse a folder that is a file, or would lie below one: no retry makes it another.

    :param said: begins the error.
    :raises ConfigurationError: naming the file.
    """
    there = next(it for it in (folder, *folder.parents) if os.path.exists(it))
    if not there.is_dir():
        raise ConfigurationError(f"{said}: {there} is no folder. Move it away, or name another one.")


def shows_credentials(url: str) -> bool:
    """Tell whether a URL has a secret in it, as it seems."""
    _, given, rest = url.partition("://")
    # A secret may have a slash, and a key an @: what looks like both is one.
    return bool(given) and ":" in re.sub(r"{[^}]*}", "", rest).rpartition("@")[0]


def refuse_credentials(url: str) -> None:
    """Before another error shows them."""
    if shows_credentials(url):
        scheme = url.partition("://")[0]
        raise ConfigurationError(
            f"destination {scheme}://…: credentials belong into an Airflow connection, whose id stands before "
            "the @."
        )


def _refuse_anothers_suffix(text: str, ending: str) -> None:
    """Refuse the name of another format, since readers go by it."""
    others = {".csv": "csv", ".gz": "csv.gz", ".parquet": "parquet", ".zip": "zip"}
    says = next((other for suffix, other in others.items() if text.lower().endswith(suffix)), ending)
    if says == ending:
        return
    if "zip" in (says, ending):
        way = "ask for compress_file where a zip is to land, and nowhere else"
    else:
        way = f"land {says}, with format={says!r} of StripeReportDownloadOperator"
    raise ConfigurationError(
        f"destination {text!r} has the name of {says}, and what lands there is {ending}: end it in .{ending}, "
        f"or {way}."
    )


def filled_in(option: str, template: str, values: Mapping[str, Any]) -> str:
    """Return a text with its placeholders filled in.

    :param option: what the user calls it.
    :param values: the placeholders by name; see :func:`placeholders`.
    :raises ConfigurationError: when it has another one, or a format that does not fit.
    """
    known = ", ".join(f"{{{name}}}" for name in values)
    try:
        fields = [field for field in Formatter().parse(template) if field[1] is not None]
        unknown = sorted({str(name) for _, name, _, _ in fields} - set(values))
        if odd := [spec for _, _, spec, _ in fields if _WIDE.search(spec or "")]:
            raise ValueError(f"the format {odd[0]!r} has a placeholder of its own, or a width beyond all")
        text = "" if unknown else template.format_map(values)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{option} {template!r}: {error}; placeholders are {known}.") from None
    if unknown:
        raise ConfigurationError(
            f"{option} {template!r} has the placeholder {{{unknown[0]}}}; known here are {known}."
        )
    if any(name == "report_run_id" and (spec or conversion) for _, name, spec, conversion in fields):
        raise ConfigurationError(f"{option} {template!r}: {{report_run_id}} takes no format.")
    return text


def _in_layout(root: str, values: Mapping[str, Any], ending: str, *, former: bool = False) -> str:
    return root + "/".join([*layout(values, former=former), f"report.{ending}"])


def _as_landed(text: str, root: str, values: Mapping[str, Any], ending: str) -> str:
    """Return where a file of the default layout lies below a root in which an earlier version may have landed."""
    from airflow_reportrun.landing.stores import place_of

    place = place_of(text)
    with place.errors():
        if is_former(place):
            text = checked(_in_layout(root, values, ending, former=True))
            place = place_of(text)
        if ending == "zip" and _is_landed_zip(before := place.beside("report.csv")):
            return before.url
    return text


def _is_landed_zip(place: Place) -> bool:
    """Tell whether a ``.csv`` is what Stripe compressed, which was called so."""
    for note in (manifest_of(place), *former_manifests_of(place)):
        if text := note.read():
            with suppress(ManifestError):
                return is_compressed(Manifest.from_json(text).parameters)
    return False


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


def _require_absolute(text: str) -> None:
    if not Path(text).is_absolute():
        raise ConfigurationError(
            f"destination {text!r} is relative, and a worker's working directory can be anywhere; "
            "give an absolute path."
        )


def _checked_path(text: str) -> Path:
    from airflow_reportrun.landing.stores.local import LocalFile

    _require_absolute(text)
    path = Path(text)
    try:
        if path.is_dir():
            raise ConfigurationError(f"destination {text!r} is a folder; end it with / for the default layout.")
        for file in (path, Path(manifest_of(LocalFile(path)).url)):
            file.exists()  # a name that is too long is an error here
            folder = next(parent for parent in file.parents if parent.exists())
            if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
                raise ConfigurationError(f"destination {text!r}: can't write into {folder}.")
    except OSError as error:
        raise ConfigurationError(f"destination {text!r}: {error.strerror}.") from None
    return path
