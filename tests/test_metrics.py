"""What arrives at a StatsD server, and at a collector, is what the docs say: from tasks, over the wire."""

from __future__ import annotations

import asyncio
import gzip
import importlib
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from airflow.providers.common.compat.sdk import Stats
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from airflow_reportrun import metrics
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.reporting import endpoints
from airflow_reportrun.reporting.errors import ServerError
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from airflow_reportrun.sensors import StripeReportRunSensor
from airflow_reportrun.triggers import StripeReportRunTrigger
from airflow_reportrun.waiting.goals import ReportRunEnds
from airflow_reportrun.waiting.loop import wait
from airflow_reportrun.waiting.pace import Watch
from tests.docs_tables import hold, table
from tests.metered import MADE_UP, REPORT_TYPE
from tests.task_runner import in_dag
from tests.versions import AIRFLOW, BEFORE_3_3

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "metrics.md"

KINDS = {"c": "counter", "ms": "timer", "g": "gauge"}
"""StatsD's types."""

Line = tuple[str, str, float, dict[str, str]]


class StatsD:
    """A server that keeps what it is sent."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.5)
        port = self._socket.getsockname()[1]
        self.options = {"statsd_on": True, "statsd_host": "127.0.0.1", "statsd_port": port}

    def lines(self) -> list[Line]:
        """Return what of ours has come: name, kind, value and tags."""
        return [self._read(line) for line in self.raw() if line.startswith("airflow.stripe_reporting.")]

    def raw(self) -> Iterator[str]:
        """Yield each line that has come."""
        try:
            while True:
                yield from self._socket.recv(65_536).decode().splitlines()
        except TimeoutError:
            return

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def _read(self, line: str) -> Line:
        stat, value, kind = re.fullmatch(r"(.+):([^:|]+)\|(\w+)", line).groups()  # type: ignore[union-attr]
        name, *tags = stat.removeprefix("airflow.stripe_reporting.").split(",")
        return name, KINDS[kind], float(value), dict(tag.split("=") for tag in tags)


def metered(folder: Path, **options: object) -> list[dict[str, Any]]:
    """Run the tasks of ``tests.metered`` with ``[metrics]``; return what those returned that landed."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environ |= {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "NO_PROXY": "127.0.0.1",
        **{f"AIRFLOW__METRICS__{name.upper()}": str(value) for name, value in options.items()},
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.metered", str(folder)],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Invalid stat name" not in done.stdout + done.stderr
    returned: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return returned


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Line], list[dict[str, Any]]]:
    """What a server was sent that takes tags, and what the landing tasks returned."""
    server = StatsD()
    landed = metered(tmp_path_factory.mktemp("tagged"), **server.options, statsd_influxdb_enabled=True)
    lines = server.lines()
    server.close()
    return lines, landed


def test_all_that_is_documented_arrives_and_nothing_else(told: tuple[list[Line], Any]) -> None:
    """By name, kind and tags, sent by Airflow's own StatsD client."""
    lines, _ = told
    assert {(name, kind, tuple(tags)) for name, kind, _, tags in lines} == {
        (it.name, it.kind, it.tags) for it in metrics.ALL
    }


def test_the_page_has_the_names_that_are_sent() -> None:
    """A name that is only in the code is found by nobody."""
    rows = [
        (
            f"`{metrics.PREFIX}{it.name}`",
            it.kind,
            it.unit,
            ", ".join(f"`{tag}`" for tag in it.tags),
            it.meaning,
        )
        for it in metrics.ALL
    ]
    hold(PAGE, "metrics", table(("name", "kind", "unit", "tags", "what it tells"), rows))


def sums(lines: list[Line], *names: str) -> Counter[tuple[str, ...]]:
    """Return what counters of these names add up to, by name and tags other than the report type."""
    found: Counter[tuple[str, ...]] = Counter()
    for name, _, value, tags in lines:
        if name in names:
            found[name, *(value for tag, value in tags.items() if tag != "report_type")] += int(value)
    return found


