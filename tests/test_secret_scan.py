"""No secret is in anything that comes of a task, a command or the page, with all loggers at DEBUG.

Each scenario is what people meet. Its connections have marked secrets, and Stripe's answers a signed URL. Searched
is what Airflow is told (rendered templates, XComs, trigger arguments, states), what the trigger tells the task,
the stored DAG, errors and all that they came of, logs before Airflow masks them, stdout and stderr, metrics,
OpenLineage events, and each file and object that is there afterwards.
"""

from __future__ import annotations

import base64
import gzip
import importlib
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import structlog
from airflow.providers.common.compat.sdk import BaseOperator, Stats

from airflow_reportrun import metrics, triggers
from airflow_reportrun.__main__ import main
from airflow_reportrun.cli import planned
from airflow_reportrun.hooks import StripeReportingAsyncHook, StripeReportingHook
from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
    StripeReportToDeltaOperator,
    StripeReportToIcebergOperator,
    StripeReportToSqlOperator,
)
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.sandbox import (
    AfterReads,
    AtOnce,
    CutBody,
    Dropped,
    Fault,
    Garbage,
    KeyExpired,
    ProxyPage,
    RateLimited,
    Redirected,
    RunFails,
    RunNeverEnds,
    ServerError,
    ShortContents,
    StripeSandbox,
)
from airflow_reportrun.sandbox.runs import ResultFile
from airflow_reportrun.sensors import StripeReportRunSensor, StripeReportTypeSensor
from airflow_reportrun.triggers import StripeReportRunTrigger
from airflow_reportrun.waiting import pace, plan
from tests.evidence import Evidence, files, hits, readable
from tests.icebergs import needs_its_catalog
from tests.lineages import told_to
from tests.s3 import S3
from tests.task_runner import END, START, TaskRunner, Try, in_dag
from tests.test_exchange_limits import answer
from tests.test_reasons import proxy_to
from tests.versions import AIRFLOW, BEFORE_3_3, DagSerialization
from tests.wire import Wire

pytestmark = pytest.mark.slow

REPORT = "balance_change_from_activity.itemized.3"
MANY = 1000

KEY = "sk_test_marked_so_that_it_is_found"
OTHER_KEY = "rk_live_marked"
PROXY, STORE, DATABASE, CATALOG = (f"marked+{whose}/pass word%" for whose in ("proxy", "store", "db", "catalog"))
SIGNATURE = "markedSignatureOfAUrl"
SECRETS = {
    **{"the key": KEY, "another key": OTHER_KEY, "the proxy's password": PROXY, "the store's secret": STORE},
    **{"the database's password": DATABASE, "the catalog's secret": CATALOG, "a signed URL": SIGNATURE},
}


@dataclass
class Runner(TaskRunner):
    """Keeps what Airflow is told, and what it stores and hands back."""

    evidence: Evidence = field(kw_only=True)

    def _answer(self, request: Any, context: Mapping[str, Any], prefix: str) -> Any:
        self.evidence.add(f"{request.method} {request.url.path}", request.content)
        return super()._answer(request, context, prefix)

    def run(self, task: Any, **how: Any) -> Try:
        """Run one try, and keep what there is of it."""
        self.evidence.add("the stored DAG", DagSerialization.to_dict(task.dag))
        self.evidence.add("what the trigger told", how.get("next_kwargs"))
        tried = super().run(task, **how)
        self.evidence.add("the operator", f"{task!r} {task.doc_md}")
        self.evidence.add_error(tried.error)
        self.evidence.add("its end", tried)
        if tried.deferral:
            self.evidence.add("the trigger", repr(self.trigger(tried)))
        return tried


