"""What a table says of what is landed in it: small texts by name, which come and go with the rows they tell of.

They are manifests without what would be told again and again: the columns, which most intervals have in common,
have a text of their own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

from airflow_reportrun.landing.manifest import VERSION, Manifest, Subject
from airflow_reportrun.landing.overlaps import Overlap, overlap
from airflow_reportrun.landing.rows import landing_key
from airflow_reportrun.reporting.errors import ManifestError

OWN = "reportrun."
"""Beginning of all that we say of a table."""

LANDING = f"{OWN}landing."
"""Beginning of the name of a landing's text, which goes on with the digest of what it is about."""

COLUMNS = f"{OWN}columns."
"""Beginning of the name of a text with columns and their kinds, which goes on with the digest of the text."""

_NOTHING = dict.fromkeys(("interval_start", "interval_end", "stripe_account"))  # which a manifest says, too


def name_of(subject: Subject) -> str:
    """Return the name of the text about a subject."""
    return f"{LANDING}{landing_key(subject)}"


def texts_of(manifest: Manifest) -> Mapping[str, str]:
    """Return what a table has to say of a landing, by name."""
    it = {name: value for name, value in asdict(manifest).items() if value is not None}
    columns = _compact(it.pop("column_types", {}))
    digest = hashlib.sha256(columns.encode()).hexdigest()[:16]
    asked, names = it["parameters"].get("columns"), list(it.pop("columns", ()))
    if asked == names:
        it["parameters"] = {**it["parameters"], "columns": True}
    return {
        name_of(manifest.subject): _compact({**it, "columns": digest}),
        f"{COLUMNS}{digest}": columns,
    }


class Facts:
    """What is landed in a table, as its texts tell.

    :param texts: by name; those of others are left alone.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    @cached_property
    def _told(self) -> Mapping[str, Mapping[str, Any]]:
        return {name: self._read(name) for name in self._texts if name.startswith(LANDING)}

    def about(self, subject: Subject) -> Manifest | None:
        """Return what is landed of a subject.

        :raises ManifestError: as :meth:`all`.
        """
        name = name_of(subject)
        return self._whole(name) if name in self._texts else None

    def near(self, subject: Subject) -> Sequence[Manifest]:
        """Return what is landed that overlaps a subject, itself left out, in the order of time."""
        found = [
            name
            for name, it in self._told.items()
            if _may_touch(it["parameters"], subject)
            and overlap(subject, _subject(it)) not in (Overlap.APART, Overlap.SAME)
        ]
        manifests = [self._whole(name) for name in found]
        return sorted(manifests, key=lambda it: (it.subject.interval_start or 0, it.subject.interval_end or 0))

    def of_mode(self, livemode: bool) -> str | None:
        """Return a report run that is landed, live or of test data, None where there is none."""
        return next((it["report_run_id"] for it in self._told.values() if it["livemode"] is livemode), None)

    def all(self) -> Iterator[tuple[str, Manifest]]:
        """Yield all that is landed, by the names of its texts.

        :raises ManifestError: when a text is none, or of a later version of this package.
        """
        for name in self._told:
            yield name, self._whole(name)

    def _whole(self, name: str) -> Manifest:
        it = dict(self._read(name))
        columns = self._texts.get(f"{COLUMNS}{it['columns']}", "")
        try:
            types = json.loads(columns)
            it |= {"columns": list(types), "column_types": types}
        except (ValueError, TypeError):
            raise ManifestError(
                f"The table's property {COLUMNS}{it['columns']} is gone, or changed, and {name} needs it: set it "
                "as it was, or remove both and the rows to land the report anew."
            ) from None
        if it["parameters"].get("columns") is True:
            it["parameters"] = {**it["parameters"], "columns": it["columns"]}
        try:
            return Manifest.from_json(json.dumps(it))
        except ManifestError as error:
            raise ManifestError(f"{name}: {error}") from None

    def _read(self, name: str) -> Mapping[str, Any]:
        """Read a text as far as it takes to find it; the rest is read when it is wanted."""
        try:
            it = json.loads(self._texts[name])
            if it["version"] == VERSION:
                it["report_type"], it["parameters"].get, it["livemode"], it["report_run_id"], it["columns"]
                return {**_NOTHING, **it}
            version = int(it["version"])
        except (ValueError, LookupError, TypeError, AttributeError):
            raise ManifestError(
                f"The table's property {name} tells of no landing: remove it, to land the report anew."
            ) from None
        raise ManifestError(
            f"The table's property {name} has version {version}, and this package knows version {VERSION}: "
            "upgrade airflow-provider-reportrun, or remove the property to land the report anew."
        )


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