def test_what_became_of_report_runs_is_counted(told: tuple[list[Line], Any]) -> None:
    """Of five tasks, one in two tries; the answer about the run of one was lost, so that it was attached to."""
    lines, _ = told
    runs = [f"report_runs.{name}" for name in ("created", "attached", "superseded", "uncounted")]
    assert sums(lines, *runs) == {
        ("report_runs.created",): 5,
        ("report_runs.attached",): 1,
        ("report_runs.superseded", "failed"): 1,
        ("report_runs.superseded", "stored_error"): 1,
        ("report_runs.uncounted",): 1,
    }
    assert {tags["report_type"] for _, _, _, tags in lines if "report_type" in tags} == {REPORT_TYPE, MADE_UP}


def test_each_wait_is_measured_by_its_end(told: tuple[list[Line], Any]) -> None:
    """In a worker and in a trigger, in milliseconds; the time of the create is in whole seconds."""
    waits = [(tags["outcome"], value) for name, _, value, tags in told[0] if name == "report_runs.wait"]
    assert Counter(outcome for outcome, _ in waits) == {"succeeded": 4, "failed": 1, "timeout": 1}
    assert all(0 <= value < 120_000 for _, value in waits)


def test_what_lands_is_counted_by_format(told: tuple[list[Line], list[dict[str, Any]]]) -> None:
    """Bytes are those of Stripe's file, and rows its records, in whichever form they land."""
    lines, (csv, *_) = told
    formats = ("csv", "csv.gz", "parquet", "sql")
    assert csv["rows"] > 0
    assert sums(lines, "landed.reports", "landed.bytes", "landed.rows") == {
        **{("landed.reports", kind): 1 for kind in formats},
        **{("landed.bytes", kind): csv["size"] for kind in formats},
        **{("landed.rows", kind): csv["rows"] for kind in formats},
    }


def test_how_late_a_run_was_noticed_is_not_how_long_it_took(told: tuple[list[Line], Any]) -> None:
    """The one is ours, the other Stripe's."""
    found = {name: value for name, _, value, tags in told[0] if tags.get("report_type") == MADE_UP}
    assert found == {"report_runs.duration": 60_000, "report_runs.noticed": 2_500}


DAY = 86_400


class Unsteady:
    """A client whose first look fails."""

    def __init__(self, hook: StripeReportingHook) -> None:
        self._hook, self._failed = hook, False

    def send(self, request: Any) -> Any:
        """Fail, or send."""
        if not self._failed:
            self._failed = True
            raise ServerError("Something went wrong.", http_status=500)
        return self._hook.send(request)

    def renew(self) -> bool:
        """Change nothing."""
        return False


def by_a_trigger(run_id: str, since: float) -> None:
    """Wait in a triggerer, as a task does that began there."""
    trigger = StripeReportRunTrigger(report_run_id=run_id, since=since, deadline=since + 30 * DAY)

    async def fire() -> list[Any]:
        return [event async for event in trigger.run()]

    assert len(asyncio.run(fire())) == 1


def by_a_loop(run_id: str, since: float) -> None:
    """Wait as an operator in its worker, whose first look fails."""
    client: Any = Unsteady(StripeReportingHook())
    watch = Watch(since, since + 30 * DAY, poll_interval=0.01, growth=0.0)
    assert wait(client, ReportRunEnds(run_id), watch).outcome == "succeeded"


def by_a_sensor(run_id: str, since: float) -> None:
    """Poke twice, the first time in vain."""
    sensor = in_dag(StripeReportRunSensor, report_run_id=run_id)
    sensor.__dict__["hook"] = Unsteady(StripeReportingHook())
    sensor.__dict__["_conclude"] = lambda event: None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: since)
        pokes = [sensor.poke({}).is_done for _ in range(2)]
    assert pokes == [False, True]


