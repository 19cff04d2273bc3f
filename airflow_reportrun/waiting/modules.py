"""Modules that take long to load, such as the HTTP libraries, while an event loop goes on."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module


async def load(name: str) -> None:
    """Load a module in a thread, unless it is there: to import it then takes no time.

    Whoever finds another one loading it waits in a thread, too, since an import waits for the same one elsewhere.
    """
    spec = getattr(sys.modules.get(name), "__spec__", None)
    if spec is None or getattr(spec, "_initializing", False):
        await asyncio.to_thread(import_module, name)
