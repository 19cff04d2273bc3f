"""The wheel, installed into an environment without the checkout, under a real Airflow and its commands."""

from __future__ import annotations

import ast
import configparser
import csv
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from airflow_reportrun import __version__
from airflow_reportrun.sandbox import AfterSeconds, AtOnce, StripeSandbox
from demo.proof import Landings
from tests.docs_blocks import programs
from tests.versions import AIRFLOW, AIRFLOW_2, BEFORE_3_3, needs_airflow_3, needs_dag_test

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as it is published."""
    # From a copy: setuptools builds in its source folder, where a module that was deleted would linger.
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT / "airflow_reportrun", source / "airflow_reportrun")
    for name in ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel, which finds its dependencies in this one."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home)
    python = home / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    (site_packages,) = home.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


Airflow = Callable[..., str]

NEEDS_3_3 = (
    *("stripe_when_data_is_ready", "stripe_month_close"),
    *("stripe_month_deadline", "stripe_restate_with_approval"),
)
"""The examples that say so."""


@pytest.fixture
def airflow(installed: Path, stripe_conn: StripeSandbox, tmp_path: Path) -> Airflow:
    """Runs an ``airflow`` command in the environment of the wheel, in a fresh Airflow."""
    dags = shutil.copytree(ROOT / "example_dags", tmp_path / "dags")
    for name in NEEDS_3_3 * BEFORE_3_3:
        (dags / f"{name}.py").unlink()
    if AIRFLOW_2:  # what the README says to change
        for path in dags.glob("*.py"):
            path.write_text(path.read_text().replace("airflow.sdk", "airflow.providers.common.compat.sdk"))
    first = dags / "stripe_daily_activity.py"
    first.write_text(first.read_text().replace("/tmp/stripe", str(tmp_path / "reports")))  # noqa: S108
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}),
        "AIRFLOW_VAR_STRIPE_LAKE": str(tmp_path / "lake"),
        "AIRFLOW_VAR_STRIPE_REPORTS": str(tmp_path / "reports"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        **({"AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"} if AIRFLOW == (3, 0) else {}),  # it logs to stdout
    }

    def run(*command: str) -> str:
        done = subprocess.run(
            [installed, "-m", "airflow", *command],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("db", "migrate")
    if AIRFLOW == (3, 0):  # or airflow dags test knows none of the assets
        run("dags", "reserialize")
    return run


ELSEWHERE = {
    "airflow.providers.amazon.aws.hooks.s3": {"landing/lakehouse/delta/storage.py"},  # of the connection
    "airflow_reportrun": set(),
    "attrs": {"lineage.py"},  # which OpenLineage's own facets are made with
    "azure": {"landing/stores/conditions.py"},  # of the store that is there already
    "duckdb": {"landing/sql/databases/duckdb.py"},  # of the connection that is there already
    "flask_appbuilder": {"hooks.py"},  # where Airflow 2 draws forms, and nowhere else
    "wtforms": {"hooks.py"},
    "openlineage": {"lineage.py"},  # the client, which the provider brings
    "psycopg": {"landing/sql/databases/postgresql.py"},  # of the connection that is there already
    "pytest": {"sandbox/pytest_plugin.py"},  # who loads it has it
    "structlog": {"cli/exits.py"},  # which Airflow 3 logs by
}
"""What is imported and not declared, and where."""

AIRFLOWS_OWN = {
    "fastapi": ("page/",),
    "sqlalchemy": ("page/", "cli/planned.py", "landing/lakehouse/iceberg/catalogs.py"),
    "starlette": ("plugin.py",),
}
"""What Airflow's API server and its database are made with, and what of ours runs within them."""

EXTRAS = {
    "delta": ("landing/lakehouse/delta/",),
    "iceberg": ("landing/lakehouse/",),
    "openlineage": ("lineage.py",),
    "parquet": ("landing/formats/",),
    "sql": ("landing/sql/", "operators/sql.py", "coverage/table.py"),
    "sandbox": ("sandbox/",),
}
"""The extras, and the code that needs them."""


