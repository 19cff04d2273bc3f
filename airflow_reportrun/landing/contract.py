"""How a report's columns are called and kept where they have types, and what may change there.

One answer for Parquet files and for all tables. Everywhere else columns go by Stripe's names: in options, in
manifests and in errors.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow_reportrun.landing.formats import OPTIONS
from airflow_reportrun.landing.formats.columns import Column, columns_of
from airflow_reportrun.reporting.errors import ConfigurationError, ContentsError, LandingConflictError

if TYPE_CHECKING:
    from airflow_reportrun.landing.manifest import Manifest

Naming = Literal["stripe", "snake_case"]
Metadata = Literal["columns", "json"]
Schema = Literal["evolve", "freeze"]

LONGEST_NAME = 63
"""Bytes of a name, PostgreSQL's limit; a longer one is cut and ends in a digest, in every database."""

_METADATA = re.compile(r"([^\[\]]*_metadata)\[(.*)\]", re.DOTALL)
_NO_WORD = re.compile(r"[^A-Za-z0-9_]+")
_DIGITS = 8
_ENDS_IN_DIGEST = re.compile(rf"_[0-9a-f]{{{_DIGITS}}}\Z")


@dataclass(frozen=True)
class Contract:
    """What a task asks for of the columns where a report lands.

    :param naming: ``stripe`` as Stripe writes them, or ``snake_case``.
    :param metadata: a column for each of ``payment_metadata[…]``, or all of them as JSON in ``payment_metadata``.
    :param schema: whether what is there gets the columns that it lacks, or such a report is refused.
    :raises ConfigurationError: when one of them can't be.
    """

    naming: str = "stripe"
    metadata: str = "columns"
    schema: str = "evolve"

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {' or '.join(map(repr, words))}, not {getattr(self, name)!r}"
            for name, words in OPTIONS.items()
            if getattr(self, name) not in words
        ]
        if wrong:
            raise ConfigurationError(f"{'; '.join(wrong)}.")

    @property
    def form(self) -> dict[str, Any]:
        """What a manifest says of it: by which names the data is there."""
        return {"naming": self.naming, "metadata": self.metadata}

    @property
    def freezes(self) -> bool:
        """Whether what is there may not change."""
        return self.schema == "freeze"

    def is_form_of(self, there: Manifest) -> bool:
        """Tell whether what a manifest tells of has these names."""
        return (there.naming, there.metadata) == (self.naming, self.metadata)

    def name(self, column: str) -> str:
        """Return what a column is called there; it depends on the column's own name alone."""
        return snake_case(column) if self.naming == "snake_case" else column

    def check_types(self, column_types: Mapping[str, str]) -> None:
        """Refuse types for what has none of its own.

        :param column_types: kinds by column name.
        :raises ConfigurationError: when metadata that is JSON is to be of other types than text.
        """
        typed = [name for name, kind in column_types.items() if metadata_of(name) and kind != "text"]
        if self.metadata == "json" and typed:
            raise ConfigurationError(
                f"column_types has types for {', '.join(map(repr, typed))}, and with metadata='json' these are "
                "text in one column: leave them out, or set metadata='columns'."
            )

    def kept(self, columns: Iterable[Column]) -> Sequence[Column]:
        """Return the columns that are kept of a header: all metadata of a kind is one where it is JSON."""
        if self.metadata == "columns":
            return list(columns)
        kept, kinds = [], set()
        for column in columns:
            kind, _ = metadata_of(column.name) or (None, "")
            if kind is None or kind not in kinds:
                kept.append(column if kind is None else Column(kind, "text"))
            kinds.add(kind)
        return kept

    def names(
        self,
        columns: Iterable[Column],
        *,
        ours: Collection[str] = (),
        folds_case: bool = False,
        spelled: Callable[[str], str] = str,
    ) -> Sequence[str]:
        """Return what kept columns are called there, all of it different.

        :param ours: names that the table has for columns of this package.
        :param folds_case: names that upper and lower case alone tell apart are one.
        :param spelled: what becomes of a name that is too long.
        :raises ContentsError: when two names would be one.
        """
        taken = {_folded(name, folds_case): f"{name!r}, which this package has of its own" for name in ours}
        names = []
        for column in columns:
            name = spelled(self.name(column.name))
            key = _folded(name, folds_case)
            if other := taken.get(key):
                raise ContentsError(
                    f"The column {column.name!r} would be the same there as {other}; "
                    "ask for the report with other columns."
                )
            taken[key] = f"{column.name!r}, which the report has, too"
            names.append(name)
        return names

    def require_one_form(
        self,
        table: object,
        columns: Iterable[Column],
        there: Collection[str],
        *,
        spelled: Callable[[str], str] = str,
    ) -> None:
        """Refuse to give a table a column that it has by another name.

        :param columns: the kept ones.
        :param there: the table's names.
        :raises LandingConflictError: see above.
        """
        if otherwise := self.kept_otherwise(columns, there, spelled=spelled):
            wanted = " and ".join(f"{name}={word!r}" for name, word in self.form.items())
            names = ", ".join(f"{name!r} is {mine!r}" for name, mine in otherwise.items())
            raise LandingConflictError(
                f"The table {table} has columns by other names than with {wanted}, by which {names}: each would "
                "be two, with a part of the intervals in it. Set naming and metadata as for what is landed there, "
                "rename the table's columns, or name another table."
            )

    def kept_otherwise(
        self, columns: Iterable[Column], there: Collection[str], *, spelled: Callable[[str], str] = str
    ) -> Mapping[str, str]:
        """Return by which names a table has in another form what it lacks in this one, with the ones it would get.

        :param columns: the kept ones.
        :param there: the table's names.
        """
        found: dict[str, str] = {}
        for column in columns:
            name = column.name
            mine = spelled(self.name(name))
            if mine in there:
                continue
            called = {spelled(name), snake_case(name)}
            kind, _ = metadata_of(name) or (name, "")
            parts = tuple(f"{kind}{bracket}" for bracket in ("[", "__"))
            if self.metadata == "json" and kind.endswith("_metadata"):
                called |= {it for it in there if it.startswith(parts)}
            elif not any(it.startswith(parts) for it in there):  # else it is a column of somebody's own
                called.add(kind)
            found |= dict.fromkeys(sorted(called.intersection(there) - {mine}), mine)
        return found

    def require_kept(
        self, where: object, lacking: Sequence[Column], other: Sequence[tuple[Column, object]] = ()
    ) -> None:
        """Refuse a report that what is there would have to change for, where that is frozen.

        :param lacking: the columns that it lacks.
        :param other: those that are of another type there, with that type.
        :raises ContentsError: naming all of them.
        """
        if not self.freezes or not (lacking or other):
            return
        said = []
        if lacking:
            said.append(f"it lacks {', '.join(f'{it.name!r} ({it.declared})' for it in lacking)}")
        said += [f"its {it.name!r} is {kind}, and the report's is {it.declared}" for it, kind in other]
        raise ContentsError(
            f"{where} would have to change for this report, and schema='freeze' keeps it: {'; '.join(said)}. "
            "Ask for the report without these columns, give their types by column_types, or let a task with "
            "schema='evolve' land it. Nothing was written."
        )

    def require_kept_as(self, where: object, there: Manifest, columns: Sequence[Column]) -> None:
        """Refuse a report that files of one schema would have to change for, where that is frozen.

        :param there: what is landed in this schema.
        :param columns: of the report.
        :raises ContentsError: naming all that differs.
        """
        theirs = Contract(there.naming, there.metadata)
        its = theirs.kept(columns_of(there.columns or (), there.column_types, there.report_type))
        known = dict(zip(theirs.names(its), its, strict=True))
        mine = self.kept(columns)
        named = list(zip(self.names(mine), mine, strict=True))
        self.require_kept(
            where,
            [column for name, column in named if name not in known],
            [
                (column, known[name].declared)
                for name, column in named
                if name in known and known[name].declared != column.declared
            ],
        )


