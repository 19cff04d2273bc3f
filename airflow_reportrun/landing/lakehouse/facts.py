"""What a table says of what is landed in it: small texts by name, which come and go with the rows they tell of.

They are manifests, those of a month in one text and compressed, since some catalogs take all texts of a table in
one request. Columns, which most intervals have in common, have a text of their own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from airflow_reportrun.landing.lakehouse.table import Noted
from airflow_reportrun.landing.manifest import VERSION, Manifest, Subject
from airflow_reportrun.landing.overlaps import Overlap, overlap
from airflow_reportrun.landing.rows import landing_key
from airflow_reportrun.reporting.errors import ManifestError
from airflow_reportrun.reporting.models import odd_parameter

OWN = "reportrun."
"""Beginning of all that we say of a table."""

LANDINGS = f"{OWN}landings."
"""Beginning of the name of a text about landings, which goes on with the month that they end in."""

COLUMNS = f"{OWN}columns."
"""Beginning of the name of a text with columns and their kinds, which goes on with the digest of the text."""

LONGEST_TEXT = 64 * 1024 * 1024
"""Bytes that a text may have when it is not compressed; the landings of a month have a few thousand."""

_NOTHING = dict.fromkeys(("interval_start", "interval_end", "stripe_account"))  # which a manifest says, too


def text_about(subject: Subject) -> str:
    """Return the name of the text that tells of a subject, with others that end in its month."""
    if subject.interval_end is None:  # of payouts, for example; there may be many
        return f"{LANDINGS}{landing_key(subject)[:2]}"
    return f"{LANDINGS}{datetime.fromtimestamp(subject.interval_end, UTC):%Y-%m}"


def essentials_of(manifest: Manifest) -> Mapping[str, str]:
    """Return what a snapshot or a commit says of its landing, by name."""
    names = (
        *("report_run_id", "report_type", "interval_start", "interval_end", "stripe_account"),
        *("file_id", "file_sha256", "landed_by"),
    )
    said = {name: getattr(manifest, name) for name in names}
    return {f"{OWN}{name.replace('_', '-')}": str(it) for name, it in said.items() if it is not None}


class Facts:
    """What is landed in a table, as its texts tell.

    :param texts: by name; those of others are left alone.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    @cached_property
    def _told(self) -> Sequence[Mapping[str, Any]]:
        return [it for name in self._texts if name.startswith(LANDINGS) for it in self._read(name)]

    def about(self, subject: Subject) -> Noted | None:
        """Return what is landed of a subject.

        :raises ManifestError: when that can't be read, or a later version of this package has landed it.
        """
        name = text_about(subject)
        found = (it for it in self._read(name) if _subject(it) == subject) if name in self._texts else ()
        return next((self._whole(it) for it in found), None)

    def near(self, subject: Subject) -> Sequence[Noted]:
        """Return what is landed that overlaps a subject, itself left out.

        :raises ManifestError: as :meth:`about`.
        """
        return [
            self._whole(it)
            for it in self._told
            if _may_touch(it["parameters"], subject)
            and overlap(subject, _subject(it)) not in (Overlap.APART, Overlap.SAME)
        ]

    def of_mode(self, livemode: bool) -> str | None:
        """Return a report run that is landed, live or of test data, None where there is none."""
        return next((it["report_run_id"] for it in self._told if it["livemode"] is livemode), None)

    def all(self) -> Iterator[tuple[str, Noted]]:
        """Yield all that is landed, by the digests of what it is about.

        :raises ManifestError: as :meth:`about`.
        """
        for it in self._told:
            yield landing_key(_subject(it)), self._whole(it)

    def called(self, name: str) -> Manifest | None:
        """Return what is landed that has this digest, None where there is nothing."""
        found = dict(self.all()).get(name)
        return found.manifest if found else None

    def changed(self, noted: Noted, gone: Sequence[Subject] = ()) -> Mapping[str, str | None]:
        """Return the texts that are others when the table tells of a landing, too; None for one that goes.

        :param gone: what the table tells of no longer.
        """
        manifest = noted.manifest
        columns = _compact(manifest.column_types or {})
        digest = hashlib.sha256(columns.encode()).hexdigest()[:16]
        it = {name: value for name, value in asdict(manifest).items() if value is not None}
        del it["column_types"]
        if it["parameters"].get("columns") == list(it.pop("columns")):
            it["parameters"] = {**it["parameters"], "columns": True}
        subjects = (manifest.subject, *gone)
        changed: dict[str, str | None] = {f"{COLUMNS}{digest}": columns}
        for name in sorted({text_about(subject) for subject in subjects}):
            told = self._read(name) if name in self._texts else []
            kept = [one for one in told if _subject(one) not in subjects]
            if name == text_about(manifest.subject):
                kept.append({**it, "columns": digest, "rows_of": noted.rows_of})
            changed[name] = _text(kept) if kept else None
        return changed

    def _whole(self, it: Mapping[str, Any]) -> Noted:
        name = f"{COLUMNS}{it['columns']}"
        try:
            types = json.loads(self._texts.get(name, ""))
            columns = list(types)
        except (ValueError, TypeError, RecursionError):
            raise ManifestError(
                f"The table's property {name} is gone, or changed, and tells of columns that are landed: set it "
                "as it was, or remove all that begin with reportrun. and the rows, to land the reports anew."
            ) from None
        whole = {**_NOTHING, **it, "columns": columns, "column_types": types}
        if it["parameters"].get("columns") is True:
            whole["parameters"] = {**it["parameters"], "columns": columns}
        return Noted(Manifest.from_json(json.dumps(whole)), it.get("rows_of"))

    def _read(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Read a text as far as it takes to find what it tells of; the rest is read when it is wanted."""
        try:
            text = json.loads(self._texts[name])
            version = int(text["version"])
            if version == VERSION:
                found = json.loads(_unpacked(text["landings"]))
                if not isinstance(found, list) or not all(map(_is_told, found)):
                    raise TypeError
                return found
        except (ValueError, LookupError, TypeError, OverflowError, RecursionError, zlib.error):
            raise ManifestError(
                f"The table's property {name} tells of no landing: remove it, to land what it told of anew."
            ) from None
        raise ManifestError(
            f"The table's property {name} has version {version}, and this package knows version {VERSION}: "
            "upgrade airflow-provider-reportrun, or remove the property to land anew what it tells of."
        )


def _text(told: Sequence[Mapping[str, Any]]) -> str:
    packed = base64.b64encode(zlib.compress(_compact(told).encode(), 9)).decode()
    return _compact({"version": VERSION, "landings": packed})


def _unpacked(text: str) -> bytes:
    unpacker = zlib.decompressobj()
    whole = unpacker.decompress(base64.b64decode(text), LONGEST_TEXT)
    if not unpacker.eof:  # cut, or longer
        raise ValueError
    return whole


_IS: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("report_type", "report_run_id", "columns"), lambda it: isinstance(it, str)),
    **dict.fromkeys(("stripe_account", "rows_of"), lambda it: isinstance(it, str | None)),
    "livemode": lambda it: isinstance(it, bool),
    "parameters": lambda it: (
        isinstance(it, dict) and odd_parameter({name: it[name] for name in it if name != "columns"}) is None
    ),
}
"""What is read of a landing before the whole of it; ``columns`` of its parameters may be an abbreviation."""


def _is_told(it: Any) -> bool:
    return isinstance(it, dict) and all(is_sound(it.get(name)) for name, is_sound in _IS.items())


def _may_touch(parameters: Mapping[str, Any], subject: Subject) -> bool:
    """Tell intervals that are far apart, of which there may be thousands, in less time than a subject takes."""
    bounds: Any = parameters.get("interval_start"), parameters.get("interval_end")
    if subject.interval_start is None or subject.interval_end is None or None in bounds:
        return True
    start, end = map(int, bounds)
    return start < subject.interval_end and subject.interval_start < end


def _subject(it: Mapping[str, Any]) -> Subject:
    return Subject.of(
        it["report_type"],
        it["parameters"],
        livemode=it["livemode"],
        stripe_account=it.get("stripe_account"),
    )


def _compact(it: Any) -> str:
    return json.dumps(it, ensure_ascii=False, separators=(",", ":"))
