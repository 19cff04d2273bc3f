"""Airflow's own provider of OpenLineage, telling a file of the tasks that run in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def told_to(file: Path) -> Iterator[None]:
    """Have all tasks told to OpenLineage; a line of the file is an event."""
    from airflow.providers.common.compat.sdk import get_listener_manager
    from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
    from airflow.providers.openlineage.plugins.listener import OpenLineageListener
    from openlineage.client import OpenLineageClient
    from openlineage.client.transport.file import FileConfig, FileTransport

    file.touch()
    listener = OpenLineageListener()
    transport = FileTransport(FileConfig(log_file_path=str(file), append=True))
    listener.adapter = OpenLineageAdapter(OpenLineageClient(transport=transport))
    manager = get_listener_manager()
    with pytest.MonkeyPatch.context() as patch:
        # In a process of its own what the test patched or counted would be lost.
        patch.setattr(listener, "_execute", lambda tell, name, use_fork=False: tell())
        manager.add_listener(listener)
        yield
        manager.pm.unregister(listener)
