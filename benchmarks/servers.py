"""What the clients talk to. Each is entered in a process of its own, by `measuring.serving`."""

from __future__ import annotations

import csv
import json
import os
import re
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from benchmarks.skipping import SkippedTime

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

HOST = "127.0.0.1"
_CUTS = "/cuts"
_REST = re.compile(r"bytes=(\d+)-")
_PIECE = 128 << 10
INTERVAL = {"parameters[interval_start]": 1_714_521_600, "parameters[interval_end]": 1_714_608_000}


@dataclass(frozen=True)
class Stripe:
    """Where a server that speaks as Stripe does is, and a report run that it has.

    ``ca`` is the certificate to trust, None where there is no TLS; ``file_url`` is empty while the run is pending.
    """

    url: str
    api_key: str
    run_id: str
    file_url: str = ""
    ca: str | None = None

    def connect(self) -> None:
        """Make it Airflow's connections ``stripe_default`` and ``http_default``, for the processes to come."""
        extra = {} if self.ca is None else {"extra": {"verify": self.ca}}
        stripe = {"conn_type": "stripe", "host": self.url, "password": self.api_key, **extra}
        # As the user of Basic credentials; Stripe takes the key that way too.
        http = {"conn_type": "http", "host": self.url, "login": self.api_key, **extra}
        os.environ["AIRFLOW_CONN_STRIPE_DEFAULT"] = json.dumps(stripe)
        os.environ["AIRFLOW_CONN_HTTP_DEFAULT"] = json.dumps(http)


@contextmanager
def stripe_sandbox(source: Path | None = None) -> Iterator[Stripe]:
    """Serve the sandbox, with a run whose report is the file ``source``, or with one that stays pending."""
    from airflow_reportrun.sandbox import AfterSeconds, AtOnce, StripeSandbox

    with StripeSandbox(transition=AtOnce() if source else AfterSeconds(1e9)) as sandbox:
        if source:
            sandbox.serve_file(source)
        run = _create(sandbox.url, sandbox.api_key)
        yield Stripe(sandbox.url, sandbox.api_key, run["id"], run["result"]["url"] if source else "")


