"""The report types on offer, and how far their data reaches.

The types are in ``report_types.json``. A column list is text, in which ``@name`` stands for one of the lists at
the top of the file, and it leaves out what a rule says: a type that takes `timezone` has, beside each of its
timestamps, a twin in UTC (``created_utc``), and a type that doesn't has most of its timestamps in UTC alone.

Stripe's documentation, quoted in public, has gaps. Under ``decided`` a type names what the sandbox chose:

* ``columns``: those of the family's nearest version that is documented; of a ``connected_account_*`` type those
  of the platform's own type, and ``connected_account`` behind them if it is itemised; of a financial account's
  type the default ones of the balance's; of a summary those of the other summaries; where a whole family is
  unknown, the one column ``id``.
* ``default_columns``: those of the family's nearest version that is documented; otherwise every column, but for
  the UTC twins and the metadata. An itemised ``connected_account_*`` type has ``connected_account`` last.
* ``optional``: the parameters of the family's nearest version that is documented; otherwise `columns` alone.

Further choices: names, but for "Balance summary"; a type is for live keys only where Stripe was seen to say so,
which is the ``all_fees`` family; all types reach as far as each other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .messages import Json

HALF_DAY = 12 * 3600

_CONNECTED = "connected_account_"


@dataclass(frozen=True, slots=True)
class ReportType:
    """What is known of a type.

    It takes the parameters in ``required`` and in ``optional``. ``metadata`` are the words before
    ``_metadata[…]``: with ``payment`` among them, ``payment_metadata[order_id]`` may be asked for. ``decided``
    names the fields that are the sandbox's choice.
    """

    id: str
    name: str
    columns: tuple[str, ...]
    default_columns: tuple[str, ...]
    required: frozenset[str]
    optional: frozenset[str]
    metadata: tuple[str, ...] = ()
    live_only: bool = False
    decided: frozenset[str] = frozenset()

    @property
    def family(self) -> str:
        """The id without its version, and without what says that it is about connected accounts."""
        return self.id.rpartition(".")[0].removeprefix(_CONNECTED)

    @property
    def of_connected_accounts(self) -> bool:
        """Tell whether the report is about a platform's connected accounts, not about itself."""
        return self.id.startswith(_CONNECTED)

    def has_column(self, name: str) -> bool:
        """Tell whether ``name`` may be asked for."""
        if name in self.columns:
            return True
        match = re.fullmatch(r"(\w+)_metadata\[.+\]", name)
        return match is not None and match[1] in self.metadata

    def body(self, available: Availability, *, livemode: bool) -> Json:
        """Show the type as Stripe does."""
        return {
            "id": self.id,
            "object": "reporting.report_type",
            "data_available_end": available.end,
            "data_available_start": available.start,
            "default_columns": list(self.default_columns),
            "livemode": livemode,
            "name": self.name,
            "updated": available.end,
            "version": int(self.id.rpartition(".")[2]),
        }


@dataclass(frozen=True, slots=True)
class Availability:
    """The data's reach, in Unix seconds; an interval may touch both ends."""

    start: int
    end: int


def data_available_end_at(now: float) -> int:
    """Answer the last 00:00 or 12:00 UTC that is at least 12 hours back.

    Stripe prepares data twice a day and completes a UTC day by 12:00 of the next.
    """
    return (int(now) - HALF_DAY) // HALF_DAY * HALF_DAY


_UTC_ALONE = frozenset({"available_on", "charge_created", "created", "effective_at"})
_TIMESTAMPS = _UTC_ALONE | {"automatic_payout_effective_at", "payout_reversed_at"}


def _load() -> dict[str, ReportType]:
    data = json.loads(Path(__file__).with_name("report_types.json").read_text("utf-8"))
    lists = {name: " ".join(lines) for name, lines in data["columns"].items()}
    return {fields["id"]: _report_type(fields, lists) for fields in data["types"]}


def _report_type(fields: Mapping[str, str], lists: Mapping[str, str]) -> ReportType:
    optional = fields["optional"].split()
    local = "timezone" in optional
    everything = list(_expanded(fields["columns"], lists))
    names = [name for name in everything if not name.endswith("[key]")]
    defaults = list(_expanded(fields["default_columns"], lists)) if "default_columns" in fields else names
    return ReportType(
        fields["id"],
        fields["name"],
        columns=tuple(_with_utc_twins(names) if local else _in_utc(names)),
        default_columns=tuple(defaults if local else _in_utc(defaults)),
        required=frozenset(fields["required"].split()),
        optional=frozenset(optional),
        metadata=tuple(name.removesuffix("_metadata[key]") for name in everything if name not in names),
        live_only="live_only" in fields,
        decided=frozenset(fields.get("decided", "").split()),
    )


def _expanded(text: str, lists: Mapping[str, str]) -> Iterator[str]:
    for word in text.split():
        if word.startswith("@"):
            yield from _expanded(lists[word[1:]], lists)
        else:
            yield word


def _with_utc_twins(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        yield name
        if name in _TIMESTAMPS:
            yield f"{name}_utc"


def _in_utc(names: Sequence[str]) -> list[str]:
    return [f"{name}_utc" if name in _UTC_ALONE else name for name in names]


CATALOGUE = _load()
"""The report types by id, in the order they are listed."""
