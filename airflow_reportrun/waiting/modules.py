"""Modules that take long to load, such as the HTTP libraries, while an event loop goes on."""

from __future__ import annotations

import asyncio
from importlib import import_module

_loaded: set[str] = set()


async def load(name: str) -> None:
    """Load a module in a thread, unless that was done before: to import it then takes no time.

    Whoever finds another one loading it waits in a thread, too, since an import waits for the same one elsewhere.
    """
    if name not in _loaded:
        await asyncio.to_thread(import_module, name)
        _loaded.add(name)
