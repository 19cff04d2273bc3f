"""What the benchmarks make of their figures; the figures themselves are for ``make bench``."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import RateLimited, StripeSandbox
from benchmarks import __main__ as bench
from benchmarks import triggerer, waiting
from benchmarks.live.triggers import EVERY, LagTrigger
from benchmarks.measuring import Comparison, compare, cost, fresh, median, serving
from benchmarks.servers import Stripe, job_api
from benchmarks.skipping import LATENCY, SkippedTime, SkippingLoop, skip_here
from benchmarks.triggerer import Looked

pytestmark = pytest.mark.slow


@pytest.fixture
def comparison() -> Comparison:
    return Comparison(
        "download",
        {"cpu": "s", "memory": "MiB"},
        {"curl": {"cpu": 2.0}, "ours": {"cpu": 1.5, "memory": 12.0}},
        note="on this machine",
    )


def test_record_names_the_row_that_its_ratio_divides_by(comparison: Comparison) -> None:
    """Each ratio can be computed again from the values of the two records that it names."""
    records = {record["name"]: record for record in comparison.records()}

    ours = records["download: ours, cpu"]
    assert ours == {
        "name": "download: ours, cpu",
        "value": 1.5,
        "unit": "s",
        "against": "download: curl, cpu",
        "ratio": 0.75,
    }
    assert ours["against"] is not None
    assert ours["value"] / records[ours["against"]]["value"] == ours["ratio"]


def test_baseline_is_compared_with_nothing(comparison: Comparison) -> None:
    """The first contender has no ratio, nor has a measure that the first one lacks."""
    records = {record["name"]: record for record in comparison.records()}

    assert [name for name, record in records.items() if record["ratio"] is None] == [
        "download: curl, cpu",
        "download: ours, memory",
    ]
    assert all(record["against"] is None for record in records.values() if record["ratio"] is None)


def test_ratio_to_nothing_is_left_out() -> None:
    """A baseline of zero does not divide."""
    records = Comparison("import", {"wall": "s"}, {"base": {"wall": 0.0}, "ours": {"wall": 1.0}}).records()

    assert [(record["against"], record["ratio"]) for record in records] == [(None, None), (None, None)]


def test_records_are_json(comparison: Comparison) -> None:
    """The file holds what the records say, the missing figure left out."""
    assert json.loads(json.dumps(comparison.records())) == comparison.records()
    assert len(comparison.records()) == 3


def test_the_file_keeps_what_was_not_run(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A subject's records take the place of its own alone, and are there when a later one fails."""

    def fails() -> Iterator[Comparison]:
        raise KeyboardInterrupt
        yield

    def ran(*subjects: str) -> list[tuple[str, str]]:
        monkeypatch.setattr("sys.argv", ["benchmarks", *subjects])
        with suppress(KeyboardInterrupt):
            bench.main()
        return [(it["subject"], it["name"]) for it in json.loads(bench.RECORDS.read_text())]

    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # which it removes
    monkeypatch.setattr(bench, "RECORDS", tmp_path / "build" / "bench.json")
    monkeypatch.setattr(bench, "SUBJECTS", {"one": lambda: iter([comparison]), "fails": fails})
    monkeypatch.setattr(bench, "LONG", {"long": lambda: iter([comparison])})
    names = [record["name"] for record in comparison.records()]

    assert ran("one", "fails") == [("one", name) for name in names]
    assert ran("long") == [("one", name) for name in names] + [("long", name) for name in names]
    assert ran("one") == [("long", name) for name in names] + [("one", name) for name in names]


def test_too_few_that_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything starts: a trigger's memory is what it adds to a few."""
    monkeypatch.setattr(triggerer, "WAITING", triggerer.FEW)
    with pytest.raises(SystemExit, match="WAITING is more than 20, whose"):
        next(triggerer.run_waiting())


def test_table_shows_a_line_a_contender(comparison: Comparison) -> None:
    """The units are in the head, the ratio beside each figure, a figure that is missing leaves its cell empty."""
    assert [line.rstrip() for line in comparison.table().splitlines()] == [
        "download       cpu [s]  memory [MiB]",
        "------------------------------------",
        "curl      2.00",
        "ours      1.50  x 0.75  12.0",
        "on this machine",
    ]


