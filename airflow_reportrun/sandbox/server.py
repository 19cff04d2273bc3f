"""`StripeSandbox`: the server in a thread, and its controls."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypedDict, Unpack

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .app import PERMISSIONS, Application
from .endpoints import wait
from .faults import Fault, RunFault, check
from .runs import AfterReads, RunRecord, Transition
from .scripting import parse
from .state import FILE_LIFETIME, Settings, State

if TYPE_CHECKING:
    from starlette.types import Scope

    from .clock import Clock
    from .limits import RateLimits
    from .messages import RequestRecord

log = logging.getLogger(__name__)

DATA_AVAILABLE_START = 1_640_995_200  # 2022-01-01 00:00:00 UTC
START_TIMEOUT_SECONDS = 10.0
CENTURY = 100 * 365 * 86_400


class Changes(TypedDict, total=False):
    """What `StripeSandbox.configure` can change; `StripeSandbox` says what each means."""

    connected_accounts: Sequence[str] | None
    report_types: Sequence[str] | None
    rate_limits: RateLimits | None
    clock: Clock
    transition: Transition
    data_available_start: int
    data_available_end: int | None
    file_lifetime: int
    strict: bool


class StripeSandbox:
    """An embedded Stripe on an address of its own, from ``with`` to the end of the block.

    What the constructor is told about time, transitions and data is the initial state: `reset` comes back
    to it.

    :param host: the address to bind; of another than a loopback one a warning says that others reach it.
    :param port: the port to bind; 0 takes a free one.
    :param api_key: the secret key, until another is assigned to ``api_key``. What a key sees is live where it
        contains ``_live_``, and test data otherwise.
    :param keys: further keys that are let in, each with what it may do: None is everything, as a secret key may;
        a restricted key (``rk_…``) has some of `PERMISSIONS`.
    :param connected_accounts: the accounts (``acct_…``) that ``Stripe-Account`` may name; None lets any in. Each
        has a business of its own.
    :param report_types: the ids of the types on offer; None is all of the catalogue.
    :param rate_limits: see `RateLimits`; None is no limit.
    :param clock: tells the time in Unix seconds; see `ManualClock`.
    :param transition: when a pending run ends: `AtOnce`, `AfterReads` or `AfterSeconds`.
    :param data_available_start: where the data, and the business, begins, in Unix seconds.
    :param data_available_end: where the data ends, in Unix seconds; None follows the clock, and is the last
        00:00 or 12:00 UTC at least 12 hours back.
    :param file_lifetime: seconds until a file expires; a year.
    :param strict: refuses columns that a report type is not known to have. Otherwise they are let pass, filled by
        the form of their names, and said: a warning for each run, and ``unknown_columns`` of the run.
    :param seed: makes the ids of runs, files and requests the same after every reset; None makes them unlike those
        of any other sandbox.
    :param on_request: called on the server's thread with each line of the request log.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str = "sk_test_sandbox",
        keys: Mapping[str, Collection[str] | None] | None = None,
        connected_accounts: Sequence[str] | None = None,
        report_types: Sequence[str] | None = None,
        rate_limits: RateLimits | None = None,
        clock: Clock = time.time,
        transition: Transition = AfterReads(1),  # noqa: B008 - frozen
        data_available_start: int = DATA_AVAILABLE_START,
        data_available_end: int | None = None,
        file_lifetime: int = FILE_LIFETIME,
        strict: bool = True,
        seed: int | None = None,
        on_request: Callable[[RequestRecord], None] | None = None,
    ) -> None:
        self.api_key = self._first_key = api_key
        self._address = (host, port)
        self._initial = Settings(
            clock=clock,
            transition=transition,
            data_available_start=data_available_start,
            data_available_end=data_available_end,
            keys=_checked(keys or {}),
            connected_accounts=connected_accounts,
            report_types=report_types,
            rate_limits=rate_limits,
            file_lifetime=file_lifetime,
            strict=strict,
        )
        self._seed = seed
        self._application = Application(
            current=lambda: self._state,
            reset=self.reset,
            script=self.script,
            advance=self.advance,
            connection_of=self._connection_of,
            refuse=self._refuse,
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
        """Bind the address and serve it on a thread, unless that is done; raises OSError if it is taken."""
        if self._thread is not None:
            return self
        listener = self._bind()
        bound, port = listener.getsockname()[:2]
        self._address = (self._address[0], port)
        if not ipaddress.ip_address(bound).is_loopback:
            log.warning(
                "The sandbox listens on %s, and so not to this machine alone. It is for tests: whoever reaches it "
                "and has its key is let in.",
                bound,
            )
        config = uvicorn.Config(
            self._application.asgi(),
            http=H11Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            date_header=False,  # the application has its own, by the sandbox's clock
            # The client's address must stay the socket's: `_connection_of` goes by it.
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
                listener.close()
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

    def _connection_of(self, scope: Scope) -> H11Protocol | None:
        """Find the connection that a request came by; runs on the server's event loop."""
        for connection in self._server.server_state.connections if self._server else ():
            if isinstance(connection, H11Protocol) and connection.client == scope["client"]:
                return connection
        return None

    def _refuse(self, seconds: float) -> None:
        """Stop listening, and listen again some seconds later; runs on the server's event loop."""
        server = self._server
        if server is None or not server.servers:
            return
        while server.servers:
            server.servers.pop().close()

        async def listen_again(state: State) -> None:
            await wait(state, seconds)
            create = partial(H11Protocol, config=server.config, server_state=server.server_state, app_state={})
            server.servers.append(await asyncio.get_running_loop().create_server(create, sock=self._bind()))

        self._outage = asyncio.ensure_future(listen_again(self._state))

    # Its controls

    def reset(self) -> None:
        """Forget runs, files, idempotency keys, faults, the request log, another ``api_key`` and `configure`."""
        self._state.over = True
        self._state = self._fresh_state()
        self.api_key = self._first_key
        # Where connections were being refused, they are not for much longer; the server's own thread can't wait.
        while self._server and not self._server.servers and threading.current_thread() is not self._thread:
            time.sleep(0.005)

    def configure(self, **settings: Unpack[Changes]) -> None:
        """Change what the constructor set, until the next reset; runs that exist keep their transition."""
        with self._state.lock:
            self._state.change(replace(self._state.settings, **settings))

    def add_key(self, api_key: str, permissions: Collection[str] | None = None) -> None:
        """Let in another key until the next reset; ``permissions`` are those of a restricted one."""
        with self._state.lock:
            keys = {**self._state.settings.keys, **_checked({api_key: permissions})}
            self._state.change(replace(self._state.settings, keys=keys))

    def serve_file(self, path: Path | str) -> None:
        """Serve this file's bytes as the contents of every run that ends from now on, until the next reset.

        The bytes are streamed from disk, so the file may be larger than memory; leave it alone meanwhile.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no file to serve at {path}")
        self._state.change(replace(self._state.settings, served_file=path))

    def inject(
        self,
        fault: Fault,
        *,
        times: int = 1,
        on: str | None = None,
        skip: int = 0,
        chance: float = 1.0,
        seed: int = 0,
    ) -> None:
        """Let something go wrong ``times`` times; faults happen in the order they were injected.

        A request uses up one request fault, a run one run fault. Requests without a valid key use up none.

        :param on: an operation (`OPERATIONS`), ``"any"`` of them, or a method and a path, with ``*`` for any text,
            such as ``"GET /v1/files/*"``; left out, it is the fault's own: "contents" for downloads, otherwise
            "create".
        :param skip: how many of these requests, or runs, go well before.
        :param chance: the probability, in (0, 1], that it happens to one of them.
        :param seed: makes chance the same again.
        """
        on = on or fault.on
        check(fault, on=on, times=times, skip=skip, chance=chance)
        state = self._state
        script = state.run_faults if isinstance(fault, RunFault) else state.request_faults
        with state.lock:
            script.add(fault, on=on, times=times, skip=skip, chance=chance, seed=seed)  # type: ignore[arg-type]

    def script(self, text: str) -> None:
        """Inject faults that are written as text, one a line, such as ``RateLimited*3@retrieve``; see `scripting`.

        All or none: a line that can't be read leaves things as they were.
        """
        scripted = [parse(line) for line in text.splitlines()]
        for it in scripted:
            check(it.fault, on=it.on or it.fault.on, times=it.times)
        for it in scripted:
            self.inject(it.fault, times=it.times, on=it.on)

    def advance(self, seconds: float) -> None:
        """Move the sandbox's time forward, whatever its clock, until the next reset; a century at most."""
        if not 0 <= seconds <= CENTURY:  # so that "not a number" is refused, too
            raise ValueError(f"time moves forward only, and at most a century, not by {seconds} seconds")
        with self._state.lock:
            self._state.ahead += seconds

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
        return State(self._initial, seed=self._seed)


def _checked(keys: Mapping[str, Collection[str] | None]) -> dict[str, frozenset[str] | None]:
    """Refuse a permission that would never be asked for."""
    for permissions in keys.values():
        if unknown := sorted(set(permissions or ()) - set(PERMISSIONS)):
            raise ValueError(f"{', '.join(unknown)} is no permission here; {', '.join(PERMISSIONS)} are")
    return {key: None if permissions is None else frozenset(permissions) for key, permissions in keys.items()}
