"""Runs tasks and triggers in processes of their own, which can be killed at a message that they send.

The server that they talk to, Airflow's and Stripe's, is in the test's process: it sees each message, and kills who
sent it, before or after it has taken effect.
"""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import httpx
from airflow.providers.common.compat.module_loading import import_string
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import TaskInstance

from airflow_reportrun import hooks, operators, triggers  # noqa: F401 - loaded once for all
from airflow_reportrun.submission import submit  # noqa: F401
from airflow_reportrun.waiting import (
    loop,  # noqa: F401
    pace,
)
from tests.task_runner import TaskRunner, execute, stored_arguments

# A server of its own forks the workers; who preloads a module there has it in each worker at once.
WORKERS = multiprocessing.get_context("forkserver")

TIMEOUT = 60.0
"""Seconds; more than any worker takes."""


@dataclass
class Killer:
    """Kills a process at the message that it was told to wait for.

    :param at: a message such as ``stripe create``, ``airflow run`` or ``airflow xcom return_value``.
    :param hesitate: what to wait for before.
    """

    at: str | None = None
    hesitate: Callable[[], None] | None = None
    pid: int | None = None
    seen: list[str] = field(default_factory=list)

    def saw(self, message: str) -> bool:
        """Take notice of a message; True when its sender is dead now."""
        self.seen.append(message)
        if message != self.at or self.pid is None:
            return False
        self.at = None
        if self.hesitate is None:
            os.kill(self.pid, signal.SIGKILL)
        else:
            threading.Thread(target=self._later, args=(self.pid, self.hesitate)).start()
        return True

    def _later(self, pid: int, hesitate: Callable[[], None]) -> None:
        hesitate()
        os.kill(pid, signal.SIGKILL)


class Killed(Exception):  # noqa: N818 - nothing went wrong
    """The process was killed before it came to its end."""


@dataclass
class WorkerRunner(TaskRunner):
    """A :class:`TaskRunner` that makes its tasks from ``build`` in processes of their own.

    :param build: a function of a module, which returns the task.
    :param environ: environment variables of the workers.
    """

    build: functools.partial[Any] = field(kw_only=True)
    environ: Mapping[str, str] = field(kw_only=True)
    killer: Killer = field(default_factory=Killer)

    def attempt(self, **how: Any) -> Any:
        """Run one try as far as it gets: to a deferral, to its end, or None where it was killed."""
        try:
            return self.run(self.build(), **how)
        except Killed:
            return None

    def fire(self, tried: Any) -> Any:
        """Run the trigger of a deferred task: return its event, None where it was killed."""
        try:
            return self._in_process(_pull, (tried.deferral.classpath, tried.deferral.trigger_kwargs))
        except Killed:
            return None

    def _execute(
        self, task: Any, instance: TaskInstance, answer: Callable[[httpx.Request], httpx.Response]
    ) -> tuple[str, BaseException | None, Any]:
        with _Server(answer, self.killer) as url:
            state, error, deferral = self._in_process(
                _work, (self.build, instance.model_dump(mode="json"), url, self.store is not None)
            )
        return state, RuntimeError(error) if error else None, deferral and SimpleNamespace(**deferral)

    def _in_process(self, target: Callable[..., None], args: tuple[Any, ...]) -> Any:
        ours, theirs = WORKERS.Pipe(duplex=False)
        process = WORKERS.Process(target=target, args=(theirs, dict(self.environ), *args))
        process.start()
        theirs.close()
        self.killer.pid = process.pid
        try:
            if not ours.poll(TIMEOUT):
                process.kill()
                raise TimeoutError(f"a worker did not end; it sent {self.killer.seen}")
            return ours.recv()
        except EOFError:
            process.join()
            if process.exitcode != -signal.SIGKILL:
                raise RuntimeError(f"a worker ended with {process.exitcode}") from None
            raise Killed from None
        finally:
            process.join()
            ours.close()


class _Server:
    """Airflow's Execution API on an address of its own."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response], killer: Killer) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                request = httpx.Request(self.command, f"http://airflow.invalid{self.path}", content=body)
                if killer.saw(_message(request)):
                    return  # and nothing of it has taken effect
                response = answer(request)
                self.send_response(response.status_code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(response.content)))
                self.end_headers()
                self.wfile.write(response.content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do  # noqa: N815

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _message(request: httpx.Request) -> str:
    """Return what a request to Airflow is about, such as ``airflow run`` or ``airflow xcom POST return_value``."""
    parts = request.url.path.strip("/").split("/")
    if parts[0] == "store":
        answered = b'"report_run_id":"frr_' in request.content.replace(b" ", b"")
        return f"airflow store {request.method} {'answer' if answered else 'question'}"
    if parts[0] == "xcoms":
        return f"airflow xcom {request.method} {parts[-1]}"
    return f"airflow {parts[-1]}"


def _work(pipe: Connection, environ: dict[str, str], build: Any, instance: Any, url: str, remembers: bool) -> None:
    os.environ.update(environ)
    triggers.FIRST_LOOK_AFTER, pace.LONGEST_PAUSE = 0.0, 0.05
    client = Client(base_url=url, token="")
    state, error, message = execute(build(), TaskInstance(**instance), client, remembers=remembers)
    names = {"classpath", "trigger_kwargs", "next_method"}
    stored = message.model_dump(mode="json", include=names) if state == "deferred" else None
    pipe.send((state, error and repr(error), stored))


def _pull(pipe: Connection, environ: dict[str, str], classpath: str, kwargs: Any) -> None:
    stored = stored_arguments(kwargs)

    async def first_event() -> Any:
        async for event in import_string(classpath)(**stored).run():
            return event.payload
        return None

    os.environ.update(environ)
    pace.LONGEST_PAUSE = 0.05
    pipe.send(asyncio.run(first_event()))
