"""The demo's proof has to be able to fail, or it would prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.report import land_report
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.outcomes import result
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from demo.proof import DAY, Landed, prove

REPORT_TYPE = "balance_change_from_activity.itemized.3"
FIRST = datetime(2024, 5, 1, tzinfo=UTC)
BEGIN = int(FIRST.timestamp())


def land_day(hook: StripeReportingHook, start: int, folder: Path) -> Landed:
    """Do for one day what the demo's task does."""
    run = hook.create_report_run(REPORT_TYPE, ReportParameters(interval_start=start, interval_end=start + DAY))
    return Landed.of(result(run, landed=land_report(hook, run, place_of(f"{folder}/{start}.csv"))))


def change_a_byte(hook: StripeReportingHook, landed: list[Landed]) -> list[Landed]:
    path = landed[0].path
    path.write_bytes(path.read_bytes().replace(b"charge", b"change", 1))
    return landed


def create_one_twice(hook: StripeReportingHook, landed: list[Landed]) -> list[Landed]:
    land_day(hook, BEGIN, landed[0].path.parent)
    return landed


def take_one_day_twice(hook: StripeReportingHook, landed: list[Landed]) -> list[Landed]:
    return [landed[0], replace(landed[0], start=landed[1].start)]


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (lambda hook, landed: landed, None),
        (lambda hook, landed: landed[:1], "missing"),
        (change_a_byte, "is not the file that was landed"),
        (create_one_twice, "3 report runs were created for 2 intervals"),
        (take_one_day_twice, "do not add up"),
    ],
)
def test_the_proof_sees_what_is_not_as_it_should_be(
    stripe_conn: StripeSandbox,
    tmp_path: Path,
    tamper: Callable[[StripeReportingHook, list[Landed]], list[Landed]],
    problem: str | None,
) -> None:
    """Green for two whole days, red for a day missing, doubled, changed, or taken for another."""
    stripe_conn.configure(transition=AtOnce())
    hook = StripeReportingHook()
    landed = tamper(hook, [land_day(hook, BEGIN + day * DAY, tmp_path) for day in range(2)])
    problems = prove(hook, landed, REPORT_TYPE, FIRST, 2, since=0)
    assert problems == [] if problem is None else any(problem in found for found in problems)
