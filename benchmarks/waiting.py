"""Hundreds of report runs that are waited for at once, within the limit of a test account.

Stripe is the sandbox, in a process of its own, and time passes only where somebody waits for it
(`benchmarks.skipping`). The triggers run as in a triggerer: real ones, on one event loop.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import math
import os
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from benchmarks.measuring import Comparison, Figures, fresh, serving
from benchmarks.servers import INTERVAL, Stripe, job_api
from benchmarks.skipping import SkippedTime, skip_here

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

RUNS = 365
MORE_RUNS = 1000
MOST_RUNS = 2000
CREATES = 15.0
"""Report runs that come to be in a second: the test limit's share of those who create."""
FIRST_LOOK_AFTER = 10.0
MOST_TRIES = 6
OUTAGE = 60.0
WATCHED = 600.0
WORKERS = 100
UNITS = {
    "requests": "a run",
    "peak": "requests/s",
    "429s": "answers",
    "delay p50": "s",
    "delay p95": "s",
    "cpu": "ms a run",
    "lost": "creates",
}
NOTE = (
    "Delays are from a run's end, or from the time of the first look where it ended before. Requests are looks. "
    "A create is lost when six tries were refused. HttpSensor and dbt Cloud's are asked without a limit: at one, "
    "HttpSensor's trigger asks again at once after a 429."
)

RESTART_UNITS = {"seen": "s", "requests": "a run", "429s": "answers", "lost": "creates"}
RESTART_NOTE = (
    "Until Stripe has shown each of the runs, and the requests until then; others create runs meanwhile, and lose "
    "those that were refused six times."
)


@dataclass(frozen=True)
class Contender:
    """Something that waits.

    :param trigger: makes the trigger for what `create` gave.
    :param serve: the API that it asks: it is given the clock's file, the ages at which what is created ends, and
        where to write when what was shown first.
    :param first_look_after: seconds from the create to the first look.
    :param extra: of the connection to Stripe.
    """

    trigger: Callable[[str, float], BaseTrigger]
    serve: Callable[[Path, Sequence[float], Path], AbstractContextManager[Stripe]]
    first_look_after: float = FIRST_LOOK_AFTER
    extra: dict[str, Any] = field(default_factory=dict)


def run() -> Iterator[Comparison]:
    """Measure a backfill of a year, larger ones, and a triggerer that comes back."""
    yield _waits(RUNS, contenders(peers=True))
    yield _waits(MORE_RUNS, contenders())
    yield restarts(MORE_RUNS)


def run_huge() -> Iterator[Comparison]:
    """Measure a backfill of five years and a half, and what HttpSensor does at a limit."""
    yield _waits(MOST_RUNS, contenders())
    limited = Contender(partial(http_sensor, interval=60.0), limited_jobs, first_look_after=0.0)
    yield _waits(RUNS, {"HttpSensor, every 60 s, at the limit": limited})


def contenders(*, peers: bool = False) -> dict[str, Contender]:
    """Return those who wait for report runs, and with ``peers`` those who wait for other things."""
    found = {
        "each by itself": Contender(polling, limited_stripe),
        "ours": Contender(ours, limited_stripe),
    }
    if _knows_events():
        found["ours, with use_events"] = Contender(ours, limited_stripe, extra={"use_events": True})
    if peers:
        sensor = partial(Contender, first_look_after=0.0)
        found["HttpSensor, every 60 s"] = sensor(partial(http_sensor, interval=60.0), jobs)
        found["HttpSensor, every 10 s"] = sensor(partial(http_sensor, interval=10.0), jobs)
        found["dbt Cloud's, every 60 s"] = sensor(dbt_cloud, jobs)
    return found


def _knows_events() -> bool:
    return fresh(_has_field, "use_events")


def _has_field(name: str) -> bool:
    from airflow_reportrun.wire.connection import ConnectionSettings

    return name in ConnectionSettings.__dataclass_fields__


def ages(number: int) -> list[float]:
    """Draw how many seconds each report run takes: a minute in the median, ten for one of twenty, some an hour."""
    drawn = random.Random(number)  # noqa: S311 - guards nothing
    sigma = math.log(600 / 60) / statistics.NormalDist().inv_cdf(0.95)
    return [
        drawn.gauss(3600, 120) if drawn.random() < 0.01 else drawn.lognormvariate(math.log(60), sigma)
        for _ in range(number)
    ]


