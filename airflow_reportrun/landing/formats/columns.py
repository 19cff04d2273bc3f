"""What type the columns of a report have: a table by name, which a user can overrule.

The table is ``column_types.json``: the kinds of columns, and the families of reports whose money has more decimal
places than others'. A name that ends in ``_utc`` is a timestamp in UTC. A name that nobody knows is text, as the
columns of metadata are (``payment_metadata[order_id]``), and so are columns of which no source shows how Stripe
writes them, such as rates, quantities, accounting periods and the dates on which something was booked.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.reporting.report_type_ids import own_id

KINDS = ("money", "integer", "boolean", "timestamp", "timestamp_utc", "date", "text")
"""Money is an exact decimal; ``timestamp`` is written in the report's time zone, ``timestamp_utc`` in UTC."""

MAX_DIGITS = 38
"""What an exact decimal can have, before and behind the point together."""

MAX_DECIMALS = MAX_DIGITS - 1
"""Of which so many can stand behind the point."""

DECIMALS = 6
"""Places of money, but for the families in the table and what ``column_types`` says. The contents never decide, so
that all files of a lake have one type: DuckDB rounds to that of the first one."""

_WITH_PLACES = re.compile(r"money\((\d{1,2})\)")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Column:
    """A column of a report.

    :param name: as the header has it.
    :param kind: one of ``KINDS``.
    :param decimals: for money, how many places it has: in Parquet exactly, in a table at least.
    """

    name: str
    kind: str
    decimals: int = DECIMALS

    @property
    def declared(self) -> str:
        """The kind as a user would give it in ``column_types``."""
        return f"money({self.decimals})" if self.kind == "money" else self.kind


def columns_of(names: Iterable[str], column_types: Mapping[str, str] | None, report_type: str) -> Sequence[Column]:
    """Say what the columns of a header are.

    :param names: of the header, in its order.
    :param column_types: kinds by column name that overrule the table; names that the header lacks are for other
        reports. Besides ``KINDS`` there is ``money(6)``: money with six decimal places.
    :param report_type: the report's, which says how many places money has that nobody asked for.
    :raises ConfigurationError: when a kind is unknown.
    """
    places = _places(report_type)
    chosen = check_column_types(column_types or {}, places)
    return [chosen.get(name) or Column(name, _kind(name), places) for name in names]


def require_columns(names: Sequence[str], column_types: Mapping[str, str] | None) -> None:
    """Refuse types for columns that a report lacks, before it is landed with others than were meant.

    One mapping may serve several reports, versions and lists of columns: those that the table knows, and metadata,
    are a warning.

    :param names: of the header.
    :param column_types: kinds by column name.
    :raises ConfigurationError: naming what is like them in the report.
    """
    absent = [name for name in column_types or () if name not in names]
    elsewhere = [name for name in absent if "_metadata[" in name or name.removesuffix("_utc") in _table()]
    if unknown := [name for name in absent if name not in elsewhere]:
        like = [near for name in unknown for near in get_close_matches(name, names)]
        raise ConfigurationError(
            f"column_types names columns that the report lacks: {', '.join(unknown)}. "
            f"It has {', '.join(like or names)}."
        )
    if elsewhere:
        log.warning("column_types names columns that this report lacks: %s", ", ".join(elsewhere))


def check_column_types(column_types: Mapping[str, str], places: int = DECIMALS) -> Mapping[str, Column]:
    """Read what a user says of columns, by name; for the places that know it before there is a report.

    :param places: of money without a number.
    :raises ConfigurationError: when a kind is unknown; it names all that are.
    """
    if not isinstance(column_types, Mapping):
        raise ConfigurationError(f"column_types must be a mapping of column names to kinds, not {column_types!r}.")
    columns = {name: _column(name, kind, places) for name, kind in column_types.items()}
    if unknown := [f"{name!r}: {column_types[name]!r}" for name, column in columns.items() if column is None]:
        raise ConfigurationError(
            f"column_types {{{', '.join(unknown)}}}: known kinds are {', '.join(KINDS)}, "
            f"and money(n) for money with n decimal places, n up to {MAX_DECIMALS}."
        )
    return {name: column for name, column in columns.items() if column}


def _column(name: str, kind: object, places: int) -> Column | None:
    if kind in KINDS:
        return Column(name, str(kind), places)
    with_places = _WITH_PLACES.fullmatch(kind) if isinstance(kind, str) else None
    if with_places and (decimals := int(with_places[1])) <= MAX_DECIMALS:
        return Column(name, "money", decimals)
    return None


def _kind(name: str) -> str:
    return "timestamp_utc" if name.endswith("_utc") else _table().get(name, "text")


def _places(report_type: str) -> int:
    for family, places in _file()["decimals"].items():
        if own_id(report_type).startswith(f"{family}."):
            return int(places)
    return DECIMALS


@cache
def _table() -> Mapping[str, str]:
    return {name: kind for kind, lines in _file()["kinds"].items() for line in lines for name in line.split()}


@cache
def _file() -> Mapping[str, Any]:
    contents: Mapping[str, Any] = json.loads(
        files(__package__).joinpath("column_types.json").read_text(encoding="utf-8")
    )
    return contents