class World:
    """A Stripe, an S3, and somebody else's server, behind connections with marked secrets."""

    def __init__(self, stripe: StripeSandbox, s3: S3, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.stripe, self.s3, self.folder, self.patch = stripe, s3, folder, patch
        self.evidence = Evidence()
        self.elsewhere = Wire()
        self.mark = folder.name
        self.connect()
        self.connection("WAREHOUSE", conn_type="sqlite", host=f"{folder}/warehouse.db")
        where = {"endpoint_url": s3.url, "region_name": "us-east-1"}
        self.connection("STORE", conn_type="aws", login="marked", password=STORE, extra=where)

    def connection(self, name: str, **fields: Any) -> None:
        """Let Airflow have a connection."""
        self.patch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(fields))

    def connect(self, **fields: Any) -> None:
        """Let Airflow have the one to Stripe, changed as told."""
        it = {"conn_type": "stripe", "host": self.stripe.url, "password": KEY, "extra": {"timeout": 2}}
        self.connection("STRIPE_DEFAULT", **{**it, **fields})

    def fail(self, fault: Fault, on: str | None = None, skip: int = 0) -> None:
        """Let something go wrong from now on."""
        self.stripe.inject(fault, on=on, times=MANY, skip=skip)

    def run(self, task: Any, state: str = "success", said: str = "", *, deferred: bool = False) -> Try:
        """Run a task to its end, by a trigger if it is to be deferred; it has to end so, and to say so."""
        runner = Runner(evidence=self.evidence)
        tried = runner.run(task)
        if deferred:
            assert tried.state == "deferred", tried.error
            tried = runner.resume(task, tried)
        assert tried.state == state, tried.error
        assert said in str(tried.error)
        return tried

    def report(self, state: str = "success", said: str = "", *, deferred: bool = False, **options: Any) -> Try:
        """Run the operator that most people use."""
        if deferred:
            self.stripe.configure(transition=AfterReads(2))
        options = {"poll_interval": 0.01, "destination": f"{self.folder}/reports/", **options}
        task = in_dag(StripeReportRunOperator, report_type=REPORT, deferrable=deferred, **options)
        return self.run(task, state, said, deferred=deferred)

    def land(self, kind: Any, state: str = "success", said: str = "", **options: Any) -> None:
        """Land a report that is finished, by another task."""
        given = self.report(destination=None).returned
        self.run(in_dag(kind, report_run_id=given, **options), state, said)

    def command(self, *words: object, code: int = 0) -> None:
        """Run a command; what it prints is kept with all that is printed."""
        self.patch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
        self.patch.setattr(planned.Existing, "of", classmethod(lambda cls, dag_id: cls()))
        left: Any = 0
        try:
            main([str(word) for word in words])
        except SystemExit as error:
            left = error.code
        assert left == code


