"""How fast the sandbox answers, starts and serves a file, beside servers and commands that do less."""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from benchmarks.measuring import Comparison, Figures, Server, command, compare, cost, fresh, serving
from benchmarks.reports import write_report
from benchmarks.servers import INTERVAL, Stripe, bare_starlette, file_server, stripe_sandbox

RUNS = 3
CONNECTIONS = 16
SECONDS = 2.0
SIZE = 1 << 30

ADDRESS_PRINTED = [sys.executable, "-m", "airflow_reportrun.sandbox", "--port", "0"]
IMPORTED = [sys.executable, "-c", "import starlette.applications, starlette.routing, uvicorn; print()"]
ENTERED = (
    "from airflow_reportrun.sandbox import StripeSandbox\nwith StripeSandbox() as s: print(s.url, flush=True)"
)


def run() -> Iterator[Comparison]:
    """Measure from outside: the sandbox is a process of its own."""
    yield _throughput()
    yield _start_up()
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "source.csv"
        write_report(source, SIZE)
        with serving(file_server, source) as floor, serving(stripe_sandbox, source) as sandbox:
            for cached in (True, False) if hasattr(os, "posix_fadvise") else (True,):
                yield _large_file(source, floor, sandbox, cached=cached)


# Small requests


def _throughput() -> Comparison:
    with serving(stripe_sandbox) as sandbox:
        stripe = sandbox.facts
        retrieve = request_bytes(stripe, "GET", f"/v1/reporting/report_runs/{stripe.run_id}")
        form = urlencode({"report_type": "balance.summary.1", **INTERVAL}).encode()
        create = request_bytes(stripe, "POST", "/v1/reporting/report_runs", form)
        body = fresh(one_answer, stripe.url, retrieve)
        with serving(bare_starlette, body) as bare:
            contenders: dict[str, Callable[[], Figures]] = {
                "one route of Starlette, uvicorn, h11": partial(_load, bare, bare.facts, retrieve),
                "sandbox, retrieve": partial(_load, sandbox, stripe.url, retrieve),
                "sandbox, create": partial(_load, sandbox, stripe.url, create),
            }
            units = {"rate": "requests/s", "cpu": "µs a request"}
            title = f"small requests on {CONNECTIONS} connections"
            return compare(title, units, contenders, runs=RUNS, note="CPU is the server's.")


def _load(server: Server[Stripe] | Server[str], url: str, request: bytes) -> Figures:
    before = server.usage()
    answers = fresh(load, url, request)
    return {"rate": answers / SECONDS, "cpu": (server.usage()["cpu"] - before["cpu"]) * 1e6 / answers}


def request_bytes(stripe: Stripe, method: str, path: str, body: bytes = b"") -> bytes:
    """Write a request out, since a client that thinks would be measured too."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {urlsplit(stripe.url).netloc}",
        f"Authorization: Bearer {stripe.api_key}",
    ]
    if body:
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def load(url: str, request: bytes) -> int:
    """Send a request again and again on each connection and return how many answers came within the time."""
    answers = 0
    with selectors.DefaultSelector() as selector:
        for _ in range(CONNECTIONS):
            connection = _connect(url)
            connection.sendall(request)
            selector.register(connection, selectors.EVENT_READ, (connection, bytearray()))
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            for key, _ in selector.select(timeout=1):
                connection, buffer = key.data
                buffer += connection.recv(65536)
                if _take_answer(buffer) is not None:
                    answers += 1
                    connection.sendall(request)
    return answers


def one_answer(url: str, request: bytes) -> bytes:
    """Return the body of one answer."""
    with _connect(url) as connection:
        connection.sendall(request)
        buffer = bytearray()
        while (body := _take_answer(buffer)) is None:
            buffer += connection.recv(65536)
    return body


def _take_answer(buffer: bytearray) -> bytes | None:
    """Take an answer out of what was received and return its body, None while it is incomplete."""
    if (end := buffer.find(b"\r\n\r\n")) < 0:
        return None
    head = buffer[:end].lower()
    if not head.startswith(b"http/1.1 200"):
        raise RuntimeError(f"the server refuses: {buffer.decode()}")
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    if len(buffer) < end + 4 + length:
        return None
    body = bytes(buffer[end + 4 : end + 4 + length])
    del buffer[: end + 4 + length]
    return body


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


# Starting


def _start_up() -> Comparison:
    contenders: dict[str, Callable[[], Figures]] = {
        "import starlette and uvicorn": partial(_first_line, IMPORTED),
        "with StripeSandbox()": partial(_first_line, [sys.executable, "-c", ENTERED]),
        "python -m airflow_reportrun.sandbox": partial(_first_line, ADDRESS_PRINTED),
    }
    for contender in contenders.values():  # compiles
        contender()
    return compare("start of a Python until it serves", {"wall": "s"}, contenders, runs=RUNS)


def _first_line(program: list[str]) -> Figures:
    started = time.perf_counter()
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        process.stdout.readline()
        wall = time.perf_counter() - started
        process.terminate()
        process.communicate()  # to its end, or it would complain that nobody listens
    return {"wall": wall}


# A large file


def _large_file(source: Path, floor: Server[Stripe], sandbox: Server[Stripe], *, cached: bool) -> Comparison:
    def served(server: Server[Stripe]) -> Figures:
        return _served(server, partial(fresh, drop, server.facts), source, cached=cached)

    contenders: dict[str, Callable[[], Figures]] = {
        "cat file > /dev/null": partial(_read, source, cached=cached),
        "sendfile, to a client that drops it": partial(served, floor),
        "sandbox, to a client that drops it": partial(served, sandbox),
    }
    title = f"{SIZE >> 20} MiB {'from the page cache' if cached else 'from the disk'}"
    note = "CPU is the server's, memory the peak of its whole process."
    return compare(title, {"cpu": "s", "wall": "s", "memory": "MiB"}, contenders, runs=3, note=note)


def _served(server: Server[Stripe], get: Callable[[], float], source: Path, *, cached: bool) -> Figures:
    _prepare(source, cached=cached)
    before = server.usage()
    wall = get()
    after = server.usage()
    return {"cpu": after["cpu"] - before["cpu"], "wall": wall, "memory": after["memory"]}


def _read(source: Path, *, cached: bool) -> Figures:
    _prepare(source, cached=cached)
    return cost(partial(command, "cat", str(source)), children=True)


def _prepare(source: Path, *, cached: bool) -> None:
    """Have the file in the page cache, or not at all."""
    if cached:
        command("cat", str(source))
        return
    with source.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def drop(stripe: Stripe) -> float:
    """Receive the file, keep nothing of it, and return the seconds it took."""
    request = request_bytes(stripe, "GET", stripe.file_url.removeprefix(stripe.url))
    buffer = bytearray(1 << 20)
    with _connect(stripe.url) as connection:
        started = time.perf_counter()
        connection.sendall(request)
        received = connection.recv_into(buffer)
        whole = buffer.index(b"\r\n\r\n") + 4 + SIZE
        while received < whole and (size := connection.recv_into(buffer)):
            received += size
        if received < whole:
            raise RuntimeError(f"the connection closed after {received} bytes of {whole}")
        return time.perf_counter() - started