def test_what_is_imported_is_declared_and_no_more() -> None:
    """In the extra of its folder, or for everybody; who installs the package has what it imports."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    declared = {
        "": _names(config["options"]["install_requires"]),
        **{extra: _names(config["options.extras_require"][extra]) for extra in EXTRAS},
    }
    used: dict[str, set[str]] = {extra: set() for extra in declared}
    for path, module in imports(ROOT / "airflow_reportrun"):
        name = module if module in ELSEWHERE else module.partition(".")[0]
        if name in ELSEWHERE:
            assert path in ELSEWHERE[name] or module == "airflow_reportrun", (path, module)
            continue
        if path.startswith(AIRFLOWS_OWN.get(module.partition(".")[0], ())):
            continue
        extra = next((name for name, folders in EXTRAS.items() if path.startswith(folders)), "")
        package = _distribution(module)
        assert package in declared[extra] | declared[""], f"{path} imports {module}"
        used[extra if package in declared[extra] else ""].add(package)
    assert {**used, "sql": used["sql"] | used["parquet"]} == declared


def imports(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what the modules of a package import from others than Python and itself, wherever they do."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            else:
                continue
            for name in names:
                if name.partition(".")[0] not in sys.stdlib_module_names:
                    yield (
                        path.relative_to(folder).as_posix(),
                        name if name.startswith("airflow.") else (name.partition(".")[0]),
                    )


def _distribution(module: str) -> str:
    """Return what is installed for a module of Airflow, or for another, whose name is its own."""
    if match := re.fullmatch(r"airflow\.providers\.(common\.\w+|\w+)(\..*)?", module):
        return f"apache-airflow-providers-{match[1].replace('.', '-')}"
    return "apache-airflow" if module.partition(".")[0] == "airflow" else module


def _names(requirements: str) -> set[str]:
    return set(re.findall(r"^[\w-]+", requirements, re.MULTILINE))


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Neither tests nor examples end up in site-packages."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "airflow_reportrun",
        f"airflow_provider_reportrun-{__version__}.dist-info",
    }
    data = ("py.typed", "landing/formats/column_types.json", "sandbox/report_types.json")
    assert {f"airflow_reportrun/{name}" for name in data} <= set(names)


def test_the_sdist_holds_all_that_its_tests_need(tmp_path: Path) -> None:
    """Whatever the repository has, but for what is about the repository itself."""
    kept = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist", ".[!c]*")
    source = shutil.copytree(ROOT, tmp_path / "source", ignore=kept)
    shutil.rmtree(source / ".coverage", ignore_errors=True)
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    files = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    subprocess.run(command, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert "tests/test_packaging.py" in files
    assert files - names == set()


def test_the_oldest_provider_that_it_takes_is_what_it_is_tested_with() -> None:
    """The asynchronous hook needs what came with that version."""
    (floor,) = re.findall(r"providers-http>=(.*)", (ROOT / "setup.cfg").read_text())
    pins = (path.read_text() for path in (ROOT / "constraints").glob("airflow-*.txt"))
    assert {re.findall(r"providers-http==(.*)", text)[0] for text in pins} == {floor}


def test_the_version_stands_in_one_place() -> None:
    """And so the changelog's newest release is it, or all is unreleased."""
    assert "version = attr: airflow_reportrun.__version__" in (ROOT / "setup.cfg").read_text()
    released = re.findall(r"^## \[(\d.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert released[:1] in ([], [__version__])
    assert "version" not in tomllib.loads((ROOT / "pyproject.toml").read_text()).get("project", {})


def test_airflow_lists_what_the_provider_brings(airflow: Airflow) -> None:
    """Each by its own command: the form, the link, the triggers."""
    said = {what: airflow("providers", what, "--output", "json") for what in ("links", "behaviours", "triggers")}
    assert "airflow_reportrun.links.StripeRequestLink" in said["links"]
    assert "airflow_reportrun.triggers" in said["triggers"]
    assert "airflow_reportrun.event_triggers" in said["triggers"]
    if find_spec("flask_appbuilder") or not (3, 0) <= AIRFLOW < (3, 2):  # without it, they know no form of anybody
        assert "stripe" in said["behaviours"]


def test_airflow_knows_the_provider_and_tests_its_connection(airflow: Airflow) -> None:
    """As a user would after installing it."""
    (provider,) = json.loads(airflow("providers", "get", "airflow-provider-reportrun", "--output", "json"))
    assert provider["Version"] == __version__
    hooks = json.loads(airflow("providers", "hooks", "--output", "json"))
    (stripe,) = (hook for hook in hooks if hook["connection_type"] == "stripe")
    assert stripe["package_name"] == "airflow-provider-reportrun"
    assert "Connection success!" in airflow("connections", "test", "stripe_default")


@needs_dag_test
def test_the_examples_run_to_success(airflow: Airflow, stripe_conn: StripeSandbox, tmp_path: Path) -> None:
    """With Airflow's own task runner, triggers, XCom and templates, deferred tasks included."""
    stripe_conn.configure(transition=AfterSeconds(2))
    airflow("dags", "test", "stripe_daily_activity", "2024-05-02T13:00:00+00:00")
    rows_of_may_first = read(tmp_path / "reports" / "activity" / "2024-05-01.csv")
    assert {row["created"][:10] for row in rows_of_may_first} == {"2024-05-01"}

    airflow("dags", "test", "stripe_separate_tasks", "2024-06-01T13:00:00+00:00")
    rows = read(tmp_path / "reports" / "balance" / "2024-05.csv")
    assert rows[0]["description"] == "Starting balance (2024-05-01)"

    spans = [(run.parameters["interval_start"], run.parameters["interval_end"]) for run in stripe_conn.report_runs]
    assert spans == [(1714521600, 1714608000), (1714521600, 1717200000)]

    stripe_conn.configure(transition=AtOnce())  # four deferrals would be waited for one after the other
    airflow("dags", "test", "stripe_restate_last_days", "2024-05-05T13:00:00+00:00")
    assert sorted(path.name for path in (tmp_path / "reports" / "restated").glob("*.csv")) == [
        f"2024-05-0{day}.csv" for day in (1, 2, 3, 4)
    ]
    again = list((tmp_path / "reports").glob("*/2024-05-01.csv"))
    assert read(again[0]) == read(again[1])
    assert len(stripe_conn.report_runs) == 6

    if not BEFORE_3_3:  # it has no event here, which only a triggerer makes
        airflow("dags", "test", "stripe_when_data_is_ready")
        assert len(stripe_conn.report_runs) == 6

    airflow("dags", "test", "stripe_to_warehouse", "2024-05-02T13:00:00+00:00")
    landings = Landings(tmp_path / "lake", tmp_path / "warehouse.db", tmp_path / "lakehouse")
    (file, _), table = landings.files()[1714521600], landings.tables()[1714521600]
    assert landings.lake_totals(file) == landings.warehouse_totals()
    assert table.rows == len(rows_of_may_first)


@needs_dag_test
@needs_airflow_3("the commands of the page")
def test_the_first_report_is_to_be_pasted(installed: Path, stripe_conn: StripeSandbox, tmp_path: Path) -> None:
    """CSV, Parquet, table and backfill, line by line: what the page shows is what is run here."""
    stripe_conn.configure(transition=AtOnce())

    def here(code: str) -> str:
        return code.replace("/tmp/", f"{tmp_path}/").replace("~/reportrun", str(tmp_path))  # noqa: S108

    page = (ROOT / "docs" / "first-report.md").read_text()
    names = re.findall(r"[Ss]ave this as `(\w+\.py)`", page)
    for name, program in zip(names, map(here, programs("docs/first-report.md")), strict=True):
        path = tmp_path / "airflow" / "dags" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(program)
    *steps, backfill = map(here, programs("docs/first-report.md", "bash"))
    commands = f'airflow() {{ {installed} -m airflow "$@"; }}\npython() {{ {installed} "$@"; }}\nset -e\n'
    commands += f'pip() {{ {sys.executable} {ROOT}/tests/docs_pip.py "$@"; }}\n'
    # The last ones are about a running Airflow, which has read the files.
    script = "\n".join([commands, *steps, "airflow dags reserialize", backfill])
    mine = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    connection = {"AIRFLOW_CONN_STRIPE_DEFAULT": os.environ["AIRFLOW_CONN_STRIPE_DEFAULT"]}
    command, environment = ["/bin/bash", "-c", script], {**mine, **connection}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    rows = read(tmp_path / "stripe" / "activity" / "2026-03-01.csv")
    assert {row["created"][:10] for row in rows} == {"2026-03-01"}
    table = pyarrow.parquet.read_table(tmp_path / "stripe" / "parquet" / "2026-03-01.parquet")
    landed = sqlite3.connect(tmp_path / "stripe" / "warehouse.db").execute("SELECT count(*) FROM stripe_activity")
    assert table.num_rows == landed.fetchone()[0] == len(rows)
    assert re.search(r"^charge usd \d+$", done.stdout, re.MULTILINE)
    assert len(stripe_conn.report_runs) == 3
    planned = sqlite3.connect(tmp_path / "airflow" / "airflow.db").execute(
        "SELECT substr(logical_date, 1, 16) FROM backfill_dag_run ORDER BY 1"
    )
    assert planned.fetchall() == [(f"2026-03-0{day} 13:00",) for day in range(2, 9)]


def read(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
