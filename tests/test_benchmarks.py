"""What the benchmarks make of their figures; the figures themselves are for ``make bench``."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import RateLimited, StripeSandbox
from benchmarks.live.triggers import EVERY, LagTrigger
from benchmarks.measuring import Comparison, compare, cost, median
from benchmarks.triggerer import Looked


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
