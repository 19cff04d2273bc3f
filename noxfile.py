"""The tests on each version of Airflow, over other stores, with what reads lakes; the site: see ``make help``."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.request import Request, urlopen

import nox

nox.needs_version = ">=2024.4.15"
nox.options.error_on_missing_interpreters = True  # a session that was passed over is not one that went well


PYTHONS = {
    "2.11": ("3.11", "3.12"),
    "3.0": ("3.11", "3.12"),
    "3.1": ("3.11", "3.12", "3.13"),
    "3.2": ("3.11", "3.12", "3.13"),
    "3.3": ("3.11", "3.12", "3.13"),
}
"""The versions of Airflow that ``constraints/`` pins, and the Pythons that each allows and that we are for."""

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

SITE = ("mkdocs-material", "mkdocstrings[python]", "ruff")
"""What makes a site of the docs, and breaks the lines of its signatures; our own code is read and not imported."""

MERMAID = "mermaid@11.12.2"
"""Draws the diagrams in the browser of whoever reads. The theme would fetch it there from a host of others."""

READERS = ("duckdb", "pandas", "polars")
"""What reads lakes, besides pyarrow, and Spark where there is a java."""

WAREHOUSES = (
    "apache-airflow-providers-databricks",
    "fakesnow",
    "gcloud-aio-auth",
    "gcloud-aio-bigquery",
    "gcloud-aio-storage",
    "google-api-python-client",
    "google-auth-httplib2",
    "google-cloud-bigquery",
    "google-cloud-secret-manager",
    "google-cloud-storage",
    "pandas-gbq",
    "snowflake-connector-python",
)
"""A Snowflake without the service, and what the providers import for what the examples take of them."""

WAREHOUSES_WITHOUT_MORE = (
    "apache-airflow-providers-google",
    "apache-airflow-providers-snowflake",
    "snowflake-sqlalchemy",
)
"""Installed without what they require: a SQLAlchemy that Airflow 3.3 is not pinned with, and 160 packages."""

CLUSTER = ("apache-airflow-providers-celery", "redis")
"""What brings tasks to workers on other machines."""

PAGES = ("axe-playwright-python", "playwright")
"""What drives Chromium, and looks for what keeps people out."""

AT_RUN_TIME = ".[delta,iceberg,openlineage,parquet,sql]"
"""What users install."""

ADVISORIES = "https://api.osv.dev/v1/query"
"""Where known vulnerabilities are asked for: PyPI's, and those that GitHub alone has."""

OVER_STORES = (
    "tests/test_lake.py",
    "tests/test_stores.py",
    "tests/test_landing_races.py",
    "tests/test_landing_kills.py",
    "tests/test_landing_faults.py::test_bytes_that_are_not_the_file_do_not_land",
    "tests/test_landing_faults.py::test_no_sequence_of_faults_makes_a_wrong_file",
    "tests/test_landing_faults.py::test_the_same_contents_in_another_file_leave_the_data_alone",
)


@nox.session(reuse_venv=True)
@nox.parametrize(
    ("python", "airflow"),
    [(python, airflow) for airflow, pythons in PYTHONS.items() for python in pythons],
    ids=[
        airflow if python == "3.11" else f"{airflow}-py{python}"
        for airflow, pythons in PYTHONS.items()
        for python in pythons
    ],
)
def tests(session: nox.Session, airflow: str) -> None:
    """Run pytest in an environment with a version of Airflow and of Python, and say what came of it."""
    _make(session, airflow)
    report = f"build/matrix/{airflow}-py{session.python}.xml"
    session.run(
        "python",
        "-m",
        "pytest",
        "--numprocesses=auto",
        "--dist=loadfile",
        "--no-loadscope-reorder",
        f"--junit-xml={report}",
        *session.posargs,
    )
    session.run("python", "-m", "tests.matrix", report, *session.posargs)


@nox.session(python="3.11")
@nox.parametrize("airflow", ["2.11", "3.3"], ids=["2.11", "3.3"])
def release(session: nox.Session, airflow: str) -> None:
    """Build what is published, and install the wheel where nothing else is."""
    dist = Path(session.create_tmp(), "dist")
    shutil.rmtree(dist, ignore_errors=True)
    # The wheel is built from the sdist.
    session.run(sys.executable, "-m", "build", "--outdir", str(dist), ".", external=True)
    (wheel,) = dist.glob("*.whl")
    session.install("--constraint", f"constraints/airflow-{airflow}.txt", str(wheel), "pip")
    session.run("python", "-m", "pip", "check")
    session.run(
        *("airflow", "providers", "get", "airflow-provider-reportrun"),
        env={"AIRFLOW_HOME": os.path.abspath(session.create_tmp())},
    )


@nox.session(python="3.11", reuse_venv=True)
def stores(session: nox.Session) -> None:
    """Run what lands in object stores over emulators of Google's and of Azure's, which takes npm."""
    pins = "constraints/stores.txt"

    def install_stores() -> None:
        _install(session, "--constraint", "constraints/airflow-3.3.txt", "--constraint", pins, *GOOGLE_AND_AZURE)
        _install(session, "--constraint", pins, "--no-deps", *PROVIDERS)
        session.run("npm", "install", "--silent", "--no-save", "--prefix", ".azurite", AZURITE, external=True)

    _make(session, "3.3", install_stores, "noxfile.py", pins)
    what = session.posargs or OVER_STORES
    session.run("python", "-m", "pytest", f"--numprocesses={os.cpu_count()}", *what, env={"STORES": "gs abfs"})


