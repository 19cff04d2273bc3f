"""Triggers to measure with: one that only waits, and one that measures the event loop it runs in."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

EVERY = 0.05
"""Seconds that the measuring trigger sleeps."""


class EmptyTrigger(BaseTrigger):
    """Sleeps and does nothing else: what any trigger costs Airflow.

    :param seconds: for how long.
    :param others: what makes it as large in the database as another trigger.
    """

    def __init__(self, *, seconds: float, **others: Any) -> None:
        super().__init__()
        self.seconds = seconds
        self.others = others

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return "benchmarks.live.triggers.EmptyTrigger", {"seconds": self.seconds, **self.others}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event in the end."""
        await asyncio.sleep(self.seconds)
        yield TriggerEvent({})


class LagTrigger(BaseTrigger):
    """Sleeps again and again and writes how late it woke up each time.

    The file's first line is the process, each other one an instant and a lag, in seconds.

    :param path: the file; a new trigger begins a new one.
    """

    def __init__(self, *, path: str) -> None:
        super().__init__()
        self.path = path

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return "benchmarks.live.triggers.LagTrigger", {"path": self.path}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Measure until it is cancelled."""
        clock = asyncio.get_running_loop().time
        with Path(self.path).open("w", buffering=1) as file:  # noqa: ASYNC230 - a line in memory
            print(os.getpid(), file=file)
            while True:
                due = clock() + EVERY
                await asyncio.sleep(EVERY)
                print(f"{time.time():.3f} {clock() - due:.6f}", file=file)
        yield TriggerEvent({})  # never; it makes this a generator
