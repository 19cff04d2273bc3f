"""A report that waits in a file until it is whole, read as typed tables, ahead of who takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from airflow_reportrun.landing.formats import typed
from airflow_reportrun.landing.formats.columns import Column, columns_of, require_columns
from airflow_reportrun.reporting.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_reportrun.landing.contract import Contract
    from airflow_reportrun.landing.manifest import Manifest

T = TypeVar("T")

_CHUNK_SIZE = 1 << 20


def header_of(file: BinaryIO) -> Sequence[str]:
    """Return the names of a report's columns.

    :raises ContentsError: when they are none.
    """
    names, _ = typed.split_header(next(_blocks(file), memoryview(b"")))
    return names


def columns_in(
    file: BinaryIO,
    manifest: Manifest,
    column_types: Mapping[str, str] | None,
    contract: Contract,
    timezone: str,
) -> tuple[Sequence[Column], Manifest]:
    """Return the columns of a report that goes into a table, and what its manifest is to tell of them.

    :param manifest: of the report, as far as it is known.
    :param column_types: kinds by column name that overrule the table of `columns`.
    :param contract: what the columns are called there.
    :param timezone: the IANA name of the time zone that the report was asked for.
    :raises ContentsError: when the header is none.
    :raises ConfigurationError: when a kind or the time zone can't be, or the file is no CSV.
    """
    if manifest.rows is None:
        raise ConfigurationError(
            f"Report run {manifest.report_run_id} was asked to compress its file; a table needs it plain."
        )
    typed.check_timezone(timezone)
    names = header_of(file)
    require_columns(names, column_types)
    columns = columns_of(names, column_types, manifest.report_type)
    types = {column.name: column.declared for column in columns}
    return columns, replace(manifest, columns=tuple(names), column_types=types, **contract.form)


def converted(
    file: BinaryIO, converter: typed.Converter, make: Callable[[Any], T], *, ahead: int = 2
) -> Iterator[T]:
    """Convert a report from its beginning, and yield what ``make`` makes of each table.

    :param ahead: how many tables are made while one is taken; all of them are in memory then.
    :raises ContentsError: after the last table, when cells were not of their columns' kinds.
    """
    blocks = _blocks(file)
    _, first = typed.split_header(next(blocks, memoryview(b"")))

    def work(block: memoryview) -> T:
        return make(converter.convert(block))

    with ThreadPoolExecutor(1) as converting:
        try:
            waiting = deque([converting.submit(work, first)])
            for block in blocks:
                waiting.append(converting.submit(work, block))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
            converter.finish()
        finally:
            converting.shutdown(cancel_futures=True)


def _blocks(file: BinaryIO) -> Iterator[memoryview]:
    file.seek(0)
    return typed.blocks_of(iter(lambda: file.read(_CHUNK_SIZE), b""))