def _waits(number: int, those: dict[str, Contender]) -> Comparison:
    medians = {name: waits(contender, number) for name, contender in those.items()}
    return Comparison(f"{number:,} report runs", UNITS, medians, NOTE)


# What is asked


@contextmanager
def limited_stripe(clock: Path, ages: Sequence[float], shown: Path) -> Iterator[Stripe]:
    """Serve the sandbox with the limits of a test account; runs end at these ages, in the order of creates."""
    from airflow_reportrun.sandbox import AfterSeconds, RateLimits, RequestRecord, StripeSandbox
    from airflow_reportrun.sandbox.runs import ReportRun

    skipped, left, looks = SkippedTime(clock), iter(ages), list[tuple[str, float]]()
    body = ReportRun.body

    def noted(run: ReportRun, base_url: str) -> Any:
        looks.append((run.id, skipped.time()))
        return body(run, base_url)

    def next_run(record: RequestRecord) -> None:
        if record.operation == "create" and record.status == 200:
            sandbox.configure(transition=AfterSeconds(next(left, math.inf)))

    with tempfile.TemporaryDirectory() as name:
        report = Path(name) / "report.csv"
        report.write_text("category\n")
        sandbox = StripeSandbox(
            clock=skipped.time,
            rate_limits=RateLimits(),
            transition=AfterSeconds(next(left)),
            on_request=next_run,
        )
        ReportRun.body = noted  # type: ignore[assignment, method-assign]
        with sandbox:
            sandbox.serve_file(report)
            yield Stripe(sandbox.url, sandbox.api_key, run_id="")
        ReportRun.body = body  # type: ignore[method-assign]
        ended = [(run.id, at) for run, at in zip(sandbox.report_runs, _ends(sandbox.requests, ages), strict=True)]
        requests = [(record.operation, record.at, record.status) for record in sandbox.requests]
        shown.write_text(json.dumps({"requests": requests, "ended": ended, "shown": looks}))


def _ends(requests: Sequence[Any], ages: Sequence[float]) -> list[float]:
    created = [record.at for record in requests if record.operation == "create" and record.status == 200]
    return [at + (ages[number] if number < len(ages) else math.inf) for number, at in enumerate(created)]


def limited_jobs(clock: Path, ages: Sequence[float], shown: Path) -> AbstractContextManager[Stripe]:
    """Serve something that is not there until it has ended, with the limit of a test account."""
    return job_api(SkippedTime(clock), ages, shown, limit=25)


def jobs(clock: Path, ages: Sequence[float], shown: Path) -> AbstractContextManager[Stripe]:
    """Serve something that is not there until it has ended, and dbt Cloud's runs, without a limit."""
    return job_api(SkippedTime(clock), ages, shown)


# Who asks


def polling(run_id: str, created: float) -> BaseTrigger:
    """Wait as this package's first triggers did."""
    from benchmarks.polling import PollingTrigger

    return PollingTrigger(run_id, created, created + FIRST_LOOK_AFTER)


def ours(run_id: str, created: float) -> BaseTrigger:
    """Wait as the operator does."""
    from airflow_reportrun.triggers import StripeReportRunTrigger

    return StripeReportRunTrigger(
        report_run_id=run_id, since=created, not_before=created + FIRST_LOOK_AFTER, deadline=created + 86_400
    )


def http_sensor(run_id: str, created: float, *, interval: float) -> BaseTrigger:
    """Wait as a deferred HttpSensor does.

    It ends at the first answer that is no error, and a report run's is none while the run is pending; with a
    ``response_check``, which could tell, it does not defer at all. So it is given what answers 404 until the end.
    """
    from airflow.providers.http.triggers.http import HttpSensorTrigger

    return HttpSensorTrigger(endpoint=f"/jobs/{run_id}", poke_interval=interval)


