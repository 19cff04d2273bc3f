"""A table of a lakehouse, of whatever format, that a finished report run lands in."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_reportrun.landing.lakehouse.loading import landed, load
from airflow_reportrun.landing.tables import Asked

if TYPE_CHECKING:
    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.landing.lakehouse.table import LakeTable
    from airflow_reportrun.landing.manifest import Manifest
    from airflow_reportrun.landing.report import Landed


@dataclass(frozen=True)
class LakehouseTable(Asked):
    """A table of a lakehouse.

    :param table: of some format.
    :param hook: by whose clock a landing waits that was overtaken.
    """

    table: LakeTable
    hook: StripeReportingHook

    @property
    def name(self) -> str:
        """What the task calls it."""
        return self.table.name

    @property
    def format(self) -> str:
        """What manifests call its format."""
        return self.table.format

    def errors(self) -> AbstractContextManager[None]:
        """Make errors of ours of those of the format's library."""
        return self.table.errors()

    def landed(self, manifest: Manifest, columns: Sequence[str]) -> Manifest | None:
        """Return the manifest of what is landed and stays there, None where there is something to land."""
        return landed(self.table, manifest, columns=columns, **self.asked)

    def load(self, file: BinaryIO, manifest: Manifest, *, timezone: str, decimal_separator: str) -> Manifest:
        """Replace the rows of an interval in one commit."""
        written: Any = {"timezone": timezone, "decimal_separator": decimal_separator}
        return load(self.table, file, manifest, sleep=self.hook.sleep, **written, **self.asked)

    def called(self, manifest: Manifest) -> Landed:
        """Return what is landed, and what others call the place."""
        return self.table.called(manifest)
