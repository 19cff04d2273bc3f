"""Two thousand report runs through one connection, with Stripe's limits on; ``RUNS=200`` for fewer."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.manifest import Manifest
from airflow_reportrun.landing.report import land_report
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AfterSeconds, RateLimits, StripeSandbox
from airflow_reportrun.triggers import StripeReportRunTrigger

RUNS = int(os.environ.get("RUNS", "2000"))
HOUR = 3600
FIRST = 1_704_067_200
REPORT_TYPE = "balance.summary.1"
log = logging.getLogger(__name__)


def test_report_runs_go_through_one_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour each, created by 16 threads, waited for by as many triggers, and landed by eight threads."""
    limits, end = RateLimits(), FIRST + RUNS * HOUR
    with StripeSandbox(transition=AfterSeconds(20), rate_limits=limits, data_available_end=end) as stripe:
        connection = {"conn_type": "stripe", "host": stripe.url, "password": stripe.api_key}
        monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
        begun = time.time()

        def create(number: int) -> ReportRun:
            start = FIRST + number * HOUR
            asked = ReportParameters(interval_start=start, interval_end=start + HOUR)
            return StripeReportingHook().create_report_run(REPORT_TYPE, asked, idempotency_key=f"load-{number}")

        def land(run: ReportRun) -> Manifest:
            place = place_of(f"{tmp_path}/{run.parameters['interval_start']}.csv")
            return land_report(StripeReportingHook(), run, place).manifest

        with ThreadPoolExecutor(16) as pool:
            created = list(pool.map(create, range(RUNS)))
        log.info("created in %.0f s", time.time() - begun)
        events = asyncio.run(ends_of(created))
        log.info("seen to end after %.0f s", time.time() - begun)
        ended = {run.id: run for run in StripeReportingHook().list_report_runs()}
        with ThreadPoolExecutor(8) as pool:
            landed = list(pool.map(land, (ended[run.id] for run in created)))
        log.info("landed after %.0f s", time.time() - begun)
    assert [(it["outcome"], it["report_run_id"]) for it in events] == [("succeeded", it.id) for it in created]
    assert sorted(it.id for it in stripe.report_runs) == sorted(it.id for it in created)
    assert [it.report_run_id for it in landed] == [it.id for it in created]
    assert len(list(tmp_path.glob("*.csv"))) == RUNS
    statuses = Counter(it.status for it in stripe.requests)
    log.info("%s %s", dict(statuses), dict(Counter(it.operation for it in stripe.requests)))
    assert statuses[429] <= 0.01 * len(stripe.requests)


async def ends_of(runs: list[ReportRun]) -> list[Any]:
    """Return the events of triggers that wait for all of them at once."""

    async def event_of(run: ReportRun) -> Any:
        trigger = StripeReportRunTrigger(report_run_id=run.id, since=run.created, deadline=run.created + 7200)
        return (await anext(aiter(trigger.run()))).payload

    return list(await asyncio.gather(*map(event_of, runs)))
