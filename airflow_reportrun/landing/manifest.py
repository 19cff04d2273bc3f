"""What says that an interval is landed: a small JSON document, written after the data and never before.

Before data is published, one that says so takes its place (``landing``), by which the next try knows that what an
interrupted one left is its own. ``docs/landing.md`` lists the fields.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow_reportrun import __version__
from airflow_reportrun.reporting.errors import ManifestError
from airflow_reportrun.reporting.models import LARGEST_NUMBER, is_printable, odd_parameter
from airflow_reportrun.reporting.report_type_ids import family_of

if TYPE_CHECKING:
    from airflow_reportrun.reporting.models import File, ReportRun

VERSION = 1
"""Of the manifest's format. Fields may be added within a version; one that changes its meaning makes a new one."""

LANDING_VERSION = 2
"""Of a manifest that says that its data is being landed: who knows version 1 alone must not take it for landed."""

_STATES = {"landed": VERSION, "landing": LANDING_VERSION}

FILTERS = ("connected_account", "currency", "payout", "reporting_category")
"""The parameters that choose rows, and whose values tell rows apart."""

NO_FILTERS = {*("interval_start", "interval_end"), *("columns", "timezone", "decimal_separator", "compress_file")}
"""Those that surely choose no rows."""


def _is_text(value: object) -> bool:
    return isinstance(value, str) and is_printable(value)


_IS: Mapping[str, Callable[[Any], bool]] = {
    "None": lambda value: value is None,
    "str": _is_text,
    "int": lambda value: type(value) is int and 0 <= value < LARGEST_NUMBER,
    "bool": lambda value: isinstance(value, bool),
    "tuple[str, ...]": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "Mapping[str, Any]": lambda value: isinstance(value, dict),
    "Mapping[str, str]": lambda value: isinstance(value, dict) and all(map(_is_text, (*value, *value.values()))),
}
"""What JSON may have for a field of each type."""


@dataclass(frozen=True)
class Subject:
    """What a report is about: two with the same subject say the same thing, and the later one replaces the other.

    :param report: the report type without its version, such as ``balance.summary``.
    :param livemode: False for test data.
    :param stripe_account: the account that the run acted as, None for the key's own.
    :param filters: the parameters that chose rows, by Stripe's names: all but those that surely don't.
    :param interval_start: epoch seconds, None where the report type takes none.
    :param interval_end: epoch seconds, exclusive; None where the report type takes none.
    """

    report: str
    livemode: bool
    stripe_account: str | None
    filters: Mapping[str, str]
    interval_start: int | None
    interval_end: int | None

    @classmethod
    def of(
        cls, report_type: str, parameters: Mapping[str, Any], *, livemode: bool, stripe_account: str | None
    ) -> Subject:
        """Return what a report run is about."""
        start, end = (parameters.get(name) for name in ("interval_start", "interval_end"))
        return cls(
            family_of(report_type),
            livemode,
            stripe_account,
            {
                name: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
                for name, value in parameters.items()
                if name not in NO_FILTERS and value is not None
            },
            None if start is None else int(start),
            None if end is None else int(end),
        )