@pytest.mark.parametrize("waits", [by_a_trigger, by_a_loop, by_a_sensor])
@pytest.mark.parametrize("days", [3, 1])
def test_only_who_waited_for_an_end_notices_it(
    waits: Callable[[str, float], None], days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run that ended two days ago the one is told that waits since three, and not who came yesterday."""
    sent: dict[str, float] = {}
    monkeypatch.setattr(Stats, "timing", lambda name, value, tags: sent.update({name: value}))
    now, began = time.time(), time.monotonic()
    with StripeSandbox(clock=lambda: now - 2 * DAY + time.monotonic() - began) as stripe:
        connection = {"conn_type": "stripe", "host": stripe.url, "password": stripe.api_key}
        monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
        stripe.configure(transition=AtOnce())
        run_id = StripeReportingHook().create_report_run("balance.summary.1", PARAMETERS).id
        assert StripeReportingHook().retrieve_report_run(run_id).succeeded_at is not None
        stripe.advance(2 * DAY)
        waits(run_id, now - days * DAY)
    noticed = {name: value for name, value in sent.items() if name.endswith(".noticed")}
    if days == 3:
        assert noticed == {"stripe_reporting.report_runs.noticed": pytest.approx(2 * DAY * 1000, abs=60_000)}
    else:
        assert not noticed


def test_runs_that_were_waited_for_are_noticed(told: tuple[list[Line], Any]) -> None:
    """Those that succeeded, by a worker as by a trigger."""
    names = [name for name, _, _, tags in told[0] if tags.get("report_type") == REPORT_TYPE]
    assert names.count("report_runs.noticed") == names.count("report_runs.duration") == 4


def test_refused_requests_are_told_with_tags_and_without(told: tuple[list[Line], Any]) -> None:
    """A request that nobody answered has a status, too."""
    found = sums(told[0], "requests.sent", "requests.limited")
    assert {name: count for name, count in found.items() if MADE_UP in name or len(name) == 1} == {
        ("requests.sent", MADE_UP, "200"): 1,
        ("requests.sent", MADE_UP, "429"): 1,
        ("requests.sent", MADE_UP, "none"): 1,
        ("requests.limited",): 1,
    }


def test_requests_are_told_by_what_they_do(told: tuple[list[Line], list[dict[str, Any]]]) -> None:
    """In both colours, downloads included; a lost answer is one that did not come."""
    found = sums(told[0], "requests.sent")
    # Before 3.3 Airflow remembers nothing, so that a retry after a failed run asks for that one first.
    assert found["requests.sent", "create_report_run", "200"] == 6 + BEFORE_3_3
    assert found["requests.sent", "create_report_run", "500"] == 1
    assert found["requests.sent", "create_report_run", "none"] == 1
    assert found["requests.sent", "read_file", "200"] == 4
    assert found["requests.sent", "retrieve_report_run", "200"] > 6


def test_a_reason_that_is_not_known_makes_no_tag_of_its_own(told: tuple[list[Line], Any]) -> None:
    """It comes from the other side, and could be anything."""
    pauses = [(tags["reason"], value) for name, _, value, tags in told[0] if name == "limits.pause"]
    assert pauses[-4:] == [("endpoint-rate", 1500), ("budget", 1500), ("other", 1500), ("other", 1500)]


def test_gauges_are_of_the_process_and_not_of_a_watcher(told: tuple[list[Line], Any]) -> None:
    """Of two watchers the sum and the oldest; one that has ended is forgotten."""
    gauges = [(name, value, tags["goal"]) for name, kind, value, tags in told[0] if kind == "gauge"]
    assert gauges[-8:] == [
        ("waiting.count", 365, "report_run"),
        ("waiting.oldest", 3600, "report_run"),
        ("waiting.count", 367, "report_run"),
        ("waiting.oldest", 3600, "report_run"),
        ("waiting.count", 2, "report_run"),
        ("waiting.oldest", 60.5, "report_run"),
        ("waiting.count", 1, "report_type"),
        ("waiting.oldest", 7, "report_type"),
    ]


def test_a_server_without_tags_is_sent_the_names_alone(tmp_path: Path) -> None:
    """As Airflow does it by default: what has no name of its own is lost there."""
    server = StatsD()
    metered(tmp_path, **server.options)
    lines = server.lines()
    server.close()
    assert {(name, kind) for name, kind, _, _ in lines} == {(it.name, it.kind) for it in metrics.ALL}
    assert not any(tags for _, _, _, tags in lines)
    assert sum(value for name, _, value, _ in lines if name == "requests.limited") == 1


class Collector(BaseHTTPRequestHandler):
    """Takes what OpenTelemetry sends."""

    taken: ClassVar[list[Any]] = []

    def do_POST(self) -> None:
        """Keep a message's metrics."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        message = ExportMetricsServiceRequest.FromString(body)
        self.taken.extend(it for a in message.resource_metrics for b in a.scope_metrics for it in b.metrics)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[int]:
    """The port of one that runs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_collector_of_open_telemetry_is_sent_names_and_tags(collector: int, tmp_path: Path) -> None:
    """Timers are histograms, and before Airflow 3.3 gauges; counters and gauges are what they are."""
    Collector.taken = []
    metered(tmp_path, otel_on=True, otel_host="127.0.0.1", otel_port=collector)
    ours = [it for it in Collector.taken if it.name.startswith("airflow.stripe_reporting.")]
    kinds = {"counter": "sum", "gauge": "gauge", "timer": "gauge" if BEFORE_3_3 else "exponential_histogram"}
    points = [(it, getattr(it, str(it.WhichOneof("data"))).data_points) for it in ours]
    assert {
        (it.name, it.WhichOneof("data"), frozenset(tag.key for tag in point.attributes))
        for it, found in points
        for point in found
    } == {(f"airflow.{metrics.PREFIX}{it.name}", kinds[it.kind], frozenset(it.tags)) for it in metrics.ALL}


def test_names_are_valid_for_open_telemetry() -> None:
    """With Airflow's prefix; Airflow 2 drops those that are longer than 63 characters."""
    where = "airflow.metrics" if AIRFLOW < (3, 2) else "airflow.sdk._shared.observability.metrics"
    is_safe = importlib.import_module(f"{where}.otel_logger").name_is_otel_safe
    names = [f"{metrics.PREFIX}{it.name}" for it in metrics.ALL]
    assert all(is_safe("airflow", name) for name in names)
    assert max(map(len, names)) + len("airflow.") <= 63
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("kind", ["incr", "timing", "gauge"])
def test_a_backend_that_fails_fails_nobody(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, however often it fails."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("the server is gone")

    monkeypatch.setattr(metrics, "_said", set())
    monkeypatch.setattr(Stats, kind, fail)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            metrics.CREATED.send(report_type=REPORT_TYPE)
            metrics.WAIT.send(1.0, report_type=REPORT_TYPE, outcome="succeeded")
            metrics.waiting(test_a_backend_that_fails_fails_nobody, "report_run", 0, 0.0)
    said = [record.getMessage() for record in caplog.records if record.name == metrics.__name__]
    assert said == ["Airflow's metrics backend takes none, which fails no task. OSError: the server is gone"]


def test_what_no_report_type_is_called_makes_no_tag_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """An equals sign would break the name, and free text has no end of values."""
    sent: list[Any] = []
    monkeypatch.setattr(Stats, "incr", lambda *args, tags: sent.append(tags["report_type"]))
    for report_type in (REPORT_TYPE, "a=b", "a,b", "", "x" * 101, "Ünder"):
        metrics.CREATED.send(report_type=report_type)
    assert sent == [REPORT_TYPE, *["other"] * 5]


PARAMETERS = ReportParameters(interval_start=1714521600, interval_end=1714608000)


@pytest.mark.parametrize(
    ("operation", "request_of"),
    [
        ("create_report_run", lambda: endpoints.create_report_run(REPORT_TYPE, PARAMETERS, idempotency_key="k")),
        ("retrieve_report_run", lambda: endpoints.retrieve_report_run("frr_1")),
        ("list_report_runs", lambda: endpoints.list_report_runs(starting_after="frr_1")),
        ("list_report_types", endpoints.list_report_types),
        ("retrieve_report_type", lambda: endpoints.retrieve_report_type(REPORT_TYPE)),
        ("retrieve_file", lambda: endpoints.retrieve_file("file_1")),
    ],
)
def test_a_request_says_what_it_does_and_not_about_whom(
    operation: str, request_of: Callable[[], endpoints.Request[Any]]
) -> None:
    """It is called as its function is."""
    assert request_of().operation == operation
    assert hasattr(endpoints, operation)
