"""An S3 of the tests' own: moto's server in a process, stopped by its id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

# It takes any free port and says which. A parent that dies closes the pipe, and the server ends with it.
# moto passes over the If-Match of a completed upload, and lets others in between a condition and what it is for.
_SERVER = """
import io, sys, threading
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

backends = DomainDispatcherApplication(create_backend_app)
lock = threading.Lock()
REFUSAL = b"<Error><Code>PreconditionFailed</Code><Message>No</Message><Condition>If-Match</Condition></Error>"

def app(environ, start_response):
    if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
        return backends(environ, start_response)
    with lock:
        wanted = environ.get("HTTP_IF_MATCH")
        if wanted and "uploadId=" in environ["QUERY_STRING"] and etag_of(environ) != wanted:
            start_response("412 Precondition Failed", [("Content-Length", str(len(REFUSAL)))])
            return [REFUSAL]
        return list(backends(environ, start_response))

def etag_of(environ):
    found = []
    asking = {name: value for name, value in environ.items() if name != "HTTP_IF_MATCH"}
    asking.update({"REQUEST_METHOD": "HEAD", "QUERY_STRING": "", "CONTENT_LENGTH": "0"})
    asking["wsgi.input"] = io.BytesIO()
    list(backends(asking, lambda status, headers, *rest: found.extend(headers)))
    return {name.lower(): value for name, value in found}.get("etag")

server = make_server("127.0.0.1", 0, app, threaded=True)
threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
print(server.server_port, flush=True)
server.serve_forever()
"""


@dataclass(frozen=True)
class S3:
    """A server that speaks S3, with one bucket.

    :param url: where it listens.
    :param bucket: made with the server.
    :param conn_id: Airflow's connection to it, in :attr:`environ`.
    """

    url: str
    bucket: str = "reports"
    conn_id: str = "s3_reports"
    client: Any = field(repr=False, compare=False, default=None)

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables that tell Airflow the connection."""
        connection = {
            "conn_type": "aws",
            "login": "testing",
            "password": "testing",
            "extra": {"endpoint_url": self.url, "region_name": "us-east-1"},
        }
        return {f"AIRFLOW_CONN_{self.conn_id.upper()}": json.dumps(connection)}

    def destination(self, key: str) -> str:
        """Return the URL of an object, as a ``destination`` takes it."""
        return f"s3://{self.conn_id}@{self.bucket}/{key}"

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Return the contents of each object by key, past the code under test."""
        listed = self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        return {
            it["Key"]: self.client.get_object(Bucket=self.bucket, Key=it["Key"])["Body"].read() for it in listed
        }

    def read(self, key: str) -> bytes | None:
        """Return the contents of an object, None where there is none."""
        try:
            contents: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return None
        return contents

    def stamp(self, key: str) -> object:
        """Return what changes whenever an object is published."""
        return self.client.head_object(Bucket=self.bucket, Key=key)["LastModified"]

    def unfinished(self, prefix: str = "") -> list[str]:
        """Return the keys of the uploads that were begun and neither completed nor given up."""
        found = self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return [it["Key"] for it in found if it["Key"].startswith(prefix)]


@contextmanager
def running_s3() -> Iterator[S3]:
    """Start a server on a free port, with an empty bucket; it ends with the block."""
    import boto3
    from botocore.config import Config

    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environ,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
        )
        s3 = S3(url, client=client)
        client.create_bucket(Bucket=s3.bucket)
        yield s3
    finally:
        process.send_signal(signal.SIGKILL)  # it has nothing to put away
        process.wait()
        process.stdin.close()
        process.stdout.close()