@nox.session(python="3.11", reuse_venv=True)
def readers(session: nox.Session) -> None:
    """Read lakes with the current DuckDB, pandas, polars and pyarrow, and with Spark where there is a java."""
    pins = "constraints/readers.txt"

    def install_readers() -> None:
        _install(session, "--constraint", pins, *READERS, *(["pyspark"] if shutil.which("java") else []))

    _make(session, "3.3", install_readers, "noxfile.py", pins)
    session.run("python", "-m", "pytest", *(session.posargs or ["tests/test_readers.py"]))


@nox.session(python="3.11", reuse_venv=True)
def recipes(session: nox.Session) -> None:
    """Make a DAG of YAML with dag-factory, whose plugin all processes of Airflow beside it load."""
    pins = "constraints/recipes.txt"
    _make(session, "3.3", lambda: session.install("--constraint", pins, "dag-factory"), "noxfile.py", pins)
    session.run("python", "-m", "pytest", *(session.posargs or ["tests/test_recipes.py"]))


@nox.session(python="3.11", reuse_venv=True)
def warehouses(session: nox.Session) -> None:
    """Parse and store the examples of warehouses with their providers, and run Snowflake's on fakesnow."""
    pins = "constraints/warehouses.txt"

    def install_warehouses() -> None:
        _install(session, "--constraint", "constraints/airflow-3.3.txt", "--constraint", pins, *WAREHOUSES)
        _install(session, "--constraint", pins, "--no-deps", *WAREHOUSES_WITHOUT_MORE)

    _make(session, "3.3", install_warehouses, "noxfile.py", pins)
    session.run("python", "-m", "pytest", *(session.posargs or ["tests/test_warehouses.py"]))


@nox.session(python="3.11", reuse_venv=True)
def docs(session: nox.Session) -> None:
    """Make a site of the docs in build/site; a warning is an error. It takes npm, for Mermaid."""
    session.install("--constraint", "constraints/docs.txt", *SITE)
    with tempfile.TemporaryDirectory() as folder:
        session.run("npm", "pack", "--silent", "--pack-destination", folder, MERMAID, external=True, silent=True)
        (packed,) = Path(folder).glob("*.tgz")
        with tarfile.open(packed) as tar:
            for name in ("package/LICENSE", "package/dist/mermaid.min.js"):
                tar.extract(name, ".mermaid", filter="data")
    session.run("mkdocs", "build", env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session(python="3.11", reuse_venv=True)
def pages(session: nox.Session) -> None:
    """Look at the page in Airflow's UI with Chromium, on a real Airflow."""
    pins = "constraints/pages.txt"

    def install_pages() -> None:
        session.install("--constraint", "constraints/airflow-3.3.txt", "--constraint", pins, *PAGES)

    _make(session, "3.3", install_pages, "noxfile.py", pins)
    session.run("python", "-m", "pytest", "ui_tests", "--log-cli-level=INFO", *session.posargs)


@nox.session(python="3.11", reuse_venv=True)
def cluster(session: nox.Session) -> None:
    """Run a command of ``cluster``, where Celery is installed: up, down, or chaos."""
    pins = "constraints/cluster.txt"

    def install_celery() -> None:
        _install(session, "--constraint", "constraints/airflow-3.3.txt", "--constraint", pins, *CLUSTER)

    _make(session, "3.3", install_celery, "noxfile.py", pins)
    session.run("python", "-m", "cluster", *session.posargs)


@nox.session(python="3.11", reuse_venv=True)
def mutants(session: nox.Session) -> None:
    """Break the decisions in one place at a time, and look whether a test notices."""
    pins = "constraints/mutants.txt"

    def install_mutmut() -> None:
        session.install("--constraint", "constraints/airflow-3.3.txt", "--constraint", pins, "mutmut")

    _make(session, "3.3", install_mutmut, "noxfile.py", pins)
    if not session.posargs:
        shutil.rmtree("mutants", ignore_errors=True)  # what it remembers is of tests that may have changed
    session.run("mutmut", "run", *session.posargs)
    session.run("python", "-m", "tests.mutants")


@nox.session(python="3.11", reuse_venv=True)
def audit(session: nox.Session) -> None:
    """Print the licences of what is installed at run time and, unless told licences, look for vulnerabilities."""
    _install(session, "--constraint", "constraints/airflow-3.3.txt", "setuptools")
    _install(
        session, "--constraint", "constraints/airflow-3.3.txt", "--no-build-isolation", "--editable", AT_RUN_TIME
    )
    # In an environment of their own, or what they take would be looked at, too.
    tools = Path(session.create_tmp(), "tools")
    session.run("python", "-m", "venv", str(tools))
    install = ("install.py", "--constraint", "constraints/audit.txt", "pip-audit", "pip-licenses")
    session.run(str(tools / "bin/python"), *install, external=True)
    listed = ("--python", str(Path(session.bin, "python")), "--ignore-packages", "uv")
    session.run(str(tools / "bin/pip-licenses"), *listed, external=True)
    if session.posargs == ["licences"]:
        return
    question = Request(ADVISORIES, b'{"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "25.0"}')
    try:
        urlopen(question, timeout=15).close()  # noqa: S310 - the address is ours
    except OSError as error:
        session.error(f"Nothing was audited: the advisories at {ADVISORIES} can't be reached ({error}).")
    where = session.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", silent=True)
    asked = ("--vulnerability-service", "osv", "--osv-url", ADVISORIES, "--path", str(where).strip())
    session.run(str(tools / "bin/pip-audit"), *asked, external=True)


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
    _install(session, "--constraint", constraints, "setuptools")
    _install(session, "--constraint", constraints, "--no-build-isolation", "--editable", ".[dev]")
    install_more()
    ready.write_text(wanted)


def _install(session: nox.Session, *arguments: str) -> None:
    session.run("python", "install.py", *arguments)
