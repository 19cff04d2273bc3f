"""What is landed of one report, as a value; who can tell of it is a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_reportrun.landing.manifest import Manifest


@dataclass(frozen=True)
class Landing:
    """What is landed of one report, as far as it is told.

    :param report_type: such as ``balance.summary.1``.
    :param stripe_account: the account that the run acted as, None for the key's own.
    :param filters: the parameters that chose rows, by Stripe's names.
    :param interval_start: epoch seconds, None where the report type takes none.
    :param interval_end: epoch seconds, exclusive; None where the report type takes none.
    :param format: ``csv``, ``csv.gz``, ``zip``, ``parquet``, ``sql``, ``iceberg`` or ``delta``.
    :param path: of the data: a local path or a URL, or the name of a table.
    :param told_at: where its manifest is, for :meth:`Source.manifest`: a local path or a URL, or the key of a row
        in the table of manifests.
    :param whole: False while it is being landed, or after that was interrupted.
    :param manifest: where it was read, None where the names told enough.
    :param is_empty: the report has no rows.
    :param newer_report_run: the id of a newer report run of the same question, whose file is another one.
    :param changed: that file has another size, so that the report says something else by now.
    """

    report_type: str
    stripe_account: str | None
    filters: Mapping[str, str]
    interval_start: int | None
    interval_end: int | None
    format: str
    path: str
    told_at: str
    whole: bool = True
    manifest: Manifest | None = None
    is_empty: bool = False
    newer_report_run: str | None = None
    changed: bool = False

    @classmethod
    def of(cls, manifest: Manifest, *, path: str, told_at: str) -> Landing:
        """Return what a manifest tells of."""
        subject = manifest.subject
        return cls(
            report_type=manifest.report_type,
            stripe_account=subject.stripe_account,
            filters=subject.filters,
            interval_start=subject.interval_start,
            interval_end=subject.interval_end,
            format=manifest.format,
            path=path,
            told_at=told_at,
            whole=not manifest.landing,
            manifest=manifest,
            is_empty=manifest.rows == 0,
        )


class Source(Protocol):
    """Where reports are landed: a store or a table."""

    @property
    def is_to_be_made(self) -> bool:
        """Whether a landing makes it, which a look does not."""

    def landings(self) -> Sequence[Landing]:
        """Return what is landed there, in any order.

        :raises ReportingError: when it can't be read.
        """

    @property
    def passed_over(self) -> Sequence[str]:
        """What of it :meth:`landings` could not read, in words."""

    def nothing(self) -> str:
        """Say that nothing is landed there, as :meth:`landings` has found, and why, where that is known."""

    def manifest(self, told_at: str) -> Manifest | None:
        """Return the manifest of a landing, None where it is there no longer.

        :param told_at: of the landing.
        :raises ReportingError: when it can't be read, or is none of what lies there.
        """
