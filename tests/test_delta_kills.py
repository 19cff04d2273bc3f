"""Landings in a Delta table that are killed at each request of deltalake's, and many at once."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from airflow_reportrun.landing.formats import typed
from airflow_reportrun.landing.lakehouse.delta.storage import Location
from airflow_reportrun.landing.lakehouse.delta.table import DeltaLakeTable
from airflow_reportrun.landing.lakehouse.delta.told import Manifests, Note
from airflow_reportrun.landing.stores.local import LocalFile
from airflow_reportrun.reporting.errors import ReportingError
from tests.deltas import Ledger
from tests.landings import day
from tests.s3 import S3

pytestmark = pytest.mark.slow

POINTS = 3
"""Steps of a scenario at which a landing is killed; ``EVERY_POINT=1`` in the environment takes them all."""

FAILED = 255
"""Exit code of a landing that ended in an error."""

STEP = "/step"
"""What a landing asks for at a step that is no request."""


@dataclass(frozen=True)
class Watched(Ledger):
    """A table in a store, each request to which is seen, with its manifests in a local folder.

    :param key: of the table.
    :param endpoint: where the store is reached.
    """

    key: str
    endpoint: str

    def table(self) -> DeltaLakeTable:
        """Return the table as a landing sees it."""
        options = {
            **{"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1"},
            **{"AWS_ENDPOINT_URL": self.endpoint, "AWS_ALLOW_HTTP": "true"},
        }
        return DeltaLakeTable(Location(self.url, f"s3://{self.key}", options, LocalFile(Path(self.url))))


class Landings:
    """A process that lands in children of its own, which begin with everything loaded."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.pids: Sequence[int] = ()

    def end(self, *jobs: tuple[Ledger, Mapping[str, Any]]) -> list[int]:
        """Run landings at once to their ends; exit codes are 0, `FAILED`, or the signal, negative."""
        self._pipe.send(jobs)
        self.pids = self._pipe.recv()
        self._pipe.send("go")
        codes: list[int] = self._pipe.recv()
        return codes


@pytest.fixture
def landings() -> Iterator[Landings]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,))
    process.start()
    theirs.close()
    yield Landings(ours)
    ours.close()
    process.join()


def _serve(pipe: Connection) -> None:
    while True:
        try:
            jobs = pipe.recv()
        except EOFError:
            return
        started = [_forked(*job) for job in jobs]
        pipe.send([child for child, _ in started])
        pipe.recv()
        for _, go in started:
            os.close(go)
        pipe.send([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child, _ in started])


def _forked(ledger: Ledger, arguments: Mapping[str, Any]) -> tuple[int, int]:
    """Fork a landing that begins when the other end is closed; deltalake has no thread before it is asked."""
    begins, go = os.pipe()
    if child := os.fork():
        os.close(begins)
        return child, go
    try:
        os.close(go)
        os.read(begins, 1)
        with mock.patch.object(typed, "BLOCK_SIZE", 100), mock.patch.object(Manifests, "write", _stepping(ledger)):
            ledger.land(**arguments)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(FAILED)


def _stepping(ledger: Ledger) -> Callable[[Manifests, Note], None]:
    """Return what writes a note as a step of a landing."""
    write = Manifests.write

    def stepping(self: Manifests, note: Note) -> None:
        if isinstance(ledger, Watched):
            urlopen(f"{ledger.endpoint}{STEP}").close()  # noqa: S310 - ours
        write(self, note)

    return stepping


class Gate:
    """What stands before a store, and counts what passes: each request, and each answer, is a step.

    :ivar steps: how many have passed.
    :ivar kill_at: the number of the step at which ``kill`` is called, None for none.
    """

    def __init__(self, store: str) -> None:
        self.steps = 0
        self.kill_at: int | None = None
        self.kill: Callable[[], Any] = int
        self._store, self._lock = urlsplit(store).netloc, threading.Lock()

    def step(self) -> None:
        """Let something pass, or not."""
        with self._lock:
            self.steps += 1
            if self.steps == self.kill_at:
                self.kill()

    def answer(self, asked: BaseHTTPRequestHandler) -> None:
        """Ask the store the same, and answer what it says."""
        body = asked.rfile.read(int(asked.headers.get("Content-Length") or 0))
        self.step()
        connection = HTTPConnection(self._store)
        if asked.path != STEP:
            connection.request(asked.command, asked.path, body, dict(asked.headers))
            answer = connection.getresponse()
            status, headers, contents = answer.status, answer.getheaders(), answer.read()
        else:
            status, headers, contents = 200, [], b""
        connection.close()
        self.step()
        asked.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                asked.send_header(name, value)
        length = dict(headers).get("Content-Length", "0") if asked.command == "HEAD" else str(len(contents))
        asked.send_header("Content-Length", length)
        asked.end_headers()
        asked.wfile.write(contents)


