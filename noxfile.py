"""The tests on each version of Airflow that is supported: ``make matrix``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.error_on_missing_interpreters = True  # a session that was passed over is not one that went well


@nox.session(python="3.11", reuse_venv=True)
@nox.parametrize("airflow", ["2.11", "3.3"], ids=["2.11", "3.3"])
def tests(session: nox.Session, airflow: str) -> None:
    """Run pytest in an environment with a version of Airflow."""
    constraints = f"constraints/airflow-{airflow}.txt"
    sources = "".join(Path(name).read_text() for name in ("setup.cfg", "pyproject.toml", constraints))
    wanted = hashlib.sha256(sources.encode()).hexdigest()
    ready = Path(session.virtualenv.location, "ready")
    if not ready.exists() or ready.read_text() != wanted:
        session.install("--constraint", constraints, "setuptools")
        session.install("--constraint", constraints, "--no-build-isolation", "--editable", ".[dev]")
        ready.write_text(wanted)
    session.run("python", "-m", "pytest", "--numprocesses=logical", "--dist=loadfile", *session.posargs)
