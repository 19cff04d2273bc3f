"""Lands reports in processes of their own, which kill themselves (-9) at a step that they are told.

One process imports everything and forks for each job: ``python -m tests.killable`` reads jobs from its input, a
line of JSON each, and answers each with a line. It has no thread, so that what it forks is whole.
"""

from __future__ import annotations

import fcntl
import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TypeVar

from tests.shelves import STORES
from tests.versions import AIRFLOW

T = TypeVar("T")

SYSTEM_CALLS = ("mkdir", "open", "fsync", "replace", "unlink")
"""Functions of `os` by which a landing touches a local store, besides the writes; `flock` is another."""


IMPORTED = (
    "airflow_reportrun.hooks",
    "airflow_reportrun.landing.formats.parquet",
    "airflow_reportrun.landing.report",
)
IMPORTED_FOR = {
    "s3": ("airflow.providers.amazon.aws.fs.s3", "airflow.providers.amazon.aws.hooks.s3", "s3fs"),
    "gs": ("airflow.providers.google.cloud.fs.gcs", "gcsfs"),
    "abfs": ("airflow.providers.microsoft.azure.fs.adls", "adlfs"),
}
"""What takes seconds, once for all forks."""

BLOB_CALLS = ("stage_block", "commit_block_list", "upload_blob", "delete_blob", "download_blob")
"""What adlfs asks of a client of Azure's, and more."""


class Steps:
    """The steps of a landing: what it does to a store, each before and after, and the chunks that it writes.

    :param at: the number of the step to die at, None for none.
    :param log: is told of each step.
    """

    def __init__(self, at: int | None, log: IO[str]) -> None:
        self._at = at
        self._log = log
        self._number = 0

    def __call__(self, name: str) -> None:
        """Take a step, and perhaps die."""
        if self._number == self._at:
            os.kill(os.getpid(), signal.SIGKILL)
        self._number += 1
        print(name, file=self._log)

    def around(self, name: str, real: Callable[..., T]) -> Callable[..., T]:
        """Return a function with a step on each side."""

        def stepping(*args: Any, **kwargs: Any) -> T:
            self(f"before {name}")
            result = real(*args, **kwargs)
            self(f"after {name}")
            return result

        return stepping

    def around_s3(self, fs: Any) -> None:
        """Put a step on each side of every call of S3."""
        call, call_s3 = fs._call_s3, fs.call_s3

        async def stepping(self_: Any, method: str, *args: Any, **kwargs: Any) -> Any:
            self(f"before {method}")
            result = await call(self_, method, *args, **kwargs)
            self(f"after {method}")
            return result

        def stepping_file(self_: Any, method: str, *args: Any, **kwargs: Any) -> Any:
            return self.around(method, call_s3)(self_, method, *args, **kwargs)

        fs._call_s3, fs.call_s3 = stepping, stepping_file  # files take the latter, which knows the real former

    def around_gs(self, fs: Any) -> None:
        """Put a step on each side of what changes Google's store; what looks at it is in no one order."""
        request = fs._request

        async def stepping(self_: Any, method: str, path: str, *args: Any, **kwargs: Any) -> Any:
            if method == "GET":
                return await request(self_, method, path, *args, **kwargs)
            step = gs_step(method, **kwargs)
            self(f"before {step}")
            result = await request(self_, method, path, *args, **kwargs)
            self(f"after {step}")
            return result

        fs._request = stepping

    def around_abfs(self, *clients: Any) -> None:
        """Put a step on each side of the calls of Azure's store."""
        for client, name in itertools.product(clients, BLOB_CALLS):
            if hasattr(client, name):
                setattr(client, name, self._around_blob_call(name, getattr(client, name)))

    def _around_blob_call(self, name: str, call: Any) -> Any:
        async def stepping(*args: Any, **kwargs: Any) -> Any:
            self(f"before {name}")
            result = await call(*args, **kwargs)
            self(f"after {name}")
            return result

        return stepping

    def through(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass on chunks, with a step between them."""
        for chunk in chunks:
            yield chunk
            self("chunk")


def gs_step(method: str, headers: Any = None, **kwargs: Any) -> str:
    """Return what a request to Google's store does there."""
    if method == "DELETE":
        return "delete"
    if kwargs.get("uploadType"):
        return "begin" if kwargs["uploadType"] == "resumable" else "put"
    return "part" if headers["Content-Range"].endswith("/*") else "complete"


def _land(url: str, run_id: str, format: str, at: int | None, log: IO[str]) -> None:
    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.landing.report import land_report
    from airflow_reportrun.landing.stores import place_of
    from airflow_reportrun.wire import downloads

    steps = Steps(at, log)

    class Hook(StripeReportingHook):
        def read_file(self, file: Any, consume: Callable[[Iterator[bytes]], T]) -> T:
            return super().read_file(file, lambda chunks: consume(steps.through(chunks)))

    downloads.CHUNK_SIZE = 20_000
    hook, place = Hook(), place_of(url)
    run = hook.retrieve_report_run(run_id)
    if url.startswith("s3:"):
        steps.around_s3(importlib.import_module("s3fs").S3FileSystem)
    elif url.startswith("gs:"):
        steps.around_gs(importlib.import_module("gcsfs").GCSFileSystem)
    elif url.startswith("abfs:"):
        blobs = importlib.import_module("azure.storage.blob.aio")
        steps.around_abfs(blobs.BlobClient, blobs.ContainerClient)
    else:
        for name in SYSTEM_CALLS:
            setattr(os, name, steps.around(name, getattr(os, name)))
        fcntl.flock = steps.around("flock", fcntl.flock)
    land_report(hook, run, place, format=format)


def _work(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job in a fork; say how that ended and which steps it took."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        try:
            os.environ.update(job.pop("environ"))
            with open(writing, "w", buffering=1) as log:
                _land(**job, log=log)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with open(reading) as log:
        steps = log.read().splitlines()
    return {"status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "steps": steps}


def _serve() -> None:
    stores = [store for store in STORES if store in IMPORTED_FOR]
    for name in itertools.chain(IMPORTED, *(IMPORTED_FOR[store] for store in stores)):
        importlib.import_module(name)
    io = importlib.import_module("airflow.io" if AIRFLOW < (3, 1) else "airflow.sdk.io")
    io.has_fs("file")  # looks at all providers
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what Airflow says goes elsewhere
    for line in sys.stdin:
        print(json.dumps(_work(json.loads(line))), file=answers)


class Killable:
    """The process that forks; see the module."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def land(self, url: str, run_id: str, format: str, at: int | None) -> tuple[bool, list[str]]:
        """Land a report run; say whether the process came to its end, and which steps it took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        connections = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW_CONN_")}
        job = {"url": url, "run_id": run_id, "format": format, "at": at, "environ": connections}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        # Airflow 3.0 logs to stdout as soon as it is imported.
        answer = json.loads(next(line for line in self._process.stdout if line.startswith("{")))
        assert answer["status"] in (0, -signal.SIGKILL), answer
        return answer["status"] == 0, answer["steps"]


@contextmanager
def killable() -> Iterator[Killable]:
    """Start the process that forks; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.killable"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        yield Killable(process)


if __name__ == "__main__":
    _serve()
