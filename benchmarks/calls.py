"""A small call, to retrieve a report run, over a connection that is kept alive."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import urlsplit

from benchmarks.measuring import Comparison, Figures, compare, cost, fresh, serving
from benchmarks.servers import Stripe, stripe_sandbox

RUNS = 3
CALLS = 1000
AT_ONCE = 50
UNITS = {"cpu": "µs a call", "wall": "µs a call"}

Client = Callable[[Stripe], Callable[[], object]]
"""Loads what a client needs and returns one call."""


def run() -> Iterator[Comparison]:
    """Measure the client alone: each is a process of its own, as the sandbox is."""
    with serving(stripe_sandbox) as server:
        stripe = server.facts
        stripe.connect()
        contenders: dict[str, Callable[[], Figures]] = {
            "a socket, and json": partial(fresh, _calls, by_socket, stripe),
            "requests.Session by hand": partial(fresh, _calls, by_session, stripe),
            "HttpHook.run, as HttpSensor": partial(fresh, _calls, http_hook, stripe),
            "Stripe's SDK": partial(fresh, _calls, sdk, stripe),
            "ours": partial(fresh, _calls, ours, stripe),
            "ours async": partial(fresh, _calls_async, stripe, at_once=1),
            f"ours async, {AT_ONCE} at once": partial(fresh, _calls_async, stripe, at_once=AT_ONCE),
        }
        title = f"{CALLS:,} small calls, plain"
        note = "CPU is the client's, wall time is the sandbox's too."
        yield compare(title, UNITS, contenders, runs=RUNS, note=note)


def _calls(client: Client, stripe: Stripe) -> Figures:
    call = client(stripe)
    call()  # what only the first call does is not counted

    def work() -> None:
        for _ in range(CALLS):
            call()

    return _each(cost(work))


def _calls_async(stripe: Stripe, *, at_once: int) -> Figures:
    from airflow_reportrun.hooks import StripeReportingAsyncHook

    async def calls(hook: StripeReportingAsyncHook, number: int) -> None:
        for _ in range(number):
            await hook.retrieve_report_run_async(stripe.run_id)

    async def work(hook: StripeReportingAsyncHook, number: int) -> None:
        await asyncio.gather(*(calls(hook, number) for _ in range(at_once)))

    _without_pace()
    with asyncio.Runner() as runner:
        hook = StripeReportingAsyncHook()
        runner.run(work(hook, 1))
        figures = cost(lambda: runner.run(work(hook, CALLS // at_once)))
        runner.run(hook.__aexit__())
    return _each(figures)


def _without_pace() -> None:
    """Let the hooks go through their budget as ever, and find room each time: what a call takes is measured."""
    from airflow_reportrun.reporting import budget

    budget.SHARE = 1e6


def _each(figures: Figures) -> Figures:
    return {measure: figures[measure] * 1e6 / CALLS for measure in UNITS}


def by_socket(stripe: Stripe) -> Callable[[], object]:
    """Send a request that is ready and read only the length and the JSON of its answer: the floor."""
    parts = urlsplit(stripe.url)
    connection = socket.create_connection((parts.hostname, parts.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = (
        f"GET /v1/reporting/report_runs/{stripe.run_id} HTTP/1.1\r\n"
        f"Host: {parts.netloc}\r\nAuthorization: Bearer {stripe.api_key}\r\n\r\n"
    ).encode()

    def call() -> object:
        connection.sendall(request)
        answer = connection.recv(65536)
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += connection.recv(65536)
        head, body = answer[:end].lower(), answer[end + 4 :]
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += connection.recv(65536)
        return json.loads(body)

    return call


def by_session(stripe: Stripe) -> Callable[[], object]:
    """Keep one session, as a careful script does."""
    import requests

    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {stripe.api_key}"
    return lambda: session.get(f"{stripe.url}/v1/reporting/report_runs/{stripe.run_id}", timeout=60).json()


def http_hook(stripe: Stripe) -> Callable[[], object]:
    """Keep one hook; it takes a session of its own for each call."""
    from airflow.providers.http.hooks.http import HttpHook

    hook = HttpHook(method="GET")
    return lambda: hook.run(f"/v1/reporting/report_runs/{stripe.run_id}").json()


def sdk(stripe: Stripe) -> Callable[[], object]:
    """Keep one client, without telemetry."""
    import stripe as stripe_sdk

    stripe_sdk.enable_telemetry = False
    client = stripe_sdk.StripeClient(stripe.api_key, base_addresses={"api": stripe.url}, max_network_retries=0)
    return lambda: client.v1.reporting.report_runs.retrieve(stripe.run_id)


def ours(stripe: Stripe) -> Callable[[], object]:
    """Keep one hook, as an operator does."""
    from airflow_reportrun.hooks import StripeReportingHook

    _without_pace()
    hook = StripeReportingHook()
    return lambda: hook.retrieve_report_run(stripe.run_id)
