"""What Airflow says of a connection, which is not the last word: its look-ups hide the errors of its database.

An API server that can't ask its database answers "not found", and so does a worker that can't read what a secrets
back-end gave. So whoever gets no connection fails this try and no more. What a connection *says* can be final.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_reportrun.reporting.errors import ConnectionLookUpError
from airflow_reportrun.reporting.secrets import redacted

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseHook


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


async def look_up_async(conn_id: str, *, option: str, hook: BaseHook) -> Any:
    """Return a connection of Airflow's; see :func:`look_up`.

    ``airflow dags test`` has no asynchronous look-up, and says "not found" there; the other one works in a thread.
    """
    from airflow.providers.common.compat.connection import get_async_connection

    with suppress(Exception):
        return await get_async_connection(conn_id=conn_id, hook=hook)
    return await asyncio.to_thread(look_up, conn_id, option=option, hook=hook)


def _no_connection(conn_id: str, option: str, reason: str) -> ConnectionLookUpError:
    said = (
        f"{option}: there is no Airflow connection {conn_id!r}, or Airflow could not look it up just now "
        f"({reason}); a retry asks again. One that Airflow can't parse looks the same, and its debug log says why."
    )
    return ConnectionLookUpError(redacted(said))
