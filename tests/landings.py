"""Reports as files, and their landing in a database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

from airflow_reportrun.landing.contract import PLAIN, Contract
from airflow_reportrun.landing.manifest import Manifest
from airflow_reportrun.landing.rows import filters_of, landing_key
from airflow_reportrun.landing.sql.loading import load

Row = Sequence[str | None]
OURS = ("_report_type", "_stripe_account", "_filters", "_interval_start", "_interval_end", "_report_run_id")


def as_stripe_writes(rows: Iterable[Row], line_end: str = "\n") -> bytes:
    """Every cell that is not null is quoted; null is empty and unquoted."""

    def quoted(cell: str | None) -> str:
        return "" if cell is None else '"' + cell.replace('"', '""') + '"'

    return "".join(",".join(map(quoted, row)) + line_end for row in rows).encode()


def day(number: int) -> int:
    """Return the beginning of a day of May 2024, in epoch seconds."""
    return int(datetime(2024, 5, 1, tzinfo=UTC).timestamp()) + (number - 1) * 86400


def manifest_of(
    run_id: str,
    rows: int,
    *,
    start: int | None = day(1),
    end: int | None = day(2),
    report_type: str = "balance_change_from_activity.itemized.3",
    account: str | None = None,
    livemode: bool = False,
    contents: bytes = b"",
    created: str | None = None,
    **parameters: Any,
) -> Manifest:
    """Return what a report run of an interval would say of its file."""
    bounds = {"interval_start": start, "interval_end": end}
    return Manifest(
        report_run_id=run_id,
        report_run_created=created,
        report_type=report_type,
        parameters={**{name: at for name, at in bounds.items() if at is not None}, **parameters},
        interval_start=None,
        interval_end=None,
        stripe_account=account,
        livemode=livemode,
        file_id=f"file_{run_id}",
        file_size=len(contents),
        file_sha256=hashlib.sha256(contents).hexdigest(),
        rows=rows,
        columns=None,
        format="csv",
        path="",
    )


def recorded(manifest: Manifest, database: Any, table: str = "activity") -> Mapping[str, Any]:
    """Return what the table of manifests has of a landing."""
    subject = manifest.subject
    return {
        **{"table_name": table, "landing": landing_key(subject), "report": subject.report},
        **{"livemode": subject.livemode, "stripe_account": subject.stripe_account, "filters": filters_of(subject)},
        "interval_start": database.instant(subject.interval_start),
        "interval_end": database.instant(subject.interval_end),
        **{"report_run_id": manifest.report_run_id, "row_count": 1, "manifest": manifest.to_json()},
    }


def land(
    hook: Any,
    names: Sequence[str],
    rows: Sequence[Row],
    run_id: str = "frr_1",
    *,
    table: str = "activity",
    column_types: Mapping[str, str] | None = None,
    contract: Contract = PLAIN,
    timezone: str = "Etc/UTC",
    on_overlap: Any = "fail",
    claimed: int | None = None,
    decimal_separator: str = ".",
    ended: bool = True,
    **about: Any,
) -> Manifest:
    """Land a report of these cells; the last line may lack its end."""
    contents = as_stripe_writes([names, *rows])
    contents = contents if ended else contents.removesuffix(b"\n")
    asked = {"timezone": timezone, "decimal_separator": decimal_separator}
    about |= {name: value for name, value in asked.items() if value not in ("Etc/UTC", ".")}
    return load(
        hook,
        table,
        BytesIO(contents),
        manifest_of(run_id, len(rows) if claimed is None else claimed, contents=contents, **about),
        column_types=column_types,
        contract=contract,
        timezone=timezone,
        on_overlap=on_overlap,
        decimal_separator=decimal_separator,
    )