@pytest.fixture
def gate(s3: S3) -> Iterator[tuple[Gate, str]]:
    """A way to the store that can be watched, and where it begins."""
    gate = Gate(s3.url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    for verb in ("GET", "PUT", "POST", "HEAD", "DELETE"):
        setattr(Handler, f"do_{verb}", lambda asked: gate.answer(asked))

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """Say nothing of who was killed."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield gate, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


OLD = [["1.00", f"old {number}"] for number in range(20)]
NEW = [["2.00", f"new {number}"] for number in range(30)]
BEFORE: Sequence[Mapping[str, Any]] = (
    {"names": ["net", "what"], "rows": OLD, "run_id": "frr_old"},
    {"names": ["net", "what"], "rows": [["9.00", "other"]], "run_id": "frr_o", "start": day(2), "end": day(3)},
)
SCENARIOS: Mapping[str, tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]] = {
    "into a new table": ((), {"names": ["net", "what"], "rows": NEW, "run_id": "frr_new"}),
    "in place of rows, with a new column": (
        BEFORE,
        {"names": ["net", "what", "fee"], "rows": [[*row, "0.10"] for row in NEW], "run_id": "frr_new"},
    ),
    "over the days of a month": (
        BEFORE,
        {
            **{"names": ["net", "what"], "rows": NEW, "run_id": "frr_new"},
            **{"end": day(32), "on_overlap": "replace"},
        },
    ),
    "the same figures again": (BEFORE, {"names": ["net", "what"], "rows": OLD, "run_id": "frr_new"}),
}


def whole(before: Sequence[Mapping[str, Any]], new: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what the table has before and after a landing, by the column that names its rows."""
    old = [row[1] for report in before for row in report["rows"]]
    kept = [row[1] for report in before[1:] for row in report["rows"] if not new.get("on_overlap")]
    return sorted(old), sorted([*kept, *(row[1] for row in new["rows"])])


OLD_ALONE = sorted(row[1] for row in OLD)  # when the first report before is there


def points(steps: int, seed: str) -> Sequence[int]:
    """Choose steps to be killed at: all where the environment says so."""
    every = range(1, steps + 1)
    if os.environ.get("EVERY_POINT"):
        return every
    return sorted(random.Random(seed).sample(every, POINTS))  # noqa: S311 - no secret


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_any_request_a_retry_makes_it_right(
    s3: S3, gate: tuple[Gate, str], landings: Landings, scenario: str, tmp_path: Path
) -> None:
    """Before it reaches the store, or before its answer comes back; no version of the table has a part."""
    watched, through = gate
    before, new = SCENARIOS[scenario]
    old_rows, new_rows = whole(before, new)

    def made() -> Watched:
        name = uuid.uuid4().hex
        table = Watched(str(tmp_path / name), f"{s3.bucket}/{name}", s3.url)
        for report in before:
            table.land(**report)
        return table

    assert landings.end((replace(made(), endpoint=through), new)) == [0]
    steps = watched.steps
    assert steps > 20
    for kill_at in points(steps, scenario):
        table = made()
        watched.steps, watched.kill_at = 0, kill_at
        watched.kill = lambda: os.kill(landings.pids[0], signal.SIGKILL)
        assert landings.end((replace(table, endpoint=through), new)) == [-signal.SIGKILL], f"step {kill_at}"
        watched.kill_at = None
        assert table.rows("what") in (old_rows, new_rows), f"step {kill_at}"
        table.land(**new)
        assert table.rows("what") == new_rows, f"step {kill_at}"
        versions = [table.rows("what", version=it) for it in range(table.version + 1)]
        assert all(it in ([], OLD_ALONE, old_rows, new_rows) for it in versions), f"step {kill_at}"
        assert "frr_new" in table.told()


def test_landings_at_once_are_all_there(ledger: Ledger, landings: Landings) -> None:
    """Days into a table that none of them finds, and twice the same day."""
    days = [
        {
            **{"names": ["net", "what"], "rows": [["1.00", f"day {number} row {row}"] for row in range(5)]},
            **{"run_id": f"frr_{number}", "start": day(number), "end": day(number + 1)},
        }
        for number in (1, 2, 3, 1)
    ]
    expected = sorted(f"day {number} row {row}" for number in (1, 2, 3) for row in range(5))
    for _ in range(3):
        assert landings.end(*((ledger, report) for report in days)) == [0] * len(days)
        assert ledger.rows("what") == expected
    assert ledger.told() == ["frr_1", "frr_2", "frr_3"]


@pytest.mark.parametrize("way", ["connection", "environment"])
def test_a_table_lies_where_the_way_to_a_store_leads(s3: S3, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """All of it: what deltalake reads and writes, and our manifests."""
    key = f"delta/{way}"
    table = Ledger(s3.destination(key) if way == "connection" else f"s3://{s3.bucket}/{key}")
    if way == "environment":
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            monkeypatch.setenv(f"AWS_{name}", "testing")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    for turn in (1, 2):
        table.land(["net"], [[f"{turn}.00"]], f"frr_{turn}")
    assert table.rows("_report_run_id") == ["frr_2"]
    assert table.told() == ["frr_2"]
    kinds = sorted(name.rpartition(".")[2] for name in s3.objects(f"{key}/"))
    assert kinds == ["json"] * 4 + ["parquet"] * 2


def test_no_error_shows_what_a_connection_keeps(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does what the error is the context of."""
    kept = s3.environ[f"AIRFLOW_CONN_{s3.conn_id.upper()}"].replace("testing", "marked-secret")
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", kept.replace(s3.url, f"{s3.url}/marked-secret"))
    with pytest.raises(ReportingError) as error:
        Ledger(f"s3://broken@{s3.bucket}/delta/x").land(["net"], [["1.00"]])
    assert "delta/x" in str(error.value)
    assert "marked-secret" not in f"{error.value!r} {error.value.__context__!r}"