@pytest.fixture
def world(
    stripe_sandbox: StripeSandbox,
    s3: S3,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[World]:
    """What a scenario plays in; in the end nobody else was asked, and no secret is in what came of it."""
    it = marked(stripe_sandbox, s3, tmp_path, monkeypatch)
    with it.elsewhere, listening(it):
        yield it
    assert found(it, capfd) == []
    assert it.elsewhere.requests == []


def marked(stripe: StripeSandbox, s3: S3, folder: Path, patch: pytest.MonkeyPatch) -> World:
    """Return a world whose Stripe takes the marked key, and signs the URLs of files."""
    stripe.api_key = KEY
    stripe.configure(transition=AtOnce())
    body = ResultFile.body

    def signed(file: ResultFile, base_url: str) -> Any:
        it = body(file, base_url)
        return {**it, "url": f"{it['url']}?signature={SIGNATURE}"}

    patch.setattr(ResultFile, "body", signed)
    patch.setattr(triggers, "FIRST_LOOK_AFTER", 0.0)
    for module, name in (
        (pace, "LONGEST_PAUSE"),
        (pace, "SHORTEST_SHARED_PAUSE"),
        (plan, "SHORTEST_SHARED_PAUSE"),
    ):
        patch.setattr(module, name, 0.05)
    patch.setattr("airflow_reportrun.sensors.SHORTEST_POKE_INTERVAL", 0.0)
    policy = ResendPolicy(
        max_tries=2, first_pause=0.01, first_refused=0.01, max_refused=0.05, on_refused=metrics.paused
    )
    for owner, name in (
        (StripeReportingHook, "resend_policy"),
        (StripeReportingAsyncHook, "resend_policy"),
        (plan, "PAUSES"),
    ):
        patch.setattr(owner, name, policy)
    unmask(patch)
    return World(stripe, s3, folder, patch)


def unmask(patch: pytest.MonkeyPatch) -> None:
    """Let Airflow mask nothing: what it knows to be a secret, from another test, too."""
    where = ("airflow._shared", "airflow.sdk._shared") if AIRFLOW >= (3, 2) else ("airflow.sdk.execution_time",)
    for name in where:
        with suppress(ImportError):
            module = importlib.import_module(f"{name}.secrets_masker")
            patch.setattr(module.SecretsMasker, "add_mask", lambda *args, **how: None)
            patch.setattr(module._secrets_masker(), "replacer", None)


def listening(it: World) -> ExitStack:
    """Keep what is logged, measured and told to OpenLineage."""
    for kind in ("incr", "timing", "gauge"):
        keep = partial(lambda *args, **more: it.evidence.add("a metric", [args, more]), kind)
        it.patch.setattr(Stats, kind, staticmethod(keep))
    stack = ExitStack()
    stack.enter_context(it.evidence.of_logs(but="uvicorn"))
    if find_spec("openlineage"):
        stack.enter_context(told_to(it.folder / "lineage.jsonl"))
    return stack


def found(it: World, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """Return where a secret is."""
    printed = capfd.readouterr()
    it.evidence.add("stdout and stderr", printed.out + printed.err)
    objects = (
        (f"object {key}", data) for key, data in it.s3.objects().items() if it.mark in key or key == it.mark
    )
    stored = [part for name, data in objects for part in readable(name, data)]
    return hits([*it.evidence.heard, *stored, *files(it.folder)], SECRETS)


# --- What goes well ------------------------------------------------------------------------------------------


def lands_in_a_store(world: World, **options: Any) -> None:
    root = f"s3://store@{world.s3.bucket}/{world.mark}/"
    world.land(StripeReportDownloadOperator, destination=root, **options)
    assert world.s3.objects(world.mark)


def lands_in_delta_on_s3(world: World) -> None:
    world.land(StripeReportToDeltaOperator, table=f"s3://store@{world.s3.bucket}/{world.mark}/table")
    assert world.s3.objects(world.mark)


def waits_for_its_data(world: World) -> None:
    world.stripe.configure(data_available_end=int(START.timestamp()))
    task = in_dag(
        StripeReportRunOperator,
        report_type=REPORT,
        deferrable=True,
        poll_interval=0.01,
        data_timeout=timedelta(days=9999),  # of the DAG run, before Airflow 3.3
        destination=f"{world.folder}/x.csv",
    )
    runner = Runner(evidence=world.evidence)
    tried = runner.run(task)
    world.stripe.configure(data_available_end=int(END.timestamp()))
    tried = runner.resume(task, tried)
    assert tried.state == "success", tried.error


def waits_for_a_run(world: World, **options: Any) -> None:
    world.stripe.configure(transition=AfterReads(2))
    given = world.report(destination=None, wait_for_completion=False).returned
    task = in_dag(StripeReportRunSensor, report_run_id=given, poke_interval=0.01, **options)
    world.run(task, deferred="deferrable" in options)


def waits_for_data(world: World, **options: Any) -> None:
    deferred = "deferrable" in options
    world.stripe.configure(data_available_end=int((START if deferred else END).timestamp()))
    task = in_dag(StripeReportTypeSensor, report_type=REPORT, poke_interval=0.01, **options)
    if not deferred:
        world.run(task)
        return
    runner = Runner(evidence=world.evidence)
    tried = runner.run(task)
    world.stripe.configure(data_available_end=int(END.timestamp()))
    assert runner.resume(task, tried).state == "success"


def begins_in_the_triggerer(world: World) -> None:
    if BEFORE_3_3:
        pytest.skip("the triggerer renders no templates before Airflow 3.3")
    from tests import triggerer

    given = world.report(destination=None).returned
    task = in_dag(StripeReportRunSensor, report_run_id=given, start_from_trigger=True, end_from_trigger=True)
    runner = Runner(evidence=world.evidence)
    trigger = triggerer.trigger_of(task, runner)
    world.evidence.add("the trigger", [trigger.serialize(), repr(trigger)])
    tried = triggerer.run(task, runner)
    assert tried.state == "success", tried.error
    world.evidence.add("its XComs", tried.xcoms)


def attaches_after_a_lost_answer(world: World) -> None:
    world.stripe.inject(Dropped(committed=True))
    task = in_dag(StripeReportRunOperator, report_type=REPORT, destination=f"{world.folder}/x.csv")
    runner = Runner(evidence=world.evidence)
    assert runner.run(task).state == "success"
    assert runner.run(task, try_number=2).state == "success"
    assert len(world.stripe.report_runs) == 1
    world.evidence.add("the state store", runner.store)


def goes_through_a_proxy(world: World, **options: Any) -> None:
    with proxy_to(world.stripe.url, f"me:{PROXY}") as proxy:
        url = f"http://me:{quote(PROXY, safe='')}@127.0.0.1:{proxy.port}"
        world.connect(extra={"timeout": 2, "proxies": url})
        world.stripe.configure(transition=AfterReads(1))
        world.report(**options)
        assert proxy.requests


def is_asked_by_commands(world: World) -> None:
    world.command("types")
    world.command("types", "balance.summary.1", "--output=json", "--verbose")
    world.command("run", REPORT, f"{world.folder}/lake/", "--interval=day", "--verbose")
    world.command("coverage", f"{world.folder}/lake/", "--stripe-conn-id=stripe_default", "--output=json")
    (world.folder / "books.py").write_text(DAG_FILE.format(root=world.folder))
    when = ("--from-date=2024-05-01", "--to-date=2024-05-02")
    world.command("plan", "books", f"--dag-file={world.folder}/books.py", *when, "--output=yaml")
    world.stripe.api_key = "sk_test_other"
    world.command("types", code=1)
    world.command("run", REPORT, f"{world.folder}/lake/", "--interval=day", "--verbose", code=1)


DAG_FILE = """
from datetime import UTC, datetime
from airflow.providers.common.compat.sdk import DAG
from airflow_reportrun.operators import StripeReportRunOperator

with DAG("books", schedule="@daily", start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
    StripeReportRunOperator(
        task_id="report", report_type="balance.summary.1", interval="day", destination="{root}/lake/"
    )
"""


def is_shown_on_the_page(world: World) -> None:
    """With a connection that works, and with one that does not."""
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi.testclient import TestClient

    from airflow_reportrun.page import server
    from airflow_reportrun.page.readings import Readings
    from tests.test_page import stored

    world.report(destination=f"{world.folder}/lake/")
    world.report(destination=f"s3://store@{world.s3.bucket}/{world.mark}/")
    dag = stored(
        lambda: [
            StripeReportRunOperator(task_id=f"to_{number}", report_type=REPORT, destination=root)
            for number, root in enumerate(
                (f"{world.folder}/lake/", f"s3://store@{world.s3.bucket}/{world.mark}/", "s3://store@nowhere/x/")
            )
        ]
    )
    world.patch.setitem(server.app.dependency_overrides, get_user, lambda: None)
    world.patch.setattr(server, "_stored", SimpleNamespace(read=lambda session: {"books": dag}))
    for name, nothing in {
        "read_rendered": {},
        "_readable": {"books"},
        "links_of": [],
        "runs_that_landed": [],
    }.items():
        world.patch.setattr(server, name, lambda *args, nothing=nothing: nothing)
    world.patch.setattr(server, "progress_of", lambda *args: [])
    client = TestClient(server.app)
    for key in (KEY, "sk_test_other"):
        world.stripe.api_key = key
        world.patch.setattr(server, "_contents", Readings(server._read))
        shown = client.get("/coverage").json()
        assert shown["series"]
        assert shown["problems"]
        world.evidence.add("the page", shown)
        for it in shown["series"]:
            end = it["start"] + it["lengths"][0][0]
            told = client.get("/interval", params={"series": it["id"], "end": end}).json()
            assert told["manifest"]
            world.evidence.add("an interval", told)


def is_tested_by_the_button(world: World) -> None:
    world.evidence.add("the Test button", StripeReportingHook().test_connection())
    for fields in (
        {"password": OTHER_KEY},
        {"host": f"http://127.0.0.1:{unused_port()}"},
        {"host": f"https://me:{KEY}@127.0.0.1"},
        {"extra": {"proxies": f"http://me:{OTHER_KEY}@"}},
    ):
        world.connect(**fields)
        works, message = StripeReportingHook().test_connection()
        assert not works
        world.evidence.add("the Test button", message)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


GOES_WELL: dict[str, Callable[[World], object]] = {
    "a file": lambda it: it.report(),
    "a file, deferred": lambda it: it.report(deferred=True),
    "a compressed file": lambda it: it.land(
        StripeReportDownloadOperator, destination=f"{it.folder}/x.csv.gz", format="csv.gz"
    ),
    "Parquet": lambda it: it.land(
        StripeReportDownloadOperator, destination=f"{it.folder}/x.parquet", format="parquet"
    ),
    "a file in S3": lands_in_a_store,
    "Parquet in S3": partial(lands_in_a_store, format="parquet"),
    "a table": lambda it: it.land(StripeReportToSqlOperator, table="activity", conn_id="warehouse"),
    "an Iceberg table": lambda it: it.land(
        StripeReportToIcebergOperator, table="books.activity", warehouse=f"{it.folder}/iceberg"
    ),
    "a Delta table": lambda it: it.land(StripeReportToDeltaOperator, table=f"{it.folder}/delta"),
    "a Delta table in S3": lands_in_delta_on_s3,
    "data that is waited for": waits_for_its_data,
    "a sensor of a run": waits_for_a_run,
    "a sensor of a run, deferred": partial(waits_for_a_run, deferrable=True),
    "a sensor of data": waits_for_data,
    "a sensor of data, deferred": partial(waits_for_data, deferrable=True),
    "a sensor that begins in the triggerer": begins_in_the_triggerer,
    "a lost answer and a retry": attaches_after_a_lost_answer,
    "a proxy": goes_through_a_proxy,
    "a proxy, deferred": partial(goes_through_a_proxy, deferred=True),
    "the commands": is_asked_by_commands,
    "the page": is_shown_on_the_page,
    "the Test button": is_tested_by_the_button,
}


@pytest.mark.parametrize(
    "scenario", [pytest.param(it, marks=needs_its_catalog) if "Iceberg" in it else it for it in GOES_WELL]
)
def test_no_secret_is_in_what_comes_of(world: World, scenario: str) -> None:
    """Each operator and sensor, in a worker and in a trigger, the commands and the page."""
    GOES_WELL[scenario](world)


# --- What fails, in a worker and in a trigger ----------------------------------------------------------------


def asks_with_a_restricted_key(world: World) -> None:
    world.stripe.api_key = "sk_test_other"
    world.stripe.add_key(KEY, ["file_read"])
    world.report("failed", "HTTP 403")


def redirects(world: World) -> Redirected:
    return Redirected(f"{world.elsewhere.url}/v1/x?signature={SIGNATURE}")


REFUSALS: dict[str, tuple[Callable[[World], Fault], str]] = {
    "401": (lambda it: KeyExpired(), "HTTP 401"),
    "429": (lambda it: RateLimited("endpoint-rate"), "HTTP 429"),
    "500": (lambda it: ServerError(), "HTTP 500"),
    "a connection that is dropped": (lambda it: Dropped(), "closed without an answer"),
    "a connection that is reset": (lambda it: Dropped(reset=True), "no whole answer"),
    "a page of a proxy": (lambda it: ProxyPage(503), "HTTP 503"),
    "a redirect to another host": (redirects, "redirects are not followed"),
    "what is not HTTP": (lambda it: Garbage(), "no whole answer"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("on", ["create", "contents", "retrieve"])
def test_no_secret_is_in_what_comes_of_a_refusal(world: World, refusal: str, on: str) -> None:
    """Of what creates a report run, of its file, and of a look at it in the trigger."""
    fault, said = REFUSALS[refusal]
    deferred = on == "retrieve"
    if not deferred:
        world.fail(fault(world), on=on)
        tried = world.report(state_after(refusal), said)
        assert tried.deferral is None
        return
    world.stripe.inject(fault(world), on=on, skip=1, times=2)
    world.stripe.inject(fault(world), on="list", times=2)
    world.report("failed" if refusal == "401" else "success", deferred=True)
    assert len(world.stripe.requests_to(on)) >= 2


def state_after(refusal: str) -> str:
    return "failed" if refusal == "401" else "up_for_retry"


def names_another_host(world: World, **options: Any) -> None:
    body = ResultFile.body
    elsewhere = f"{world.elsewhere.url}/v1/files/file_1/contents?signature={SIGNATURE}"
    world.patch.setattr(ResultFile, "body", lambda file, base_url: {**body(file, base_url), "url": elsewhere})
    world.report("failed", "on a host that the key is not for", **options)


def fails_with_a_secret_in_its_words(world: World, **options: Any) -> None:
    world.fail(RunFails(f"No: {KEY}, {OTHER_KEY}."))
    world.report("up_for_retry", "No: ***, ***.", **options)


def serves(world: World, contents: bytes) -> None:
    file = world.folder / "served"
    file.write_bytes(contents)
    world.stripe.serve_file(file)


def brings_a_damaged_file(world: World, contents: bytes = b'"a","b"\n"1\n') -> None:
    serves(world, contents)
    world.report("failed", "lacks columns")
    to = f"{world.folder}/x.parquet"
    world.land(StripeReportDownloadOperator, "failed", "lacks columns", destination=to, format="parquet")
    world.land(StripeReportToSqlOperator, "failed", "lacks columns", table="activity", conn_id="warehouse")


def brings_what_has_no_type(world: World) -> None:
    serves(world, b'"created","net"\n"yesterday","much"\n')
    to = f"{world.folder}/x.parquet"
    world.land(StripeReportDownloadOperator, "failed", destination=to, format="parquet")
    for kind, where in (
        (StripeReportToSqlOperator, {"conn_id": "warehouse"}),
        (StripeReportToIcebergOperator, {"warehouse": f"{world.folder}/iceberg"}),
    ):
        world.land(kind, "failed", table="books.activity" if "warehouse" in where else "activity", **where)
    world.land(StripeReportToDeltaOperator, "failed", table=f"{world.folder}/delta")


def brings_less_than_the_file(fault: Fault, said: str, world: World) -> None:
    world.fail(fault, on="contents")
    world.report("up_for_retry", said)


def has_no_file_any_more(world: World) -> None:
    given = world.report(destination=None).returned
    world.stripe.configure(file_lifetime=0)
    old = world.report(destination=None, fresh=True, interval="day").returned
    world.stripe.advance(10)
    for it in (given, old):
        task = in_dag(StripeReportDownloadOperator, report_run_id=it, destination=f"{world.folder}/x.csv")
        world.run(task, "success" if it is given else "failed", "" if it is given else "expired")


def has_no_connection(world: World, **options: Any) -> None:
    world.patch.delenv("AIRFLOW_CONN_STRIPE_DEFAULT")
    world.report("up_for_retry", "there is no Airflow connection", **options)


MALFORMED: dict[str, dict[str, Any]] = {
    "the key in the login": {"login": KEY, "password": None},
    "a key in the account": {"extra": {"stripe_account": OTHER_KEY}},
    "a key as a name": {"extra": {OTHER_KEY: "x"}},
    "an extra that is no JSON": {"extra": f'{{"proxies": "http://me:{OTHER_KEY}@p",}}'},
    "a password in the host": {"host": f"https://me:{OTHER_KEY}@api.stripe.com"},
    "a signature in the host": {"host": f"https://api.stripe.com/?signature={SIGNATURE}"},
    "a proxy that is none": {"extra": {"proxies": f"http://me:{OTHER_KEY}@:99999"}},
    "a password that is no key": {"password": STORE},
}


def has_malformed_connections(world: World) -> None:
    unknown = "up_for_retry", "One that Airflow can't parse looks the same"
    for name, fields in MALFORMED.items():
        world.connect(**fields)
        dropped = AIRFLOW == (3, 0) and name == "an extra that is no JSON"
        world.report(*(unknown if dropped else ("failed", "Connection 'stripe_default'")))
    # As one URI, which Airflow itself reads.
    world.patch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", f"stripe://:{KEY}@[half/?signature={SIGNATURE}")
    world.report(*unknown)


def is_echoed(world: World, **options: Any) -> None:
    """All of a request, in the words of an error of Stripe's form."""

    def echo(request: bytes) -> Iterator[bytes]:
        words = {"error": {"message": request.decode(), "code": KEY, "param": request.decode()}}
        yield answer(json.dumps(words).encode(), b"Request-Id: " + KEY.encode(), status=b"400 " + KEY.encode())

    with Wire(echo) as wire:
        world.connect(host=wire.url)
        world.report("failed", "Authorization: Bearer ***", **options)


def is_echoed_by_a_proxy(world: World, status: bytes = b"502 Bad Gateway") -> None:
    """All of a request, with the proxy's own credentials, in an error of Stripe's form."""

    def echo(request: bytes) -> Iterator[bytes]:
        yield answer(json.dumps({"error": {"message": request.decode()}}).encode(), status=status)

    with Wire(echo) as wire:
        proxies = f"http://me:{quote(PROXY, safe='')}@127.0.0.1:{wire.port}"
        world.connect(extra={"timeout": 2, "proxies": proxies})
        world.report("up_for_retry", "HTTP 502")
        world.evidence.add("the Test button", StripeReportingHook().test_connection())


def wants_credentials_for_its_proxy(world: World) -> None:
    with proxy_to(world.stripe.url, "me:another") as proxy:
        url = f"http://me:{quote(PROXY, safe='')}@127.0.0.1:{proxy.port}"
        world.connect(extra={"timeout": 2, "proxies": url})
        world.report("failed", "the proxy wants credentials")


def can_not_reach_the_store(world: World) -> None:
    where = {"endpoint_url": f"http://127.0.0.1:{unused_port()}", "region_name": "us-east-1"}
    where["config_kwargs"] = {"retries": {"max_attempts": 0}, "connect_timeout": 1}  # type: ignore[assignment]
    world.connection("STORE_AWAY", conn_type="aws", login="marked", password=STORE, extra=where)
    world.report("up_for_retry", destination=f"s3://store_away@{world.s3.bucket}/x/")


def is_refused_by_the_store(world: World) -> None:
    world.report("failed", "there is no 'nowhere'", destination="s3://store@nowhere/x/")
    world.land(StripeReportToDeltaOperator, "failed", table="s3://store@nowhere/x")


def can_not_reach_the_database(world: World) -> None:
    where = {"host": "127.0.0.1", "port": unused_port(), "login": "me", "schema": "books"}
    world.connection("WAREHOUSE", conn_type="postgres", password=DATABASE, **where)
    world.land(StripeReportToSqlOperator, "up_for_retry", table="activity", conn_id="warehouse")


def is_refused_by_a_catalog(world: World) -> None:
    echo = [
        answer(json.dumps({"error": {"message": CATALOG, "type": "x", "code": 401}}).encode(), status=b"401 No")
    ]
    with Wire(lambda request: iter(echo)) as wire:
        extra = {"s3.secret-access-key": STORE}
        world.connection("LAKE", conn_type="iceberg", host=wire.url, login="me", password=CATALOG, extra=extra)
        world.land(StripeReportToIcebergOperator, "failed", table="books.activity", catalog_conn_id="lake")
        assert wire.requests


def is_given_credentials_in_a_destination(world: World) -> None:
    said = "credentials belong into an Airflow connection"
    world.report("failed", said, destination=f"s3://me:{STORE.replace(' ', '')}@bucket/x.csv")
    world.land(StripeReportToDeltaOperator, "failed", said, table="s3://me:{{ 'secret' }}@bucket/x")


def takes_too_long(world: World, **options: Any) -> None:
    world.fail(RunNeverEnds())
    world.report("up_for_retry", "was not seen to end", timeout=1.5, **options)


FAILS: dict[str, Callable[[World], object]] = {
    "403": asks_with_a_restricted_key,
    "404": lambda it: it.run(in_dag(StripeReportRunSensor, report_run_id="frr_1"), "failed", "HTTP 404"),
    "another host named": names_another_host,
    "another host named, deferred": partial(names_another_host, deferred=True),
    "a failed run": fails_with_a_secret_in_its_words,
    "a failed run, deferred": partial(fails_with_a_secret_in_its_words, deferred=True),
    "a damaged file": brings_a_damaged_file,
    "a file without types": brings_what_has_no_type,
    "a short file": partial(brings_less_than_the_file, ShortContents(10), "brought 10 bytes"),
    "a cut file": partial(brings_less_than_the_file, CutBody(after=300), "no whole answer"),
    "an expired file": has_no_file_any_more,
    "no connection": has_no_connection,
    "malformed connections": has_malformed_connections,
    "an echo": is_echoed,
    "an echo of a proxy": is_echoed_by_a_proxy,
    "a proxy that wants credentials": wants_credentials_for_its_proxy,
    "a store that is not there": can_not_reach_the_store,
    "a store that refuses": is_refused_by_the_store,
    "a database that is not there": can_not_reach_the_database,
    "a catalog that refuses": is_refused_by_a_catalog,
    "credentials in a destination": is_given_credentials_in_a_destination,
    "a run that never ends": takes_too_long,
    "a run that never ends, deferred": partial(takes_too_long, deferred=True),
}


@pytest.mark.parametrize("scenario", FAILS)
def test_no_secret_is_in_what_comes_of_a_failure(world: World, scenario: str) -> None:
    """Of Stripe's, of the line, of a file, of a connection, of a store, of a database."""
    FAILS[scenario](world)


# --- The search itself ---------------------------------------------------------------------------------------


class Leaks(BaseOperator):
    """Does what it was told with the key."""

    template_fields = ("rendered",)

    def __init__(self, *, how: Callable[..., object], rendered: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rendered = rendered
        self._how = how

    def execute(self, context: Any) -> object:
        """Do it."""
        return self._how(self)


def raises(task: Leaks) -> None:
    try:
        raise ValueError(KEY)
    except ValueError:
        raise RuntimeError from None


def fails(task: Leaks) -> None:
    raise RuntimeError(KEY)


def defers(task: Leaks) -> None:
    now = time.time()
    task.defer(trigger=StripeReportRunTrigger(report_run_id=KEY, since=now, deadline=now), method_name="execute")


def leak(world: World, how: Callable[[Leaks], object], rendered: str = "") -> None:
    Runner(evidence=world.evidence).run(in_dag(Leaks, how=how, rendered=rendered))


def in_a_file(world: World) -> None:
    (world.folder / "deep").mkdir()
    with gzip.open(world.folder / "deep" / "x", "wb") as file:
        file.write(KEY.encode())


HALVES = "{{ '" + KEY[:12] + "' ~ '" + KEY[12:] + "' }}"
PLANTS: dict[str, tuple[str, Callable[[World], object]]] = {
    "a log": ("the log of urllib3", lambda it: logging.getLogger("urllib3").debug("a %s", KEY)),
    "a log of structlog": ("structlog", lambda it: structlog.get_logger("airflow.x").debug("a", token=KEY)),
    "stdout": ("stdout", lambda it: print(KEY)),  # noqa: T201
    "stderr": ("stdout", lambda it: print(KEY, file=sys.stderr)),  # noqa: T201
    "what C or a child prints": ("stdout", lambda it: os.write(1, KEY.encode())),
    "a rendered template": ("/rtif", lambda it: leak(it, how=lambda task: None, rendered=HALVES)),
    "an XCom": ("/xcoms/", lambda it: leak(it, lambda task: KEY)),
    "a trigger's arguments": ("/state", lambda it: leak(it, defers)),
    "what an error came of": ("a ValueError", lambda it: leak(it, raises)),
    "an error that OpenLineage is told": ("lineage.jsonl", lambda it: leak(it, fails)),
    "a metric": ("a metric", lambda it: metrics.REQUESTS.send(operation=KEY, status="200")),
    "a compressed file": ("deep/x, unpacked", in_a_file),
    "an object": (
        "object ",
        lambda it: it.s3.client.put_object(Bucket=it.s3.bucket, Key=f"{it.mark}/x", Body=KEY.encode()),
    ),
}


@pytest.mark.parametrize("place", PLANTS)
def test_the_search_finds_what_is_planted(
    stripe_sandbox: StripeSandbox,
    s3: S3,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    place: str,
) -> None:
    """In each place; or it would find nothing, whatever was there."""
    where, plant = PLANTS[place]
    if where == "lineage.jsonl" and not find_spec("openlineage"):
        pytest.skip("Airflow's provider of OpenLineage is not installed")
    it = marked(stripe_sandbox, s3, tmp_path, monkeypatch)
    with it.elsewhere, listening(it):
        plant(it)
    assert any(said.startswith("the key in ") and where in said.partition(": ")[0] for said in found(it, capfd))


@pytest.mark.parametrize("secret", [KEY, PROXY, "ü/?"])
@pytest.mark.parametrize("before", ["", "m", "me", "me:"])
def test_the_search_knows_how_a_secret_is_spelt(secret: str, before: str) -> None:
    """By itself, in a URL, in JSON, and in Base64 after whatever stands before it, as Basic credentials do."""
    joined = f"{before}{secret}"
    spelt = [joined, quote(joined, safe=""), quote_plus(joined), json.dumps(joined)]
    coded = joined.encode()
    spelt += [coder(coded + b":").decode() for coder in (base64.b64encode, base64.urlsafe_b64encode)]
    for text in spelt:
        assert hits([("x", f"a {text} b".encode())], {"it": secret}), text
    assert hits([("x", b"a sk_test_marked b")], {"it": secret}) == []