def dbt_cloud(run_id: str, created: float) -> BaseTrigger:
    """Wait as dbt Cloud's operator does by default, but without TLS, of which it has a handshake for each look."""
    from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    hook: Any = DbtCloudHook  # whether or not mypy finds the provider
    hook.get_request_url_params = staticmethod(
        lambda tenant, endpoint, include_related=None: (f"http://{tenant}/api/v2/accounts/{endpoint}", {})
    )
    trigger: BaseTrigger = DbtCloudRunJobTrigger(
        "dbt_cloud_default", int(run_id), created + 86_400, 60, account_id=1
    )
    return trigger


# A backfill


def waits(contender: Contender, number: int) -> Figures:
    """Wait for so many runs."""
    with tempfile.TemporaryDirectory() as name:
        clock, shown = Path(name) / "clock", Path(name) / "shown.json"
        with serving(contender.serve, clock, [0.0, *ages(number)], shown) as server:
            _connect(server.facts, contender)
            done: _Done = fresh(_wait_for_all, contender, server.facts, clock, number)
        told = json.loads(shown.read_text())
    ends = dict(told["ended"])
    delays = sorted(
        at - max(ends[run_id], done.created[run_id] + contender.first_look_after) for run_id, at in done.fired
    )
    if len(delays) != number:
        raise RuntimeError(f"{len(delays)} of {number} triggers have fired")
    looks = _looks(told, done.began)
    return {
        "requests": len(looks) / number,
        "peak": peak([at for at, _ in looks]),
        "429s": sum(status == 429 for _, status in looks),
        "delay p50": statistics.median(delays),
        "delay p95": delays[int(len(delays) * 0.95)],
        "cpu": done.cpu * 1e3 / number,
        "lost": done.lost,
    }


def _looks(told: Any, began: float, until: float = math.inf) -> list[tuple[float, int]]:
    return [
        (at, status)
        for operation, at, status in told["requests"]
        if operation != "create" and began <= at <= until
    ]


def peak(instants: Sequence[float]) -> int:
    """Return the most of them that are in any second."""
    ordered, first, most = sorted(instants), 0, 0
    for last, at in enumerate(ordered):
        while ordered[first] <= at - 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def _connect(stripe: Stripe, contender: Contender) -> None:
    for name, host, more in (
        ("stripe", stripe.url, {"extra": contender.extra}),
        ("http", stripe.url, {"login": "key"}),
        ("dbt_cloud", urlsplit(stripe.url).netloc, {}),
    ):
        connection = {"conn_type": name, "host": host, "password": stripe.api_key, **more}
        os.environ[f"AIRFLOW_CONN_{name.upper()}_DEFAULT"] = json.dumps(connection)


@dataclass
class _Done:
    """What a process that waited tells of it.

    Times of the creates, the events and the beginning are in Unix seconds, ``cpu`` is in seconds, ``lost`` counts.
    """

    created: dict[str, float] = field(default_factory=dict)
    fired: list[tuple[str, float]] = field(default_factory=list)
    cpu: float = 0.0
    lost: int = 0
    began: float = 0.0


def _wait_for_all(contender: Contender, stripe: Stripe, clock: Path, number: int) -> _Done:
    done = _Done()

    async def one(creates: _Creates, place: int) -> None:
        await asyncio.sleep(place / CREATES)
        run_id, created = await creates.one()
        done.created[run_id] = created
        await _fire(contender, run_id, created, done)

    async def work() -> None:
        creates = _Creates(stripe)
        await _warm_up(contender, creates)
        done.began, before = time.time(), time.process_time()
        await asyncio.gather(*(one(creates, place) for place in range(number)))
        done.cpu = time.process_time() - before - creates.cpu
        done.lost = creates.lost

    _skipping(clock, work)
    return done


async def _warm_up(contender: Contender, creates: _Creates) -> None:
    """Wait for a first one, which has ended: what only that one loads is not counted."""
    run_id, created = await creates.one()
    await _fire(contender, run_id, created - FIRST_LOOK_AFTER, _Done())
    await asyncio.sleep(1)
    creates.cpu = 0.0


async def _fire(contender: Contender, run_id: str, created: float, done: _Done) -> None:
    async for event in contender.trigger(run_id, created).run():
        done.fired.append((run_id, time.time()))
        how = event.payload if isinstance(event.payload, dict) else {"status": "success"}
        if how.get("outcome", how.get("status")) not in ("succeeded", "success"):
            raise RuntimeError(f"{run_id}: {how}")


