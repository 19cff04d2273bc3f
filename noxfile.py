"""The tests on each version of Airflow, over other object stores, and with what reads lakes: see ``make help``."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.error_on_missing_interpreters = True  # a session that was passed over is not one that went well


GOOGLE_AND_AZURE = (
    "adlfs",
    "gcloud-aio-auth",
    "gcp-storage-emulator",
    "gcsfs",
    "google-api-python-client",
    "google-auth-httplib2",
    "google-cloud-secret-manager",
    "msrest",
)
"""What the providers import for their stores, and an emulator of Google's."""

PROVIDERS = ("apache-airflow-providers-google", "apache-airflow-providers-microsoft-azure")
"""Installed without what they require: 160 packages, some of which want others than Airflow 3.3 is pinned with."""

AZURITE = "azurite@3.35.0"

READERS = ("duckdb", "pandas", "polars")
"""What reads lakes, besides pyarrow, and Spark where there is a java."""

PAGES = ("axe-playwright-python", "playwright")
"""What drives Chromium, and looks for what keeps people out."""

OVER_STORES = (
    "tests/test_lake.py",
    "tests/test_stores.py",
    "tests/test_landing_races.py",
    "tests/test_landing_kills.py",
    "tests/test_landing_faults.py::test_bytes_that_are_not_the_file_do_not_land",
    "tests/test_landing_faults.py::test_no_sequence_of_faults_makes_a_wrong_file",
    "tests/test_landing_faults.py::test_the_same_contents_in_another_file_leave_the_data_alone",
)


@nox.session(python="3.11", reuse_venv=True)
@nox.parametrize("airflow", ["2.11", "3.3"], ids=["2.11", "3.3"])
def tests(session: nox.Session, airflow: str) -> None:
    """Run pytest in an environment with a version of Airflow."""
    _make(session, airflow)
    session.run(
        "python",
        "-m",
        "pytest",
        "--numprocesses=logical",
        "--dist=loadfile",
        "--no-loadscope-reorder",
        *session.posargs,
    )


@nox.session(python="3.11", reuse_venv=True)
def stores(session: nox.Session) -> None:
    """Run what lands in object stores over emulators of Google's and of Azure's, which takes npm."""
    pins = "constraints/stores.txt"

    def install_stores() -> None:
        session.install("--constraint", "constraints/airflow-3.3.txt", "--constraint", pins, *GOOGLE_AND_AZURE)
        session.install("--constraint", pins, "--no-deps", *PROVIDERS)
        session.run("npm", "install", "--silent", "--no-save", "--prefix", ".azurite", AZURITE, external=True)

    _make(session, "3.3", install_stores, "noxfile.py", pins)
    what = session.posargs or OVER_STORES
    session.run("python", "-m", "pytest", "--numprocesses=logical", *what, env={"STORES": "gs abfs"})


@nox.session(python="3.11", reuse_venv=True)
def readers(session: nox.Session) -> None:
    """Read lakes with the current DuckDB, pandas, polars and pyarrow, and with Spark where there is a java."""
    pins = "constraints/readers.txt"

    def install_readers() -> None:
        session.install("--constraint", pins, *READERS, *(["pyspark"] if shutil.which("java") else []))

    _make(session, "3.3", install_readers, "noxfile.py", pins)
    session.run("python", "-m", "pytest", *(session.posargs or ["tests/test_readers.py"]))


@nox.session(python="3.11", reuse_venv=True)
def pages(session: nox.Session) -> None:
    """Look at the page in Airflow's UI with Chromium, on a real Airflow."""
    pins = "constraints/pages.txt"

    def install_pages() -> None:
        session.install("--constraint", "constraints/airflow-3.3.txt", "--constraint", pins, *PAGES)

    _make(session, "3.3", install_pages, "noxfile.py", pins)
    session.run("python", "-m", "pytest", "page_tests", "--log-cli-level=INFO", *session.posargs)


def _make(
    session: nox.Session, airflow: str, install_more: Callable[[], None] = lambda: None, *sources: str
) -> None:
    """Install a version of Airflow and the tests' packages, unless that was done from the same files."""
    constraints = f"constraints/airflow-{airflow}.txt"
    contents = "".join(Path(it).read_text() for it in ("setup.cfg", "pyproject.toml", constraints, *sources))
    wanted = hashlib.sha256(contents.encode()).hexdigest()
    ready = Path(session.virtualenv.location, "ready")
    if ready.exists() and ready.read_text() == wanted:
        return
    session.install("--constraint", constraints, "setuptools")
    session.install("--constraint", constraints, "--no-build-isolation", "--editable", ".[dev]")
    install_more()
    ready.write_text(wanted)
