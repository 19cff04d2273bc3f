"""What Airflow says of a connection, which is not the last word: its look-ups hide the errors of its database.

An API server that can't ask its database answers "not found", and so does a worker that can't read what a secrets
back-end gave. So whoever gets no connection fails this try and no more. What a connection *says* can be final.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow_reportrun.reporting.errors import ConnectionLookUpError
from airflow_reportrun.reporting.secrets import redacted

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseHook

LONGEST_AGE = 60.0
"""Seconds for which a connection that was found counts as what Airflow has."""

_found: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, tuple[float, asyncio.Task[Any]]]] = (
    WeakKeyDictionary()
)


def look_up(conn_id: str, *, option: str, hook: type[BaseHook] | BaseHook | None = None) -> Any:
    """Return a connection of Airflow's.

    :param option: what named it, for the error.
    :param hook: whose ``get_connection`` to ask, BaseHook's by default.
    :raises ConnectionLookUpError: when Airflow gives none, for whatever reason.
    """
    from airflow.providers.common.compat.sdk import BaseHook

    try:
        return (hook or BaseHook).get_connection(conn_id)
    except Exception as error:
        reason = type(error).__name__
    raise _no_connection(conn_id, option, reason)  # without a context: Airflow's errors can hold a whole URI


async def look_up_async(conn_id: str, *, option: str, hook: BaseHook, max_age: float = LONGEST_AGE) -> Any:
    """Return a connection of Airflow's; see :func:`look_up`.

    A triggerer answers look-ups one at a time, in some 50 ms, so there is one for all who ask on an event loop.

    :param max_age: seconds for which what was found before is good enough.
    """
    found, now = _found.setdefault(asyncio.get_running_loop(), {}), time.monotonic()
    at, task = found.get(conn_id, (0.0, None))
    if task is None or (task.done() and (now - at > max_age or task.cancelled() or task.exception())):
        task = asyncio.create_task(_look_up_anew(conn_id, option=option, hook=hook))
        found[conn_id] = now, task
    return await asyncio.shield(task)  # who asked first may be gone before it is found


async def _look_up_anew(conn_id: str, *, option: str, hook: BaseHook) -> Any:
    """Return a connection of Airflow's.

    ``airflow dags test`` has no asynchronous look-up, and says "not found" there; the other one works in a thread.
    """
    from airflow.providers.common.compat.connection import get_async_connection

    with suppress(Exception):
        return await get_async_connection(conn_id=conn_id, hook=hook)
    return await asyncio.to_thread(look_up, conn_id, option=option, hook=hook)


def _no_connection(conn_id: str, option: str, reason: str) -> ConnectionLookUpError:
    said = (
        f"{option}: there is no Airflow connection {conn_id!r}, or Airflow could not look it up just now "
        f"({reason}); a retry asks again. Add it, or mend the id. One that Airflow can't parse looks the same, "
        "and its debug log says why."
    )
    return ConnectionLookUpError(redacted(said))
