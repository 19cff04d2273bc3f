"""Time that passes only where somebody waits for it: an hour of waiting costs what its work takes.

A process that waits on an event loop, and a server in another process, share a clock. It stands still while there
is work, and jumps to the loop's next timer where there is none. So the machine is never the limit, however busy it
is, and no factor has to be chosen at which it is still fast enough; what the work costs is told by its CPU time.
"""

from __future__ import annotations

import asyncio
import gc
import mmap
import random
import selectors
import struct
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

LATENCY = 0.1, 0.3
"""Seconds that each request takes, drawn anew: the work of the two processes takes none."""

_SECONDS = struct.Struct("dd")


class SkippedTime:
    """What time it is, in a file that processes share: when it began, and how many seconds have passed since.

    :param path: the file; where there is none, it begins now.
    """

    def __init__(self, path: Path) -> None:
        with path.open("a+b") as file:
            if not file.tell():
                file.write(_SECONDS.pack(time.time(), 0.0))
                file.flush()
            self._shared = mmap.mmap(file.fileno(), _SECONDS.size)
        self._began: float = _SECONDS.unpack_from(self._shared)[0]

    def time(self) -> float:
        """Tell the time in Unix seconds, as `time.time` does."""
        return self._began + self.monotonic()

    def monotonic(self) -> float:
        """Tell how many seconds have passed; a loop's timers need more places than Unix seconds have."""
        passed: float = _SECONDS.unpack_from(self._shared)[1]
        return passed

    def skip(self, seconds: float) -> None:
        """Let so many pass; for the one process that waits."""
        _SECONDS.pack_into(self._shared, 0, self._began, self.monotonic() + seconds)


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop that sleeps no longer than it takes to move the clock, unless something is under way."""

    def __init__(self, skipped: SkippedTime) -> None:
        self._skipped = skipped
        self.under_way: set[object] = set()
        super().__init__(_SkippingSelector(skipped, self.under_way))

    def time(self) -> float:
        """Tell the time, as `time.monotonic` does in this process."""
        return self._skipped.monotonic()

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Count it while it is under way."""
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self.under_way.add(future)
        future.add_done_callback(self.under_way.discard)
        return future


class _SkippingSelector(selectors.DefaultSelector):
    def __init__(self, skipped: SkippedTime, under_way: set[object]) -> None:
        super().__init__()
        self._skipped = skipped
        self._under_way = under_way

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self._under_way:
            if not (ready := super().select(0.5)):
                gc.collect()  # an answer that was left, in a cycle with an error, counts until it is collected
            return ready
        if not (ready := super().select(0)):
            self._skipped.skip(timeout)
        return ready


def skip_here(path: Path) -> Callable[[], asyncio.AbstractEventLoop]:
    """Make this process one that skips time, for good, and return what makes its event loop.

    To be called before anything is imported that keeps `time.time` for itself. aiohttp's requests count as under
    way from when they are sent until their answer is whole, and each is sent after `LATENCY`.
    """
    skipped = SkippedTime(path)
    time.time, time.monotonic = skipped.time, skipped.monotonic
    import aiohttp

    loops: list[SkippingLoop] = []
    latency = random.Random(0)  # noqa: S311 - guards nothing
    request = aiohttp.ClientSession._request

    async def counted(session: aiohttp.ClientSession, *args: Any, **kwargs: Any) -> aiohttp.ClientResponse:
        await asyncio.sleep(latency.uniform(*LATENCY))
        loops[0].under_way.add(asking := object())
        try:
            response = await request(session, *args, **kwargs)
            loops[0].under_way.add(id(response))
        finally:
            loops[0].under_way.discard(asking)
        response.content.on_eof(partial(loops[0].under_way.discard, id(response)))
        return response

    def left(method: Callable[[aiohttp.ClientResponse], T]) -> Callable[[aiohttp.ClientResponse], T]:
        """Count no answer on that is left before its end."""

        def leave(response: aiohttp.ClientResponse) -> T:
            loops[0].under_way.discard(id(response))
            return method(response)

        return leave

    def loop() -> SkippingLoop:
        loops[:] = [SkippingLoop(skipped)]
        return loops[0]

    response = aiohttp.ClientResponse
    aiohttp.ClientSession._request = counted  # type: ignore[assignment, method-assign]
    for name in ("release", "close", "__del__"):
        setattr(response, name, left(getattr(response, name)))
    return loop
