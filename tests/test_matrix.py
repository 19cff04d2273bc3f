"""The table of what was tested, and what says the same elsewhere."""

from __future__ import annotations

import configparser
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from tests.matrix import ALL, PAGE, Run, run_of, runs_in, with_run, written

ROOT = PAGE.parent.parent
OLD = Run("3.9.1", "3.11.7", ALL, "10", "2", "2026-01-01")
REPORT = """<testsuites><testsuite name="pytest" errors="0" failures="{}" skipped="2" tests="12" time="1"
timestamp="2026-11-29T10:00:00+00:00"/></testsuites>"""


def test_a_run_that_passed_is_a_row(tmp_path: Path) -> None:
    """With what passed and what was skipped, by the minor versions' order."""
    report = tmp_path / "report.xml"
    report.write_text(REPORT.format(0))
    run = run_of(report, "3.10.0", "3.11.7")
    assert run == Run("3.10.0", "3.11.7", ALL, "10", "2", "2026-11-29")
    assert runs_in(written(with_run([run], OLD))) == [OLD, run]


def test_a_run_that_failed_is_none(tmp_path: Path) -> None:
    """And says so."""
    report = tmp_path / "report.xml"
    report.write_text(REPORT.format(1))
    with pytest.raises(ValueError, match="is not of a run that passed"):
        run_of(report, "3.10.0", "3.11.7")


def test_a_run_replaces_the_one_of_the_same_minor_versions() -> None:
    """One of some tests does not replace one of all."""
    newer = Run("3.9.2", "3.11.9", ALL, "12", "0", "2026-02-01")
    some = Run("3.9.2", "3.11.9", "`tests/test_hooks.py`", "3", "0", "2026-03-01")
    assert with_run([OLD], newer) == [newer]
    assert with_run([OLD], some) == [OLD]
    assert with_run([some], newer) == [newer]


def pythons() -> dict[str, tuple[str, ...]]:
    """What the nox sessions are for, by the minor version of Airflow."""
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    assert spec
    assert spec.loader
    noxfile: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(noxfile)
    found: dict[str, tuple[str, ...]] = noxfile.PYTHONS
    return found


def test_each_version_of_airflow_has_its_pins() -> None:
    """And each row of the page is of one of them."""
    pinned = {
        re.findall(r"^apache-airflow==(.*)$", path.read_text(), re.M)[0]
        for path in (ROOT / "constraints").glob("airflow-*.txt")
    }
    assert {version.rpartition(".")[0] for version in pinned} == set(pythons())
    for run in runs_in(PAGE.read_text()):
        assert run.airflow in pinned
        assert run.python.rpartition(".")[0] in pythons()[run.airflow.rpartition(".")[0]]


def test_the_classifiers_are_the_pythons_of_the_sessions() -> None:
    """Who looks at the package's page sees what was tried."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    classified = re.findall(r"Python :: (3\.\d+)", config["metadata"]["classifiers"])
    assert set(classified) == {python for found in pythons().values() for python in found}
