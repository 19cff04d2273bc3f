"""What `make cluster` starts, and the containers that are to be the same; nothing here can run them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from airflow.providers.common.compat.sdk import Connection

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.lakehouse.iceberg.catalogs import lakehouse_of
from airflow_reportrun.landing.lakehouse.iceberg.table import IcebergTable
from airflow_reportrun.reporting.errors import ServerError as ServerRefused
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, RunFails, ServerError, StripeSandbox
from airflow_reportrun.wire.connection import ConnectionSettings
from cluster.engine import NAMESPACE, Cluster, Running, seen
from cluster.proof import Proof, entries, prove_files, prove_runs
from tests.databases import Server, Warehouse
from tests.icebergs import needs_its_catalog

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
EXAMPLES = {path.stem: path.read_text() for path in (ROOT / "example_dags").glob("*.py")}
PINS = dict(
    line.split("==")
    for name in ("airflow-3.3", "cluster")
    for line in (ROOT / "constraints" / f"{name}.txt").read_text().split()
)


@pytest.fixture
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    return found


def test_the_containers_are_the_processes_of_the_cluster(compose: dict[str, Any]) -> None:
    """One for each, which runs the same command, and the three that these need."""
    named = {name.replace("-1", ":1").replace("-2", ":2") for name in compose["services"]}
    assert named == {*Cluster.components, "postgres", "redis", "sandbox", "migrated"}
    for name, service in compose["services"].items():
        component = name.removesuffix("-1").removesuffix("-2")
        if component in ("worker", "triggerer", "scheduler", "api-server", "dag-processor"):
            command = "celery worker" if component == "worker" else component
            assert service["command"].startswith(f"airflow {command}"), name


def test_the_containers_install_what_the_cluster_is_tested_with(compose: dict[str, Any]) -> None:
    """By the files of pins that its environment is made from; each package that is named has one."""
    script = compose["x-airflow"]["build"]["dockerfile_inline"]
    _, _, installed = script.partition("RUN python install.py ")
    words = installed.replace("\\\n", " ").split()
    files = [after for word, after in pairwise(words) if word == "--constraint"]
    assert files == ["constraints/airflow-3.3.txt", "constraints/cluster.txt"]
    packages = [word for word in words if word not in ("--constraint", *files) and not word.startswith('"')]
    assert packages
    assert not set(packages) - PINS.keys()
    (extras,) = (re.findall(r"\w+", word) for word in words if word.startswith('".['))
    text = "".join(EXAMPLES.values())
    table = {"Delta": "delta", "Iceberg": "iceberg", "Sql": "sql"}
    assert {table[it] for it in re.findall(r"StripeReportTo(\w+)Operator", text)} == {*extras} - {"sandbox"}
    setup = (ROOT / "setup.cfg").read_text() + "apache-airflow-providers-standard>=…, which Airflow brings"
    for name in re.findall(r"^from airflow\.providers\.(\w+)", text, re.M):
        assert f"apache-airflow-providers-{name}>=" in setup, name


def test_the_containers_have_what_the_examples_name(compose: dict[str, Any]) -> None:
    """Folders that all of them see, variables that lead into these, and connections."""
    airflow = compose["x-airflow"]
    shared = {path for name, path in (it.split(":", 1) for it in airflow["volumes"]) if name in compose["volumes"]}
    assert shared
    text = "".join(EXAMPLES.values())
    folders = re.findall(r'="(/[^"{]*)', text)
    given = airflow["environment"]
    variables = re.findall(r'var\.value\.(\w+)|Variable\.get\("(\w+)"', text)
    folders += [given[f"AIRFLOW_VAR_{(one or other).upper()}"] for one, other in variables]
    assert {"/tmp/stripe/activity/", "/data/lake/activity"} <= {*folders}  # noqa: S108
    for folder in folders:
        assert any(folder.startswith(f"{it}/") or folder == it for it in shared), folder
    for conn_id in re.findall(r'(?<!http_)conn_id="(\w+)"', text):
        assert f"AIRFLOW_CONN_{conn_id.upper()}" in given
    assert "finance_alerts" in (ROOT / "deploy" / "compose.yaml").read_text()


@needs_its_catalog
def test_the_catalog_of_the_containers_takes_the_example(
    compose: dict[str, Any], postgres: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What migrates the database makes its namespace, once or again; so does ``make cluster``."""
    given = json.loads(compose["x-airflow"]["environment"]["AIRFLOW_CONN_LAKEHOUSE"])
    assert given["host"] == "postgresql+psycopg2://airflow@postgres/warehouse"
    given["host"] = "postgresql+psycopg2://{login}@/{schema}?host={host}".format(**postgres.connection)
    given["extra"]["warehouse"] = tmp_path.as_uri()
    monkeypatch.setenv("AIRFLOW_CONN_LAKEHOUSE", json.dumps(given))
    *_, script = compose["services"]["migrated"]["command"]
    migrate, makes = script.split(" && ")
    assert (migrate, makes) == ("airflow db migrate", f'python -c "{NAMESPACE}"')
    for _ in range(2):
        subprocess.run([sys.executable, "-c", NAMESPACE], check=True)
    table = re.findall(r'table="(books\..*)"', EXAMPLES["stripe_to_iceberg"])[0]
    mine = IcebergTable(lakehouse_of("lakehouse", None), table)
    mine.look()
    assert mine.schema is None
    copied = [word for line in script.splitlines() if line.startswith("COPY") for word in line.split()[1:-1]]
    assert all((ROOT / name).exists() for name in copied)


