from __future__ import annotations

import os
import subprocess
import sys

import pytest

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
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ, capture_output=True, text=True, check=True
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
    assert len(loaded - folders) <= 27
