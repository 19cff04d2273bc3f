"""Each block of code in the docs runs: Python in a DAG before the sandbox, shell with a real ``airflow``."""

from __future__ import annotations

import configparser
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.providers.common.compat.sdk import DAG, task

from airflow_reportrun import hooks, operators, sensors
from airflow_reportrun.sandbox import StripeSandbox
from tests import docs_pip
from tests.docs_blocks import CLAIMED, ROOT, Block, blocks
from tests.versions import AIRFLOW_2, BEFORE_3_3, needs_airflow_3

pytestmark = pytest.mark.slow

NOT_RUN = 10
"""How many blocks may say that they are not run."""


def mine(language: str) -> list[Block]:
    return [it for it in blocks(language=language) if it.test is None]


def test_each_block_is_run_or_says_why_not() -> None:
    """By a test that reads it with the others of its page; few are not."""
    here = set(RUNNERS) | {"text"}  # which shows what a program says, and runs nothing
    for block in blocks():
        assert block.test or block.why_not or block.language in here, f"{block} is run by nobody"
        assert len(block.why_not) > 10 or not block.why_not, f"{block} does not say why it is not run"
    assert sum(bool(block.why_not) for block in blocks()) <= NOT_RUN


def test_who_claims_blocks_runs_them() -> None:
    """The file is there and reads the page, and the page has such blocks."""
    claimed = {(block.page, block.language, block.test) for block in blocks() if block.test}
    assert claimed >= {(*where, test) for where, test in CLAIMED.items()}
    for page, _, test in claimed:
        assert Path(page).name in (ROOT / str(test)).read_text(), f"{test} does not read {page}"


@pytest.mark.parametrize("block", mine("python"), ids=str)
def test_python_runs(block: Block, stripe_conn: StripeSandbox) -> None:
    """In a DAG, with the names that there are; a task is built with its options, a hook asks the sandbox."""
    if BEFORE_3_3 and re.search("StripeRetryPolicy|AssetWatcher|partition_key|start_from_trigger", block.code):
        pytest.skip("of Airflow 3.3")
    code = block.code.replace("airflow.sdk", "airflow.providers.common.compat.sdk") if AIRFLOW_2 else block.code
    names: dict[str, Any] = {"task": task, "datetime": datetime, "timedelta": timedelta, "UTC": UTC}
    for module in (operators, sensors, hooks):
        names |= {name: value for name, value in vars(module).items() if name.startswith("Stripe")}
    if not BEFORE_3_3:
        names["StripeRetryPolicy"] = importlib.import_module("airflow_reportrun.retry_policy").StripeRetryPolicy
    with DAG("snippet", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)):
        exec(compile(code, str(block), "exec"), names)  # noqa: S102 - our own


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs a script with an ``airflow`` that has a database and the examples, and a ``pip`` that only looks."""
    home = tmp_path_factory.mktemp("airflow")
    python = sys.executable
    head = (
        f'set -eu\nairflow() {{ "{python}" -m airflow "$@"; }}\npython() {{ "{python}" "$@"; }}\n'
        f'pip() {{ "{python}" "{ROOT}/tests/docs_pip.py" "$@"; }}\n'
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(ROOT),
        "STRIPE_API_KEY": "sk_test_sandbox",
    }

    def run(script: str) -> str:
        if (home / "airflow.db").exists() and "airflow" in script:
            shutil.copy(home / "airflow.db", home / "before.db")
        command = ["/bin/bash", "-c", head + script]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        if (home / "before.db").exists():
            shutil.move(home / "before.db", home / "airflow.db")
        return done.stdout

    run("airflow db migrate && airflow dags reserialize")
    return run


@needs_airflow_3("these commands")
@pytest.mark.parametrize("block", mine("bash"), ids=str)
def test_shell_runs(block: Block, shell: Callable[..., str]) -> None:
    """Each in the same fresh Airflow."""
    shell(block.code)


@pytest.mark.parametrize(
    "command", ["install nothing-of-ours", "install '.[nothing]'", "install . -c nowhere.txt"]
)
def test_what_cannot_be_installed_is_found(command: str) -> None:
    """The pip of the docs has to be able to fail."""
    assert len(docs_pip.unknown(command.replace("'", "").split())) == 1


@pytest.mark.parametrize("block", mine("ini"), ids=str)
def test_settings_are_airflows(block: Block) -> None:
    """Sections and options that its own configuration describes."""
    known = importlib.import_module("airflow.configuration").conf.configuration_description
    parser = configparser.ConfigParser()
    parser.read_string(block.code)
    for section in parser.sections():
        for option in parser[section]:
            assert option in known[section]["options"], option


def test_data_is_read() -> None:
    """YAML and JSON, as a program would read them."""
    for block in mine("yaml"):
        assert yaml.safe_load(block.code), block
    for block in mine("json"):
        assert json.loads(block.code), block


@pytest.mark.parametrize("block", mine("promql"), ids=str)
def test_questions_to_prometheus_are_about_metrics_that_there_are(block: Block) -> None:
    """By the names that the exporter of the page makes of ours."""
    ours = (ROOT / "docs" / "metrics.md").read_text()
    names = {name.replace(".", "_") for name in re.findall(r"^\| `(stripe_reporting\.[\w.]+)`", ours, re.M)}
    asked = re.findall(r"\b(?:airflow_)?(stripe_reporting_\w+?)(?:_seconds(?:_bucket)?)?(?=[{\[)])", block.code)
    assert asked
    assert set(asked) <= names


@pytest.mark.parametrize("block", mine("mermaid"), ids=str)
def test_diagrams_are_of_a_kind_that_there_is(block: Block) -> None:
    """Whether they can be drawn, a browser says when the site is built."""
    assert re.match(r"(flowchart (TD|LR)|sequenceDiagram|stateDiagram-v2)\n", block.code)


RUNNERS = {"python", "bash", "ini", "yaml", "json", "promql", "mermaid"}
