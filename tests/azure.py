"""An Azure Blob Storage of the tests' own: azurite, of npm, in a process, stopped by its id."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

AZURITE = Path(__file__).parent.parent / ".azurite" / "node_modules" / ".bin" / "azurite-blob"
ACCOUNT = "testing"
KEY = base64.b64encode(b"the key of the tests").decode()


@dataclass(frozen=True)
class Azure:
    """A server that speaks as Azure's blobs do, with one container.

    :param url: where it listens.
    :param bucket: the container, made with the server.
    :param conn_id: Airflow's connection to it, in :attr:`environ`.
    """

    url: str
    bucket: str = "reports"
    conn_id: str = "azure_reports"
    client: Any = field(repr=False, compare=False, default=None)

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables that tell Airflow the connection."""
        connection = {"conn_type": "adls", "extra": {"connection_string": connection_string(self.url)}}
        return {f"AIRFLOW_CONN_{self.conn_id.upper()}": json.dumps(connection)}

    def destination(self, key: str) -> str:
        """Return the URL of an object, as a ``destination`` takes it."""
        return f"abfs://{self.conn_id}@{self.bucket}/{key}"

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Return the contents of each blob by name, past the code under test."""
        found = {name: self.read(name) for name in self.client.list_blob_names(name_starts_with=prefix)}
        return {name: data for name, data in found.items() if data is not None}

    def read(self, key: str) -> bytes | None:
        """Return the contents of a blob, None where there is none."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            contents: bytes = self.client.download_blob(key).readall()
        except ResourceNotFoundError:
            return None
        return contents

    def stamp(self, key: str) -> object:
        """Return what changes whenever a blob is published."""
        return self.client.get_blob_client(key).get_blob_properties().etag

    def unfinished(self, prefix: str = "") -> list[str]:
        """Return nothing: blocks that nobody commits can't be given up, and Azure removes them after a week."""
        return []


def connection_string(url: str, key: str = KEY) -> str:
    """Return what names a server, and proves who asks."""
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={url}/{ACCOUNT};"


@contextmanager
def running_azure() -> Iterator[Azure]:
    """Start a server on a free port, with an empty container; it ends with the block."""
    from azure.storage.blob import ContainerClient

    with TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [AZURITE, "--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"],
            stdout=subprocess.PIPE,
            cwd=folder,
            env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
            text=True,
        )
        assert process.stdout is not None
        try:
            said = ""
            while not (found := re.search(r"listens on (http://\S+:[1-9]\d*)", said)):
                said = process.stdout.readline()
                assert said, "azurite ended"
            client = ContainerClient.from_connection_string(connection_string(found[1]), Azure.bucket)
            client.create_container()
            yield Azure(found[1], client=client)
        finally:
            process.send_signal(signal.SIGKILL)  # it has nothing to put away
            process.wait()
            process.stdout.close()