def test_contenders_take_turns() -> None:
    """No contender has the machine's quiet minutes to itself, and the median of its runs is what counts."""
    turns: list[str] = []

    values = {"first": iter([1.0, 9.0, 2.0]), "second": iter([4.0, 8.0, 100.0])}

    def take(name: str) -> dict[str, float]:
        turns.append(name)
        return {"wall": next(values[name])}

    comparison = compare(
        "race", {"wall": "s"}, {"first": lambda: take("first"), "second": lambda: take("second")}, runs=3
    )

    assert turns == ["first", "second"] * 3
    assert comparison.medians == {"first": {"wall": 2.0}, "second": {"wall": 8.0}}
    assert comparison.note == "Medians of 3."


def test_measures_have_medians_of_their_own() -> None:
    """The run with the median time need not be the one with the median memory."""
    runs = [{"cpu": 1.0, "memory": 30.0}, {"cpu": 2.0, "memory": 10.0}, {"cpu": 3.0, "memory": 20.0}]

    assert median(runs) == {"cpu": 2.0, "memory": 20.0}


def test_of_times_the_least_may_count() -> None:
    """And of memory the median still."""
    runs = [{"cpu": 1.0, "memory": 30.0}, {"cpu": 2.0, "memory": 10.0}, {"cpu": 3.0, "memory": 20.0}]

    assert median(runs, least=True) == {"cpu": 1.0, "memory": 20.0}


def test_cost_tells_of_children_what_can_be_known() -> None:
    """The peak memory of a command that has ended is not told apart from that of others."""
    assert set(cost(lambda: None)) == {"cpu", "wall", "memory"}
    assert set(cost(lambda: None, children=True)) == {"cpu", "wall"}


def test_a_look_is_an_answer_that_shows_the_run(stripe_conn: StripeSandbox) -> None:
    """A retrieve and a page of a list are each one, and a refused request is none."""
    looked = Looked()
    stripe_conn.configure(transition=looked)
    stripe_conn.inject(RateLimited(), times=2, on="retrieve")
    hook = StripeReportingHook()
    hook.sleep = lambda seconds: None
    run = hook.create_report_run(
        "balance.summary.1", ReportParameters(interval_start=1_767_225_600, interval_end=1_767_312_000)
    )

    assert hook.retrieve_report_run(run.id).status == "pending"
    between = time.time()
    assert [it.id for it in hook.list_report_runs()] == [run.id]
    assert [request.status for request in stripe_conn.requests_to("retrieve")] == [429, 429, 200]
    assert len(looked.looks) == 3  # the create shows it, too
    assert looked.first_since(between) == looked.looks[-1]
    looked.over = True
    assert hook.retrieve_report_run(run.id).status == "succeeded"


def test_a_blocked_loop_is_measured(tmp_path: Path) -> None:
    """The trigger that measures tells of its process, and of what kept the event loop from waking it."""
    path, blocked = tmp_path / "lag", 5 * EVERY

    async def block() -> None:
        task = asyncio.ensure_future(anext(LagTrigger(path=str(path)).run()))
        await asyncio.sleep(2.5 * EVERY)
        time.sleep(blocked)  # noqa: ASYNC251 - what is measured
        await asyncio.sleep(2.5 * EVERY)
        task.cancel()

    asyncio.run(block())
    process, *lines = path.read_text().splitlines()
    assert int(process) == os.getpid()
    assert max(float(line.split()[1]) for line in lines) > blocked - EVERY


def test_an_hour_of_waiting_is_skipped(tmp_path: Path) -> None:
    """The loop's own time has passed it, and so has the clock of a process that shares the file."""
    skipped = SkippedTime(tmp_path / "clock")

    async def an_hour() -> float:
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time() - began

    began = time.monotonic()
    with asyncio.Runner(loop_factory=lambda: SkippingLoop(skipped)) as runner:
        assert runner.run(an_hour()) == pytest.approx(3600)

    assert time.monotonic() - began < 60
    assert SkippedTime(tmp_path / "clock").time() == pytest.approx(time.time() + 3600, abs=60)