@contextmanager
def file_server(
    source: Path, certificate: tuple[Path, Path] | None = None, *, rate: float | None = None
) -> Iterator[Stripe]:
    """Serve a run that the sandbox made and the file ``source``, or its rest, and nothing else.

    It is as fast as Python sends, with TLS or without, so that the clients are what differs. The run says that it
    was asked for the columns that the file has.

    :param certificate: and its key, for TLS.
    :param rate: bytes a second that the file never comes faster than: what a pause lost stays lost.
    """
    with stripe_sandbox(source) as sandbox:
        request = _request(sandbox.url, sandbox.api_key, f"/{sandbox.run_id}")
        with urllib.request.urlopen(request) as response:  # noqa: S310 - the sandbox
            run = json.load(response)
    with source.open(encoding="utf-8", newline="") as file:
        run["parameters"]["columns"] = next(csv.reader(file))
    server = _FileServer((HOST, 0), _FileHandler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    url = f"{'https' if certificate else 'http'}://{HOST}:{server.server_port}"
    server.source, server.rate = source, rate
    server.run = json.dumps(run).replace(sandbox.url, url).encode()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ca = str(certificate[0]) if certificate else None
    yield Stripe(url, sandbox.api_key, sandbox.run_id, sandbox.file_url.replace(sandbox.url, url), ca)
    server.shutdown()
    server.server_close()


def cut(stripe: Stripe, *places: int) -> int:
    """Let a file server break its next answers off, each when it comes to one of these bytes of the file.

    :returns: how many of the file's bytes it has sent since the last call.
    """
    body = json.dumps(places).encode()
    with urllib.request.urlopen(f"{stripe.url}{_CUTS}", body) as response:  # noqa: S310 - our own
        return int(json.load(response))


@contextmanager
def bare_starlette(body: bytes) -> Iterator[str]:
    """Starlette and uvicorn with one route, which answers with ``body``; yields the URL."""
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def answer(request: Request) -> Response:
        await request.body()
        return Response(body, media_type="application/json")

    with _starlette([Route("/{path:path}", answer, methods=["GET", "POST"])]) as url:
        yield url


@contextmanager
def job_api(clock: SkippedTime, ages: Sequence[float], log: Path, *, limit: int | None = None) -> Iterator[Stripe]:
    """Serve jobs that end at these ages: ``/jobs/1`` is not there before, dbt Cloud's API says that it runs.

    :param clock: tells the time.
    :param ages: seconds, in the order of the creates, which are the requests that create report runs elsewhere.
    :param log: where to write the requests and the ends of the jobs.
    :param limit: requests in any second; the others are answered with 429.
    """
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    ends: list[float] = []
    requests: list[tuple[str, float, int]] = []
    let_in: deque[float] = deque()

    def logged(
        operation: str, answer: Callable[[float, int], Response]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            now = clock.time()
            while let_in and let_in[0] <= now - 1:
                let_in.popleft()
            if limit is not None and len(let_in) >= limit:
                response: Response = JSONResponse({"error": {"type": "rate_limit_error"}}, 429)
            else:
                let_in.append(now)
                response = answer(now, request.path_params.get("id", 0))
            requests.append((operation, now, response.status_code))
            return response

        return endpoint

    def create(now: float, number: int) -> Response:
        ends.append(now + ages[len(ends)])
        return JSONResponse({"id": len(ends)})

    def job(now: float, number: int) -> Response:
        return JSONResponse({"id": number}, 200 if now >= ends[number - 1] else 404)

    def dbt_run(now: float, number: int) -> Response:
        status = 10 if now >= ends[number - 1] else 3
        return JSONResponse(
            {"status": {"code": 200, "is_success": True}, "data": {"id": number, "status": status}}
        )

    routes = [
        Route("/v1/reporting/report_runs", logged("create", create), methods=["POST"]),
        Route("/jobs/{id:int}", logged("job", job)),
        Route("/api/v2/accounts/1/runs/{id:int}/", logged("dbt", dbt_run)),
    ]
    with _starlette(routes) as url:
        yield Stripe(url, "sk_test_none", run_id="")
    ended = [(str(number), at) for number, at in enumerate(ends, 1)]
    log.write_text(json.dumps({"requests": requests, "ended": ended, "shown": []}))


@contextmanager
def _starlette(routes: Sequence[BaseRoute]) -> Iterator[str]:
    """Serve routes with uvicorn and h11; yields the URL."""
    import uvicorn
    from starlette.applications import Starlette

    listener = socket.create_server((HOST, 0), backlog=128)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    application = Starlette(routes=routes)
    config = uvicorn.Config(application, http="h11", ws="none", lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    # The event loop is the one that uvicorn finds, as for the sandbox.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield f"http://{HOST}:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


def _create(url: str, api_key: str) -> Any:
    form = urllib.parse.urlencode({"report_type": "balance.summary.1", **INTERVAL}).encode()
    with urllib.request.urlopen(_request(url, api_key), form) as response:  # noqa: S310 - the sandbox
        return json.load(response)


def _request(url: str, api_key: str, path: str = "") -> urllib.request.Request:
    headers = {"Authorization": f"Bearer {api_key}"}
    return urllib.request.Request(f"{url}/v1/reporting/report_runs{path}", headers=headers)  # noqa: S310 - the sandbox


class _FileServer(ThreadingHTTPServer):
    source: Path
    run: bytes
    rate: float | None = None
    cuts: Sequence[int] = ()
    sent = 0


class _FileHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections alive
    server: _FileServer

    def do_GET(self) -> None:
        """Answer with the file where its contents are asked for, otherwise with the run."""
        if not self.path.endswith("/contents"):
            self._answer(self.server.run)
            return
        size = self.server.source.stat().st_size
        etag = f'"{size:x}"'
        headers = {"Content-Type": "text/csv", "Accept-Ranges": "bytes", "ETag": etag}
        rest = _REST.fullmatch(self.headers.get("Range", ""))
        start = int(rest[1]) if rest and self.headers.get("If-Range", etag) == etag else 0
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        self._head(206 if start else 200, {**headers, "Content-Length": str(size - start)})
        stop, *self.server.cuts = [*self.server.cuts, size]
        self.close_connection = stop < size
        self.server.sent += stop - start
        with self.server.source.open("rb") as file:
            self._send(file, start, stop)

    def do_POST(self) -> None:
        """Take the places of the cuts to come, and tell how much was sent."""
        places = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        sent, self.server.sent, self.server.cuts = self.server.sent, 0, places
        self._answer(json.dumps(sent).encode())

    def _send(self, file: BinaryIO, start: int, stop: int) -> None:
        plain = not isinstance(self.connection, ssl.SSLSocket)  # whose sendfile goes by 8 KiB
        if plain and self.server.rate is None:
            self.connection.sendfile(file, start, stop - start)
            return
        file.seek(start)
        free_at = time.monotonic()
        while block := file.read(min(_PIECE, stop - file.tell())):
            if self.server.rate:
                free_at = max(free_at, time.monotonic() - 0.001) + len(block) / self.server.rate
            self.connection.sendall(block)
            if self.server.rate:
                time.sleep(max(0.0, free_at - time.monotonic()))

    def _answer(self, body: bytes) -> None:
        self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Keep still."""