def _skipping(clock: Path, work: Callable[[], Any]) -> None:
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"  # a line for each look would be measured, too
    warnings.simplefilter("ignore")
    with asyncio.Runner(loop_factory=skip_here(clock)) as runner:
        runner.run(work())


class _Creates:
    """Creates, as tasks in workers would: each has six tries, and begins anew when these were refused.

    :param stripe: or what stands in for it.
    """

    def __init__(self, stripe: Stripe) -> None:
        self.cpu = 0.0
        self.lost = 0
        self._address = urlsplit(stripe.url).netloc
        self._headers = {
            "Authorization": f"Bearer {stripe.api_key}",
            "Content-Type": "application/x-www-form-urlencoded",
        }

    async def one(self) -> tuple[str, float]:
        """Return the id of a new run, and when it came to be."""
        while True:
            for tries in range(MOST_TRIES):
                if tries:
                    await asyncio.sleep(0.5 * 2.0 ** (tries - 1) * random.uniform(0.5, 1.0))  # noqa: S311
                if run := self._try():
                    return run
            self.lost += 1
            await asyncio.sleep(60)

    def _try(self) -> tuple[str, float] | None:
        """Send the request, and wait: so it is told how much CPU it takes."""
        before = time.process_time()
        form = urlencode({"report_type": "balance.summary.1", **INTERVAL})
        with closing(http.client.HTTPConnection(self._address)) as connection:
            connection.request("POST", "/v1/reporting/report_runs", form, self._headers)
            answer = connection.getresponse()
            body = answer.read()
        run = (str(json.loads(body)["id"]), time.time()) if answer.status == 200 else None
        self.cpu += time.process_time() - before
        if answer.status not in (200, 429):
            raise RuntimeError(f"a create was answered with {answer.status}: {body!r:.200}")
        return run


# A restart


def restarts(number: int) -> Comparison:
    """Measure triggers that all subscribe at once: their triggerer was killed, and comes back a minute later."""
    medians = {name: restart(contender, number) for name, contender in contenders().items()}
    return Comparison(f"{number:,} pending, after a kill", RESTART_UNITS, medians, RESTART_NOTE)


def restart(contender: Contender, number: int) -> Figures:
    """Let so many triggers come back."""
    with tempfile.TemporaryDirectory() as name:
        clock, shown = Path(name) / "clock", Path(name) / "shown.json"
        with serving(contender.serve, clock, [0.0, *[7200.0] * (number + WORKERS)], shown) as server:
            _connect(server.facts, contender)
            done: _Done = fresh(_come_back, contender, server.facts, clock, number)
        told = json.loads(shown.read_text())
    first: dict[str, float] = {}
    for run_id, at in told["shown"]:
        if at >= done.began and run_id in done.created:
            first.setdefault(run_id, at)
    seen = max(first.values()) if len(first) == number else math.inf
    looks = _looks(told, done.began, seen)
    return {
        **({"seen": seen - done.began} if len(first) == number else {}),
        "requests": len(looks) / number,
        "429s": sum(status == 429 for _, status in looks),
        "lost": done.lost,
    }


def _come_back(contender: Contender, stripe: Stripe, clock: Path, number: int) -> _Done:
    done = _Done()

    async def work() -> None:
        creates = _Creates(stripe)
        await _warm_up(contender, creates)
        for _ in range(number):
            await asyncio.sleep(1 / CREATES)
            run_id, created = await creates.one()
            done.created[run_id] = created
        await asyncio.sleep(OUTAGE)
        done.began = time.time()
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(_fire(contender, *run, done)) for run in done.created.items()]
            workers = [group.create_task(_late(creates, place)) for place in range(WORKERS)]
            await asyncio.wait(workers)
            await asyncio.sleep(max(0.0, done.began + WATCHED - time.time()))
            for task in waiting:
                task.cancel()
        done.lost = creates.lost

    async def _late(creates: _Creates, place: int) -> None:
        await asyncio.sleep(place * WATCHED / 2 / WORKERS)
        await creates.one()

    _skipping(clock, work)
    return done