@dataclass(frozen=True)
class Manifest:
    """What was landed, from where, and when.

    :param report_run_id: ``frr_…``.
    :param report_run_created: when it was asked for, ISO 8601 in UTC; None where a manifest does not say so.
    :param report_type: such as ``balance.summary.1``.
    :param parameters: those of the run, as Stripe echoes them.
    :param interval_start: first instant, ISO 8601 in UTC; None where the report type takes none.
    :param interval_end: first instant behind the interval; the same.
    :param stripe_account: the account that the run acted as, None for the key's own.
    :param livemode: False for test data.
    :param file_id: ``file_…``, what Stripe keeps of it.
    :param file_size: bytes of the CSV that Stripe wrote.
    :param file_sha256: of the same bytes, in hexadecimal.
    :param rows: records without the header; None for a file that Stripe was asked to compress.
    :param columns: names, in the order of the file; None likewise.
    :param format: ``csv``, ``csv.gz``, ``parquet``, ``sql``, ``iceberg`` or ``delta``.
    :param column_types: kinds by column name, for the formats that have types.
    :param naming: by which names the data has the columns; see :mod:`~airflow_reportrun.landing.contract`.
    :param metadata: whether each column of metadata is one there, or all are JSON in one; likewise.
    :param path: name of the data beside the manifest, or the table.
    :param size: bytes of the data there; None for a table.
    :param sha256: of the same bytes; None for a table.
    :param etag: what the store calls this content, where it does.
    :param landed_at: ISO 8601, UTC.
    :param landed_by: name and version of the package.
    :param version: of this format.
    :param state: ``landed``, or ``landing`` from before the data is published until it is landed.
    """

    report_run_id: str
    report_type: str
    parameters: Mapping[str, Any]
    interval_start: str | None
    interval_end: str | None
    stripe_account: str | None
    livemode: bool
    file_id: str
    file_size: int
    file_sha256: str
    rows: int | None
    columns: tuple[str, ...] | None
    format: str
    path: str
    column_types: Mapping[str, str] | None = None
    naming: str = "stripe"
    metadata: str = "columns"
    size: int | None = None
    sha256: str | None = None
    etag: str | None = None
    report_run_created: str | None = None
    landed_at: str | None = None
    landed_by: str = f"airflow-provider-reportrun {__version__}"
    version: int = VERSION
    state: str = "landed"

    @classmethod
    def of(cls, run: ReportRun, file: File, stripe_account: str | None, **landed: Any) -> Manifest:
        """Return the manifest of a report run, of which this file is landed now.

        :param landed: the fields that the run does not know.
        """
        return cls(
            report_run_id=run.id,
            report_run_created=iso(run.created),
            report_type=run.report_type,
            parameters=run.parameters,
            interval_start=iso(run.parameters.get("interval_start")),
            interval_end=iso(run.parameters.get("interval_end")),
            stripe_account=stripe_account,
            livemode=run.livemode,
            file_id=file.id,
            file_size=file.size,
            landed_at=iso(time.time()),
            **landed,
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read a manifest; unknown fields of a later package are left out, those it lacks are as by default.

        :raises ManifestError: when it is none, or one of a version that this package does not know.
        """
        try:
            it = json.loads(text)
            version = it["version"]
            if version not in _STATES.values():
                raise ManifestError(
                    f"The manifest has version {version}, and this package knows versions up to "
                    f"{LANDING_VERSION}: upgrade airflow-provider-reportrun, or remove the manifest to land the "
                    "report anew."
                )
            known = {field.name: it[field.name] for field in fields(cls) if field.name in it}
            for field in fields(cls):
                if field.name in known and not any(
                    _IS[kind](known[field.name]) for kind in field.type.split(" | ")
                ):
                    raise TypeError(f"{field.name} is not {field.type}")
            for name in ("interval_start", "interval_end", "report_run_created", "landed_at"):
                if known.get(name) is not None:
                    datetime.fromisoformat(known[name])
            if (odd := odd_parameter(known["parameters"])) is not None:
                raise TypeError(f"{odd!r} can't be that parameter")
            if _STATES.get(known.get("state", "landed")) != version:
                raise ValueError(f"version {version} can't be {known.get('state', 'landed')}")
            columns, types = known["columns"], known.get("column_types")
            known["columns"] = None if columns is None else _shared(tuple(columns))
            known["column_types"] = None if types is None else _shared_types(tuple(types.items()))
            return cls(**known)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"[:200]
            raise ManifestError(f"This is no manifest ({reason}); remove it to land the report anew.") from None

    def to_json(self) -> str:
        """Return the manifest as JSON, one field a line."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def as_landing(self) -> Manifest:
        """Return what lies there while the data that this one tells of is being published; no two are alike."""
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        return replace(self, version=LANDING_VERSION, state="landing", landed_at=now)

    @property
    def landing(self) -> bool:
        """Whether the data is only being landed, or was when somebody was interrupted."""
        return self.state == "landing"

    @property
    def subject(self) -> Subject:
        """What the report is about."""
        return Subject.of(
            self.report_type, self.parameters, livemode=self.livemode, stripe_account=self.stripe_account
        )

    def is_newer_than(self, report_run_created: str | None) -> bool:
        """Tell whether the report run was asked for after another one, and so has later figures."""
        return (self.report_run_created or "") > (report_run_created or "~")  # which is behind all digits


@lru_cache(maxsize=256)
def _shared(columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return one object for equal columns: thousands of manifests are read at once, of a few report types."""
    return columns


@lru_cache(maxsize=256)
def _shared_types(types: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    return dict(types)


def iso(seconds: float | str | None) -> str | None:
    """Return an instant of epoch seconds as ISO 8601 in UTC."""
    if seconds is None:
        return None
    return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%dT%H:%M:%SZ}"