PLAIN = Contract()
"""Where nothing else is asked for."""


def metadata_of(column: str) -> tuple[str, str] | None:
    """Return kind and key of a column of metadata, such as ``payment_metadata`` and ``order_id``."""
    found = _METADATA.fullmatch(column)
    return (found[1], found[2]) if found else None


def snake_case(column: str) -> str:
    """Return a name of lower-case ASCII letters, digits and ``_``, which begins with a letter.

    A name from which the column's can be read back, ``__`` as the bracket, is all there is to it:
    ``payment_metadata__order_id`` is ``payment_metadata[order_id]`` and nothing else. Any other one ends in a
    digest of the column's name, as two of those may read alike (``order-id`` and ``order id``). So each column
    has one name, whichever others come along.
    """
    words = _NO_WORD.sub("_", column.removesuffix("]").replace("[", "__", 1)).lower()
    if not words[:1].isalpha():  # what begins with _ is ours, or BigQuery's
        words = f"column_{words.strip('_')}"
    readable = len(words) <= LONGEST_NAME and not _ENDS_IN_DIGEST.search(words)
    return words if readable and _read_back(words) == column else _digested(words.rstrip("_"), column)


def fitting(name: str) -> str:
    """Return a name, cut where it is longer than names may be: its beginning, and what tells it from others."""
    return name if len(name.encode()) <= LONGEST_NAME else _digested(name, name)


def _digested(beginning: str, name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
    return f"{beginning.encode()[: LONGEST_NAME - _DIGITS - 1].decode(errors='ignore')}_{digest}"


def _read_back(words: str) -> str:
    kind, bracket, key = words.partition("__")
    return f"{kind}[{key}]" if bracket else words


def _folded(name: str, folds_case: bool) -> str:
    return name.lower() if folds_case else name
