"""`StripeSandbox`: the server in a thread, and its controls."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .app import Application
from .faults import Fault, RequestFault, RunFault, check
from .runs import AfterReads, RunRecord, Transition
from .state import Settings, State

if TYPE_CHECKING:
    from starlette.types import Scope

    from .clock import Clock
    from .messages import RequestRecord

DATA_AVAILABLE_START = 1_640_995_200  # 2022-01-01 00:00:00 UTC
START_TIMEOUT_SECONDS = 10.0


class StripeSandbox:
    """An embedded Stripe on an address of its own, from ``with`` to the end of the block.

    What the constructor is told about time, transitions and data is the initial state: `reset` comes back
    to it.

    :param host: the address to bind.
    :param port: the port to bind; 0 takes a free one.
    :param api_key: the only key that is let in, until another is assigned to ``api_key``; one that contains
        ``_live_`` makes everything live mode.
    :param clock: tells the time in Unix seconds; see `ManualClock`.
    :param transition: when a pending run ends: `AtOnce`, `AfterReads` or `AfterSeconds`.
    :param data_available_start: where the data, and the business, begins, in Unix seconds.
    :param data_available_end: where the data ends, in Unix seconds; None follows the clock, and is the last
        00:00 or 12:00 UTC at least 12 hours back.
    :param seed: makes the ids the same after every reset; None makes them unlike those of any other sandbox.
    :param on_request: called on the server's thread with each line of the request log.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str = "sk_test_sandbox",
        clock: Clock = time.time,
        transition: Transition = AfterReads(1),  # noqa: B008 - frozen
        data_available_start: int = DATA_AVAILABLE_START,
        data_available_end: int | None = None,
        seed: int | None = None,
        on_request: Callable[[RequestRecord], None] | None = None,
    ) -> None:
        self.api_key = api_key
        self._address = (host, port)
        self._initial = Settings(clock, transition, data_available_start, data_available_end)
        self._seed = seed
        self._application = Application(
            current=lambda: self._state,
            reset=self.reset,
            hang_up=self._hang_up,
            api_key=lambda: self.api_key,
            on_request=on_request,
        )
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._state = self._fresh_state()

    # The server

    @property
    def url(self) -> str:
        """Where the API and the files are, for example ``http://127.0.0.1:49152``."""
        host, port = self._address
        return f"http://{host}:{port}"

    def start(self) -> Self:
        """Bind the address and serve it on a thread; raises OSError if it is taken."""
        listener = self._bind()
        self._address = (self._address[0], listener.getsockname()[1])
        config = uvicorn.Config(
            self._application.asgi(),
            http=H11Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            # The client's address must stay the socket's: `_hang_up` finds the connection by it.
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        self._state.over = False
        server = self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="stripe-sandbox", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the sandbox did not start on {self.url}")
            time.sleep(0.005)
        return self

    def stop(self) -> None:
        """Stop serving and free the port; a later `start` comes back to it, and to the same state."""
        self._state.over = True
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _bind(self) -> socket.socket:
        host, port = self._address
        try:
            listener = socket.create_server((host, port), backlog=128)
        except OSError as error:
            raise OSError(error.errno, f"the sandbox cannot listen on {host}:{port}: {error.strerror}") from error
        # asyncio does so for sockets that were made as TCP, which this one was not. Without it the body of an
        # answer waits for the client to acknowledge the headers, which takes 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener

    def _hang_up(self, scope: Scope) -> None:
        """Close the connection of a request, flushing what was sent; runs on the server's event loop."""
        if self._server is None:
            return
        for connection in list(self._server.server_state.connections):
            if isinstance(connection, H11Protocol) and connection.client == scope["client"]:
                connection.transport.close()

    # Its controls

    def reset(self) -> None:
        """Forget runs, files, idempotency keys, faults, the request log and `configure`."""
        self._state.over = True
        self._state = self._fresh_state()

    def configure(
        self,
        *,
        clock: Clock | None = None,
        transition: Transition | None = None,
        data_available_start: int | None = None,
        data_available_end: int | None = None,
    ) -> None:
        """Change what the constructor set, until the next reset; runs that exist keep their transition."""
        state = self._state
        with state.lock:
            was = state.settings
            state.settings = replace(
                was,
                clock=clock or was.clock,
                transition=transition or was.transition,
                data_available_start=(
                    was.data_available_start if data_available_start is None else data_available_start
                ),
                data_available_end=(was.data_available_end if data_available_end is None else data_available_end),
            )

    def serve_file(self, path: Path | str) -> None:
        """Serve this file's bytes as the contents of every run that ends from now on, until the next reset.

        The bytes are streamed from disk, so the file may be larger than memory; leave it alone meanwhile.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no file to serve at {path}")
        state = self._state
        with state.lock:
            state.settings = replace(state.settings, served_file=path)

    def inject(self, fault: Fault, *, times: int = 1, on: str | None = None) -> None:
        """Let something go wrong the next ``times`` times; faults happen in the order they were injected.

        ``on`` is an operation (`OPERATIONS`) or a method and a path, with ``*`` for any text, such as
        ``"GET /v1/files/*"``; left out, it is the fault's own: "contents" for downloads, otherwise "create".
        A request uses up one request fault, a run one run fault. Requests without the key use up none.
        """
        on = on or fault.on
        check(fault, on=on, times=times)
        state = self._state
        with state.lock:
            if isinstance(fault, RunFault):
                state.run_faults.add(fault, on=on, times=times)
            elif isinstance(fault, RequestFault):
                state.request_faults.add(fault, on=on, times=times)

    @property
    def requests(self) -> list[RequestRecord]:
        """The request log, oldest first: every request that was answered or dropped."""
        with self._state.lock:
            return list(self._state.requests)

    def requests_to(self, operation: str) -> list[RequestRecord]:
        """Pick the requests of an operation out of the log."""
        return [record for record in self.requests if record.operation == operation]

    @property
    def report_runs(self) -> list[RunRecord]:
        """The runs of all accounts, oldest first, as they were last shown."""
        with self._state.lock:
            return [run.record() for run in self._state.runs.values()]

    def _fresh_state(self) -> State:
        return State(self._initial, livemode="_live_" in self.api_key, seed=self._seed)