def test_the_containers_are_set_as_the_cluster(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each setting is one of the cluster's, and those that are not addresses have its values."""
    monkeypatch.setattr(Server, "made", classmethod(lambda cls: cls(tmp_path, "airflow")))
    cluster = Cluster(tmp_path, ROOT / "example_dags", {})
    cluster.redis.folder.rmdir()
    settings = {name: value for name, value in compose["x-airflow"]["environment"].items() if "__" in name}
    assert settings.keys() <= cluster.environment.keys()
    for name in ("CORE__EXECUTOR", "CELERY__WORKER_CONCURRENCY", "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"):
        assert settings[f"AIRFLOW__{name}"] == cluster.environment[f"AIRFLOW__{name}"]
    assert settings["AIRFLOW__CELERY__RESULT_BACKEND"] == f"db+{settings['AIRFLOW__DATABASE__SQL_ALCHEMY_CONN']}"
    assert cluster.environment["AIRFLOW__CELERY__RESULT_BACKEND"] == f"db+{cluster.postgres.url}"


def test_the_connection_of_the_containers_is_one_that_we_take(compose: dict[str, Any]) -> None:
    """Plain http is refused but to the own machine, which a neighbour's network is."""
    given = json.loads(compose["x-airflow"]["environment"]["AIRFLOW_CONN_STRIPE_DEFAULT"])
    settings = ConnectionSettings.from_connection(Connection(conn_id="stripe_default", **given))
    assert settings.api_base_url == "http://127.0.0.1:8181"
    for name in ("worker-1", "worker-2", "triggerer", "triggerer-2"):
        assert compose["services"][name]["network_mode"] == "service:sandbox"


def test_what_runs_is_stopped_by_number_and_beginning(tmp_path: Path) -> None:
    """With what it started; a number that is another process's by then is left alone."""
    script = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()']).wait()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as mine:
        ((pid, began),) = seen([mine])
        while not (children := psutil.Process(pid).children()):
            pass
        folder = tmp_path / "server"
        folder.mkdir()
        Running([(pid, began), (os.getpid(), 1.0)], [], [str(folder)]).stop()
        gone, _ = psutil.wait_procs(children, timeout=5)
    assert gone == children
    assert not folder.exists()


CONTENTS = b"balance_transaction_id,currency,gross,fee,net\ntxn_1,usd,10.00,0.59,9.41\n"


def lake(root: Path, contents: bytes = CONTENTS, **changes: Any) -> Path:
    """Land a file as the package would, with something else in its manifest or in the file."""
    folder, beside = root / "lake" / "a", root / "lake_manifests" / "a"
    folder.mkdir(parents=True)
    beside.mkdir(parents=True)
    (folder / "report.csv").write_bytes(contents)
    manifest = {"parameters": {"interval_start": 0}, "path": "report.csv", "state": "landed"}
    manifest |= {"report_run_id": "frr_1", "sha256": hashlib.sha256(CONTENTS).hexdigest()}
    (beside / "report.csv.json").write_text(json.dumps({**manifest, **changes}))
    return root / "lake"


def test_what_is_landed_whole_is_proven(tmp_path: Path) -> None:
    """The file is the books' own, and its manifest tells of it."""
    proof = Proof()
    assert prove_files(proof, lake(tmp_path), {0: CONTENTS}) == {0: "frr_1"}
    assert proof.problems == []


def test_half_a_file_is_seen(tmp_path: Path) -> None:
    """By its manifest, which lies, and by the books."""
    proof = Proof()
    prove_files(proof, lake(tmp_path, CONTENTS[:60]), {0: CONTENTS})
    assert len(proof.wrong) == len(proof.lost) == 1


@pytest.mark.parametrize("missing", [False, True])
def test_what_is_only_being_landed_and_what_is_missing_is_seen(tmp_path: Path, missing: bool) -> None:
    """An interval without a manifest is lost, one with the first of two manifests is not landed."""
    proof = Proof()
    books = {0: CONTENTS, 86_400: CONTENTS} if missing else {0: CONTENTS}
    prove_files(proof, lake(tmp_path, state="landed" if missing else "landing"), books)
    assert (len(proof.lost), len(proof.wrong)) == ((1, 0) if missing else (0, 1))


def test_what_a_kill_left_is_seen(tmp_path: Path) -> None:
    """A file that no manifest tells of."""
    proof, root = Proof(), lake(tmp_path)
    (root / "a" / ".report.csv.tmp").touch()
    prove_files(proof, root, {0: CONTENTS})
    assert len(proof.wrong) == 1


def test_the_entries_of_a_report_are_counted_to_the_cent() -> None:
    """Twice is not once."""
    twice = CONTENTS + CONTENTS.splitlines(keepends=True)[1]
    key = ("txn_1", "usd", Decimal("10.00"), Decimal("0.59"), Decimal("9.41"))
    assert entries(twice) - entries(CONTENTS) == Counter({key: 1})


def test_a_report_run_too_many_is_told_from_one_that_is_explained(stripe_conn: StripeSandbox) -> None:
    """What failed, what came behind a stored 500 and what has no file any more counts nowhere."""
    hook, parameters = (
        StripeReportingHook(),
        ReportParameters(interval_start=1_735_689_600, interval_end=1_735_776_000),
    )

    def create(key: str) -> str:
        return hook.create_report_run("balance.summary.1", parameters, idempotency_key=key).id

    stripe_conn.configure(transition=AtOnce())
    landed = {0: create("landed")}
    for fault in (RunFails(), ServerError(committed=True)):
        stripe_conn.inject(fault)
        with suppress(ServerRefused):
            create(repr(fault))
    stripe_conn.configure(file_lifetime=0)
    create("expired")
    stripe_conn.configure(file_lifetime=86_400)
    proof, unexplained = Proof(), create("unexplained")
    prove_runs(proof, stripe_conn.report_runs, stripe_conn.requests_to("create"), landed, landed)
    assert proof.superseded == {"failed": 1, "behind a stored 500": 1, "file expired": 1}
    (said,) = proof.problems
    assert said.startswith(unexplained)
    prove_runs(proof, [], [], landed, {0: unexplained})
    assert "in the table" in proof.wrong[0]
