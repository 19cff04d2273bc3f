"""One commit replaces the rows of an interval; who is overtaken by others decides again."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from airflow_reportrun.landing.contract import PLAIN, Contract
from airflow_reportrun.landing.decision import Answer
from airflow_reportrun.landing.formats.columns import Column, columns_of
from airflow_reportrun.landing.lakehouse.layout import Layout, layout_of, tables_of
from airflow_reportrun.landing.lakehouse.table import LakeTable, Landing, Neighbours, Noted, OvertakenError
from airflow_reportrun.landing.spool import columns_in
from airflow_reportrun.reporting.errors import StoreError

if TYPE_CHECKING:
    from airflow_reportrun.landing.manifest import Manifest, Subject

PATIENCE = 3600.0
"""Seconds for which a landing decides again, as landings in a database wait for each other."""

_FIRST_WAIT, _LONGEST_WAIT = 0.05, 5.0  # seconds, at most: who waits at random is overtaken less often

log = logging.getLogger(__name__)


def landed(
    table: LakeTable,
    manifest: Manifest,
    *,
    columns: Sequence[str] = (),
    column_types: Mapping[str, str] | None = None,
    contract: Contract = PLAIN,
    on_overlap: Literal["fail", "replace"] = "fail",
) -> Manifest | None:
    """Return the manifest of what is landed and stays there, None where there is something to land.

    :param manifest: of what is to be landed, as far as it is known.
    :param columns: of the report, where they are known: whether they fit is said now.
    :param column_types: kinds by column name that overrule the table of `columns`.
    :param contract: what the columns are called, and whether they may change.
    :param on_overlap: see :func:`load`.
    :raises ContentsError: when the columns do not fit the table.
    :raises LandingConflictError: when it can't stand beside what is landed, or the table is none of ours.
    :raises ManifestError: when a later version of this package has landed it.
    """
    if not table.looked_at:
        table.look()
    typed_as = partial(columns_of, column_types=column_types, report_type=manifest.report_type)
    layout_of((), table.schema, table.name)
    if table.schema is not None:
        stays = Neighbours(table, manifest).settled(
            typed_as,
            lambda there: _lacks(there, table, contract),
            contract,
            may_go=on_overlap == "replace",
        )
        if stays:
            return stays
    layout_of(typed_as(columns), table.schema, table.name, contract)
    return None


def load(
    table: LakeTable,
    file: BinaryIO,
    manifest: Manifest,
    *,
    column_types: Mapping[str, str] | None = None,
    contract: Contract = PLAIN,
    timezone: str = "Etc/UTC",
    decimal_separator: str = ".",
    on_overlap: Literal["fail", "replace"] = "fail",
    sleep: Callable[[float], None] = time.sleep,
) -> Manifest:
    """Replace the rows of an interval by those of a file.

    Memory does not grow with the file. What the table was like before the download decides at first, since a
    commit is refused where that is no longer so: who comes second looks at the table again, and decides again.

    :param file: the CSV as Stripe wrote it, whole and checked; it is read from its beginning, perhaps twice.
    :param manifest: what it is; ``rows`` says how many have to arrive.
    :param column_types: kinds by column name that overrule the table of `columns`.
    :param contract: what the columns are called, and whether they may change.
    :param timezone: the IANA name of the time zone that the report was asked for.
    :param decimal_separator: the one that the report was asked for, a point or a comma.
    :param on_overlap: ``replace`` what the interval covers whole, such as days by their month; by default that is
        an error.
    :param sleep: waits between two tries.
    :returns: the manifest as the table tells it. It is another run's where a newer one has landed meanwhile, which
        stays; where the same figures are landed already, it alone is new, and the rows stay.
    :raises LandingConflictError: when rows would count twice beside what is landed; nothing was changed.
    :raises ContentsError: when the report does not fit its types or the table's; nothing was changed.
    :raises ConfigurationError: when a kind or the time zone can't be, or the file is no CSV.
    :raises StoreError: when others land there all the time.
    """
    columns, told = columns_in(file, manifest, column_types, contract, timezone)
    manifest = replace(told, format=table.format, path=table.name)

    def tables(layout: Layout) -> partial[Iterator[Any]]:
        return partial(tables_of, file, layout, manifest, column_types, timezone, decimal_separator)

    loading = _Loading(table, manifest, columns, contract, tables, on_overlap == "replace")
    if not table.looked_at:
        table.look()
    waited, longest, until = 0, _FIRST_WAIT, time.monotonic() + PATIENCE
    try:
        while True:
            try:
                return loading.once()
            except OvertakenError:
                waited += 1
            if time.monotonic() > until:
                raise StoreError(
                    f"{table.name}: others land there all the time ({waited} times in a row before this one): let "
                    "fewer tasks do so at once, with a pool for example."
                )
            log.info("Somebody else has written to %s meanwhile: this landing decides again", table.name)
            sleep(random.uniform(0, longest))  # noqa: S311 - no secret
            longest = min(2 * longest, _LONGEST_WAIT)
            table.look()
    except BaseException:
        table.give_up()
        raise


@dataclass
class _Loading:
    """One landing into a table, however often it has to decide."""

    table: LakeTable
    manifest: Manifest
    columns: Sequence[Column]
    contract: Contract
    tables: Callable[[Layout], Callable[[], Iterator[Any]]]
    may_go: bool
    has_lacked: bool = field(default=False)

    def once(self) -> Manifest:
        """Decide and write; returns the manifest of what is there then.

        :raises OvertakenError: when somebody else has written since the table was looked at.
        """
        table, mine = self.table, self.manifest
        neighbours = Neighbours(table, mine)
        exists = table.schema is not None
        # What stays need not fit, whatever is asked for now.
        if newer := neighbours.newer(lambda: exists):
            table.give_up()
            return newer
        layout = layout_of(self.columns, table.schema, table.name, self.contract)
        if not exists:
            return self._replace(layout)
        self.has_lacked = self.has_lacked or bool(layout.missing)
        answer, replaced = neighbours.verdict(lacking=self.has_lacked, may_go=self.may_go)
        there = neighbours.same
        if answer is Answer.LANDED and there:
            table.give_up()
            return there
        if answer is Answer.CONFIRMED:
            table.give_up()
            rows_of = min(neighbours.runs_there(mine.subject), default=mine.report_run_id)
            table.confirm(Noted(mine, rows_of))
            log.info(
                "Report run %s has the figures that are in %s: no row is changed", mine.report_run_id, mine.path
            )
            return mine
        neighbours.warn_of_loss(replaced)
        gone = [it.subject for it in replaced]
        # Of what overlaps, the decisions have left what is replaced, and what has no rows any longer.
        return self._replace(layout, gone, [it.manifest.subject for it in neighbours.told_near])

    def _replace(
        self, layout: Layout, replaced: Sequence[Subject] = (), told_no_more: Sequence[Subject] = ()
    ) -> Manifest:
        rows = self.table.replace(Landing(self.manifest, replaced, told_no_more, layout, self.tables(layout)))
        log.info("Landed report run %s: %d rows in %s", self.manifest.report_run_id, rows, self.manifest.path)
        return self.manifest


def _lacks(columns: Sequence[Column], table: LakeTable, contract: Contract) -> bool:
    """Tell whether somebody has dropped one of a landing's columns since."""
    return bool(layout_of(columns, table.schema, table.name, replace(contract, schema="evolve")).missing)
