"""What a contract makes of a report's typed tables: metadata in one column, and names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from airflow_reportrun.landing.contract import metadata_of

if TYPE_CHECKING:
    from airflow_reportrun.landing.contract import Contract
    from airflow_reportrun.landing.formats.columns import Column

_IS_ESCAPED = r'["\\\x00-\x1f]'  # what JSON has to


class Arrangement:
    """Makes the kept columns of a header's.

    A cell of metadata that is null is left out of the JSON, so that a row without any has ``{}``. Keys are sorted.

    :param columns: of the header, in its order.
    :param names: what the kept ones are called, in their order; by default by Stripe's names.
    """

    def __init__(self, columns: Sequence[Column], contract: Contract, names: Sequence[str] = ()) -> None:
        self.columns = contract.kept(columns)
        """The kept ones."""
        self._names = list(names) or [column.name for column in self.columns]
        own = {column.name for column in columns}
        found = sorted((*(metadata_of(name) or ("", "")), name) for name in own)
        self._keys = {
            column.name: [(key, name) for kind, key, name in found if kind == column.name]
            for column in self.columns
            if column.name not in own
        }

    def __call__(self, table: Any) -> Any:
        """Return the kept columns of a table of the header's."""
        cells = [
            _json([(key, table[name]) for key, name in self._keys[column.name]])
            if column.name in self._keys
            else table[column.name]
            for column in self.columns
        ]
        return pa.table(cells, names=self._names)


def _json(members: Sequence[tuple[str, Any]]) -> Any:
    """Return objects of texts, as ``json.dumps`` writes them."""
    written = []
    for key, cells in members:
        begin = f', {json.dumps(key, ensure_ascii=False)}: "'
        written.append(pc.binary_join_element_wise(begin, _escaped(cells), '"', ""))
    # Not null_handling="skip": it drops the rows in which all are null (pyarrow 26.0.1).
    joined = pc.binary_join_element_wise("{", *written, "}", "", null_handling="replace")
    return pc.replace_substring(joined, "{, ", "{", max_replacements=1)


def _escaped(cells: Any) -> Any:
    """Return texts as they stand between JSON's quotes; few have something to escape."""
    cells = cells.combine_chunks()
    found = pc.fill_null(pc.match_substring_regex(cells, _IS_ESCAPED), False)
    if not pc.any(found).as_py():
        return cells
    texts = [json.dumps(text, ensure_ascii=False)[1:-1] for text in cells.filter(found).to_pylist()]
    return pc.replace_with_mask(cells, found, pa.array(texts, pa.string()))
