from __future__ import annotations

import os
import subprocess
import sys

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from tests.versions import needs_airflow

PROGRAM = """
from airflow.providers.common.compat.sdk import DAG, BaseOperator, BaseSensorOperator
import sys
before = set(sys.modules)
import airflow_reportrun.operators, airflow_reportrun.sensors, airflow_reportrun.triggers
print(*sorted(set(sys.modules) - before))
"""


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The modules that a DAG file loads by importing our classes."""
    return loaded_by(PROGRAM)


def loaded_by(program: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "library", ["requests", "aiohttp", "urllib3", "tenacity", "starlette", "airflow.timetables"]
)
def test_importing_operators_loads_no(loaded: set[str], library: str) -> None:
    """Each parse of each DAG file would pay for it."""
    assert not {name for name in loaded if name == library or name.startswith(f"{library}.")}


def test_importing_operators_loads_few_modules(loaded: set[str]) -> None:
    """Ours, and the few of Airflow that nothing else has loaded yet."""
    assert "airflow_reportrun.operators" in loaded
    folders = {name for name in loaded if any(other.startswith(f"{name}.") for other in loaded)}
    assert len(loaded - folders) <= 36


@needs_airflow(3, 3, "event triggers")
def test_importing_event_triggers_loads_one_more_module_of_airflow() -> None:
    """A DAG file with a watcher is parsed as often as any other."""
    program = PROGRAM.replace("before = set", "import airflow_reportrun.triggers; before = set").replace(
        "airflow_reportrun.operators, airflow_reportrun.sensors, airflow_reportrun.triggers",
        "airflow_reportrun.event_triggers",
    )
    errors = "reporting", "reporting.errors", "reporting.secrets"
    names = "event_triggers", "tasks", "tasks.options", "wire", "wire.fields", *errors
    ours = {f"airflow_reportrun.{it}" for it in names}
    assert loaded_by(program) <= {"airflow.triggers.shared_stream", *ours}


IN_THE_LOOP = """
import asyncio, os, sys, threading, time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace as Some
{imports}
RUN = os.environ["RUN"]

def start():
    limit = timedelta(hours=1)
    task = Some(task_id="t", execution_timeout=None, start_trigger_args=Some(timeout=limit))
    task.render_template_as_native_obj = False
    options = dict.fromkeys(ReportRunStart.names) | dict(report_run_id=RUN)
    it = ReportRunStart(timeout=60, poll_interval=1, **options)
    it._task_instance, it.timeout_after = Some(task=task), datetime.now(UTC) + limit
    it.render_template_fields(dict(task=task, dag=None, ti=None))
    return it

async def first_event():
    def note(event, args):
        if event == "import" and threading.current_thread() is threading.main_thread():
            found.add(args[0].partition(".")[0])
    sys.addaudithook(note)
    async for event in trigger.run():
        break
    found.difference_update(sys.stdlib_module_names)
    return event

found = set()
trigger = {trigger}
print(asyncio.run(first_event()).payload, file=sys.stderr)
print(*sorted(found))
"""
TRIGGERS = {
    "triggers.StripeReportRunTrigger": (
        "StripeReportRunTrigger(report_run_id=RUN, since=time.time(), deadline=time.time() + 60)"
    ),
    "start_triggers.ReportRunStart": "start()",
    "event_triggers.StripeReportDataTrigger": (
        "StripeReportDataTrigger(report_type='balance.summary.1', since=1577836800)"
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(it, marks=needs_airflow(3, 3, it)) if it[0] != "t" else it for it in TRIGGERS]
)
def test_a_trigger_loads_no_http_library_in_the_event_loop(stripe_conn: StripeSandbox, name: str) -> None:
    """Half a second of the triggerer's, in which no other trigger would get on."""
    stripe_conn.configure(transition=AtOnce())
    parameters = ReportParameters(interval_start=1714521600, interval_end=1714608000)
    run = StripeReportingHook().create_report_run("balance.summary.1", parameters)
    module, _, trigger = name.partition(".")
    program = IN_THE_LOOP.format(
        imports=f"from airflow_reportrun.{module} import {trigger}", trigger=TRIGGERS[name]
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "RUN": run.id},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    in_the_loop = set(done.stdout.splitlines()[-1].split())
    assert "data_available_end" in done.stderr or "succeeded" in done.stderr
    assert not in_the_loop & {"requests", "aiohttp", "urllib3", "tenacity"}, in_the_loop
