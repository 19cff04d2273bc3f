"""What `make cluster` starts, and the containers that are to be the same; nothing here can run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from airflow.providers.common.compat.sdk import Connection

from airflow_reportrun.wire.connection import ConnectionSettings
from cluster.engine import Cluster, Running, seen
from tests.databases import Server

ROOT = Path(__file__).parent.parent
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
    copied = [word for line in script.splitlines() if line.startswith("COPY") for word in line.split()[1:-1]]
    assert all((ROOT / name).exists() for name in copied)


def test_the_containers_are_set_as_the_cluster(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each setting is one of the cluster's, and those that are not addresses have its values."""
    monkeypatch.setattr(Server, "made", classmethod(lambda cls: cls(tmp_path, "airflow")))
    cluster = Cluster(tmp_path, ROOT / "example_dags", {})
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
