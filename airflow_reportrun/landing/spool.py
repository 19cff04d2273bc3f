"""A report that waits in a file until it is whole, read as typed tables, ahead of who takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, TypeVar

from airflow_reportrun.landing.formats import typed

T = TypeVar("T")

_CHUNK_SIZE = 1 << 20


def header_of(file: BinaryIO) -> Sequence[str]:
    """Return the names of a report's columns.

    :raises ContentsError: when they are none.
    """
    names, _ = typed.split_header(next(_blocks(file), memoryview(b"")))
    return names


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
