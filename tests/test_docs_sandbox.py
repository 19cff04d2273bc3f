"""The page about the sandbox: its programs run, its tables are computed."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_reportrun import sandbox
from airflow_reportrun.sandbox import Fault, RequestFault, RunFault, WireFault, errors
from airflow_reportrun.sandbox.reports.forms import FORMS
from tests import docs_pip
from tests.docs_blocks import programs
from tests.docs_tables import hold, table
from tests.until import until
from tests.versions import needs_airflow_3, needs_dag_test

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "sandbox.md"
PROGRAMS = programs("docs/sandbox.md")
FILES = {program.split("\n")[0].removeprefix("# "): program for program in PROGRAMS if program.startswith("# ")}


OURS = re.compile(r" \([^()]*\bour (words|choice)[^()]*\)")


def test_the_short_programs_run() -> None:
    """One after the other, as they are read."""
    names: dict[str, object] = {}
    short = [program for program in PROGRAMS if program not in FILES.values()]
    assert len(short) >= 4
    for program in short:
        exec(program, names)  # noqa: S102 - our own


@needs_airflow_3("airflow.sdk")
@needs_dag_test
def test_the_test_of_a_dag_runs(tmp_path: Path) -> None:
    """In a folder with nothing but the files that the page shows."""
    assert set(FILES) == {"conftest.py", "dags/daily_balance.py", "test_daily_balance.py"}
    for name, program in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(program)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{tmp_path}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_the_commands_beside_a_running_airflow_work(tmp_path: Path) -> None:
    """What starts the sandbox goes on until it is killed; the others ask it."""
    installs, starts, asks = programs("docs/sandbox.md", "bash")
    assert docs_pip.unknown(shlex.split(installs)[1:]) == []
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    assert starts.count("8181") == 1
    assert asks.count("localhost:8181") == asks.count("curl") == 5
    command = shlex.split(starts.replace("8181", port))
    assert command[0] == "python"
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen([sys.executable, *command[1:]], cwd=ROOT, stdout=log, stderr=log) as sandbox,
    ):
        try:
            until(lambda: f":{port}" in (tmp_path / "log").read_text())
            script = 'set -e\ncurl() { command curl --fail --silent --show-error "$@"; }\n' + asks
            script = script.replace("localhost:8181", f"127.0.0.1:{port}")
            subprocess.run(["/bin/bash", "-c", script], check=True, capture_output=True)
        finally:
            sandbox.kill()


def first_sentence(what: object) -> str:
    return (inspect.getdoc(what) or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")


def shown(fault: type[Fault]) -> str:
    fields = [
        field.name if field.default is dataclasses.MISSING else f"{field.name}={field.default!r}"
        for field in dataclasses.fields(fault)
    ]
    return f"`{fault.__name__}({', '.join(fields)})`"


def kind(fault: type[Fault]) -> str:
    return "run" if issubclass(fault, RunFault) else "wire" if issubclass(fault, WireFault) else "answer"


def test_the_page_lists_every_fault() -> None:
    """In the order of their kinds, with what the code says of them."""
    faults = [
        value
        for value in vars(sandbox).values()
        if isinstance(value, type)
        and issubclass(value, Fault)
        and value not in (Fault, RequestFault, RunFault, WireFault)
    ]
    rows = sorted((kind(fault), shown(fault), first_sentence(fault)) for fault in faults)
    hold(PAGE, "faults", table(("Spoils the", "Fault", "What happens"), rows))


def test_the_page_lists_the_refusals_in_words_of_our_own() -> None:
    """Those that say so where they are made."""
    ours = [
        function
        for name, function in sorted(vars(errors).items())
        if inspect.isfunction(function) and OURS.search(inspect.getdoc(function) or "")
    ]
    assert len(ours) > 10
    rows = [(f"`{function.__name__}`", OURS.sub("", first_sentence(function))) for function in ours]
    hold(PAGE, "refusals", table(("Refusal", "Where"), rows))


def test_the_page_lists_the_forms_of_columns() -> None:
    """In the order in which names are compared with them."""
    rows = [
        (" ".join(f"`{name}`" for name in form.names.replace("[[]*", "[…]").split()), form.what) for form in FORMS
    ]
    hold(PAGE, "forms", table(("Columns", "Cells"), rows))


def test_everything_public_is_in_the_list_of_names() -> None:
    """What the package's first lines import is what it offers."""
    tree = ast.parse(Path(sandbox.__file__).read_text())
    imported = {
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    }
    assert imported == set(sandbox.__all__)


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_files_are_plain_python(name: str) -> None:
    """They compile under the name they are given."""
    compile(FILES[name], name, "exec")
