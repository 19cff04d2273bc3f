"""A finished report run lands in a table of a lakehouse, of whatever format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal

from airflow_reportrun.landing.contract import PLAIN, Contract
from airflow_reportrun.landing.lakehouse.loading import landed, load
from airflow_reportrun.landing.tables import land_in

if TYPE_CHECKING:
    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.landing.lakehouse.table import LakeTable
    from airflow_reportrun.landing.manifest import Manifest
    from airflow_reportrun.landing.report import Landed
    from airflow_reportrun.reporting.models import ReportRun


def land_in_lakehouse(
    hook: StripeReportingHook,
    run: ReportRun,
    table: LakeTable,
    *,
    column_types: Mapping[str, str] | None = None,
    contract: Contract = PLAIN,
    on_overlap: Literal["fail", "replace"] = "fail",
) -> Landed:
    """Bring the file of a report run into a table, unless it is there, or that of a newer run is.

    :param hook: of the account that the run acted as.
    :param run: a succeeded one.
    :param column_types: kinds by column name that overrule
        :mod:`~airflow_reportrun.landing.formats.columns`.
    :param contract: what the columns are called, and whether they may change.
    :param on_overlap: see :func:`~airflow_reportrun.landing.lakehouse.loading.load`.
    :raises ReportingError: see :func:`~airflow_reportrun.landing.tables.land_in` and
        :func:`~airflow_reportrun.landing.lakehouse.loading.load`.
    """
    return land_in(hook, run, _Table(hook, table, column_types, contract, on_overlap))


@dataclass(frozen=True)
class _Table:
    """A table of a lakehouse, with the options of a landing."""

    hook: StripeReportingHook
    table: LakeTable
    column_types: Mapping[str, str] | None
    contract: Contract
    on_overlap: Literal["fail", "replace"]

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def format(self) -> str:
        return self.table.format

    def errors(self) -> AbstractContextManager[None]:
        return self.table.errors()

    def landed(self, manifest: Manifest, columns: Sequence[str]) -> Manifest | None:
        return landed(
            *(self.table, manifest),
            columns=columns,
            column_types=self.column_types,
            contract=self.contract,
            on_overlap=self.on_overlap,
        )

    def load(self, file: BinaryIO, manifest: Manifest, *, timezone: str, decimal_separator: str) -> Manifest:
        return load(
            *(self.table, file, manifest),
            column_types=self.column_types,
            contract=self.contract,
            timezone=timezone,
            decimal_separator=decimal_separator,
            on_overlap=self.on_overlap,
            sleep=self.hook.sleep,
        )

    def called(self, manifest: Manifest) -> Landed:
        return self.table.called(manifest)