def test_time_stands_still_while_a_thread_works(tmp_path: Path) -> None:
    """What takes a tenth of a second ends before what takes an hour."""
    ended: list[str] = []

    async def both() -> None:
        hour = asyncio.create_task(asyncio.sleep(3600))
        hour.add_done_callback(lambda _: ended.append("hour"))
        await asyncio.to_thread(time.sleep, 0.1)
        ended.append("thread")
        await hour

    with asyncio.Runner(loop_factory=lambda: SkippingLoop(SkippedTime(tmp_path / "clock"))) as runner:
        runner.run(both())

    assert ended == ["thread", "hour"]


def test_time_stands_still_while_a_request_is_under_way(tmp_path: Path) -> None:
    """An answer that is read, or left, takes its latency and no more, and an hour passes after it."""
    with serving(waiting.jobs, tmp_path / "clock", [0.0, 600.0], tmp_path / "shown") as server:
        took, skipped = fresh(_requests, server.facts, tmp_path / "clock")

    assert 4 * LATENCY[0] <= took <= 4 * LATENCY[1]
    assert skipped == pytest.approx(3600)


def _requests(api: Stripe, clock: Path) -> tuple[float, float]:
    loop_factory = skip_here(clock)
    import aiohttp

    async def ask() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        hour = asyncio.create_task(asyncio.sleep(3600))
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                await session.post(f"{api.url}/v1/reporting/report_runs")  # left as it comes
            async with session.get(f"{api.url}/jobs/1") as answer:
                await answer.read()
            async with session.get(f"{api.url}/jobs/2") as answer:
                assert answer.status == 404
        took = loop.time() - began
        await hour
        return took, loop.time() - began

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(ask())


def test_ages_are_those_of_a_backfill() -> None:
    """A minute in the median, ten for one of twenty, an hour for one of a hundred; and always the same."""
    drawn = sorted(waiting.ages(2000))

    assert sorted(waiting.ages(2000)) == drawn
    assert statistics.median(drawn) == pytest.approx(60, rel=0.15)
    assert drawn[1900] == pytest.approx(600, rel=0.3)
    assert 10 <= sum(3000 < age < 4200 for age in drawn) <= 40


def test_peak_is_of_any_second() -> None:
    """Not of those that begin with the clock's."""
    assert waiting.peak([9.0, 0.6, 0.9, 1.0, 1.5, 1.6]) == 4
    assert waiting.peak([]) == 0


@pytest.mark.parametrize("name", ["each by itself", "ours", "HttpSensor, every 60 s"])
def test_each_trigger_fires_after_its_run_has_ended(name: str) -> None:
    """Its delay is no less than nothing, it has asked more than once, and nothing was refused to so few."""
    figures = waiting.waits(waiting.contenders(peers=True)[name], 6)

    assert set(figures) == set(waiting.UNITS)
    assert figures["requests"] > 0
    assert 0 <= figures["delay p50"] <= figures["delay p95"] < 900
    assert (figures["429s"], figures["lost"]) == (0, 0)
    assert figures["cpu"] > 0


def test_a_restart_is_over_when_each_run_was_shown() -> None:
    """So few are seen within the first pass."""
    figures = waiting.restart(waiting.contenders()["ours"], 6)

    assert 0 < figures["seen"] < 60
    assert figures["requests"] > 0
    assert figures["429s"] == 0


def test_jobs_are_limited_as_an_account_is(tmp_path: Path) -> None:
    """The 404 until the end is what a deferred HttpSensor takes for one, and the 429 is none."""
    skipped = SkippedTime(tmp_path / "clock")
    statuses: list[int] = []
    with job_api(skipped, [0.0, 600.0], tmp_path / "log", limit=4) as api:
        for path, body in (("v1/reporting/report_runs", b""), ("v1/reporting/report_runs", b"")):
            urllib.request.urlopen(f"{api.url}/{path}", body).close()  # noqa: S310 - our own
        for path in ("jobs/1", "jobs/2", "jobs/1"):
            statuses.append(_status(f"{api.url}/{path}"))
        skipped.skip(601)
        with urllib.request.urlopen(f"{api.url}/api/v2/accounts/1/runs/2/") as answer:  # noqa: S310 - our own
            assert json.load(answer)["data"] == {"id": 2, "status": 10}
    told = json.loads((tmp_path / "log").read_text())

    assert statuses == [200, 404, 429]
    assert [status for _, _, status in told["requests"]] == [200, 200, 200, 404, 429, 200]
    assert [name for name, _ in told["ended"]] == ["1", "2"]


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
