from __future__ import annotations

import os
import subprocess
import sys

import pytest

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
    assert len(loaded - folders) <= 35


@needs_airflow(3, 3, "event triggers")
def test_importing_event_triggers_loads_one_more_module_of_airflow() -> None:
    """A DAG file with a watcher is parsed as often as any other."""
    program = PROGRAM.replace("before = set", "import airflow_reportrun.triggers; before = set").replace(
        "airflow_reportrun.operators, airflow_reportrun.sensors, airflow_reportrun.triggers",
        "airflow_reportrun.event_triggers",
    )
    assert loaded_by(program) == {"airflow.triggers.shared_stream", "airflow_reportrun.event_triggers"}
