"""A Google Cloud Storage of the tests' own: an emulator in a process, stopped by its id."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

# The emulator knows no way to give an upload up, where Google answers 499; nor to tell which ones are begun.
# It passes over conditions, which are looked at here when an upload begins and when it ends, as gcsfs supposes.
_SERVER = """
import sys, threading, time
from types import SimpleNamespace
from gcp_storage_emulator import server
from gcp_storage_emulator.handlers import objects
from gcp_storage_emulator.storage import Storage

lock = threading.Lock()
create_file, insert = Storage.create_file, objects.insert

def creating(storage, bucket, name, content, resource, *args):
    resource["generation"] = str(time.time_ns())
    return create_file(storage, bucket, name, content, resource, *args)

def inserting(request, response, storage, *args, **kwargs):
    data, wanted = request.data, request.query.get("ifGenerationMatch")
    with lock:
        there = storage.objects.get(request.params["bucket_name"], {}).get(request.query["name"][0], {})
        is_part = (request.get_header("Content-Range", "") or "").endswith("/*")
        if wanted and not is_part and wanted != [there.get("generation", "0")]:
            response.status = SimpleNamespace(value=412, phrase="Precondition Failed")
            return
        return insert(request, response, storage, *args, **kwargs)

Storage.create_file = creating

def give_up(request, response, storage):
    storage.delete_resumable_file_obj(request.query["upload_id"][0])
    response.status = SimpleNamespace(value=499, phrase="Client Closed Request")

def unfinished(request, response, storage):
    response.json([it["name"] for it in storage.resumable.values()])

for _, verbs in server.HANDLERS:
    if verbs.get(server.POST) is insert:
        verbs.update({server.POST: inserting, server.DELETE: give_up})
server.HANDLERS = (("^/unfinished$", {server.GET: unfinished}), *server.HANDLERS)
running = server.create_server("127.0.0.1", 0, in_memory=True, default_bucket=sys.argv[1])
running.start()
print(running._api._httpd.server_port, flush=True)
sys.stdin.read()
running.stop()
"""


@dataclass(frozen=True)
class GS:
    """A server that speaks Google's JSON, with one bucket.

    :param url: where it listens.
    :param bucket: made with the server.
    :param conn_id: Airflow's connection to it, in :attr:`environ`.
    """

    url: str
    bucket: str = "reports"
    conn_id: str = "gs_reports"

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables that tell Airflow the connection."""
        connection = {
            "conn_type": "google_cloud_platform",
            "extra": {"is_anonymous": True, "project": "testing", "gcs.endpoint": self.url},
        }
        return {f"AIRFLOW_CONN_{self.conn_id.upper()}": json.dumps(connection)}

    def destination(self, key: str) -> str:
        """Return the URL of an object, as a ``destination`` takes it."""
        return f"gs://{self.conn_id}@{self.bucket}/{key}"

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Return the contents of each object by key, past the code under test."""
        listed = json.loads(self._get(f"o?prefix={quote(prefix, '')}")).get("items", [])
        found = {it["name"]: self.read(it["name"]) for it in listed}
        return {key: data for key, data in found.items() if data is not None}

    def read(self, key: str) -> bytes | None:
        """Return the contents of an object, None where there is none."""
        try:
            return self._get(f"o/{quote(key, '')}?alt=media")
        except HTTPError as error:
            if error.code == 404:
                return None
            raise

    def stamp(self, key: str) -> object:
        """Return what changes whenever an object is published."""
        return json.loads(self._get(f"o/{quote(key, '')}"))["generation"]

    def unfinished(self, prefix: str = "") -> list[str]:
        """Return the keys of the uploads that were begun and neither completed nor given up."""
        with urlopen(f"{self.url}/unfinished") as answer:  # noqa: S310 - our own server
            found: list[str] = json.load(answer)
        return [key for key in found if key.startswith(prefix)]

    def _get(self, what: str) -> bytes:
        with urlopen(f"{self.url}/storage/v1/b/{self.bucket}/{what}") as answer:  # noqa: S310 - our own server
            contents: bytes = answer.read()
        return contents


@contextmanager
def running_gs() -> Iterator[GS]:
    """Start a server on a free port, with an empty bucket; it ends with the block."""
    process: subprocess.Popen[Any] = subprocess.Popen(
        [sys.executable, "-c", _SERVER, GS.bucket],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield GS(f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.send_signal(signal.SIGKILL)  # it has nothing to put away
        process.wait()
        process.stdin.close()
        process.stdout.close()
