"""Install packages into the environment of the Python that runs this, as ``pip install`` does.

With uv, which takes seconds where pip takes minutes; with pip where uv can't be had, or fails.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping
from pathlib import Path

UNDERSTOOD = {
    "cert": "SSL_CERT_FILE",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "index-url": "UV_DEFAULT_INDEX",
    "timeout": "UV_HTTP_TIMEOUT",
}
"""Settings of pip's, and what tells uv the same: it reads none of pip's files or variables."""

EVERY = 5.0
"""Seconds from one line of progress to the next."""

OF_NO_MATTER = {"cache-dir", "disable-pip-version-check", "no-cache-dir", "no-color", "no-input", "progress-bar"}
OF_NO_MATTER |= {"no-python-version-warning", "quiet", "root-user-action", "verbose"}


def main(arguments: list[str]) -> int:
    """Install, and return the exit status; the arguments are those that uv and pip share."""
    parser = ArgumentParser()
    parser.add_argument("--constraint", action="append", default=[])
    told, rest = parser.parse_known_args(arguments)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    listed = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=True).stdout
    settings = pip_settings(listed.splitlines())
    by_pip = [*pip, "install", *options(told.constraint), *rest]
    if only_for_pip := settings.keys() - UNDERSTOOD.keys() - OF_NO_MATTER - {"constraint"}:
        print(f"pip does it, which takes minutes: uv can't be told its {', '.join(sorted(only_for_pip))}.")
        return run(by_pip)
    # A wheel or nothing: to compile uv would take longer than all the rest.
    if run([*pip, "install", *options(told.constraint), "--only-binary=uv", "uv"]):
        print("There is no uv to be had here; pip does it, which takes minutes.")
        return run(by_pip)
    # As options, since uv's variable would not add to ours.
    constraints = [*told.constraint, *settings.get("constraint", "").split()]
    uv = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
    if run([*uv, *options(constraints), *rest], {**uv_environment(settings), **os.environ}):
        print("uv did not manage; pip does it, which takes minutes.")
        return run(by_pip)
    return 0


def pip_settings(listed: Iterable[str]) -> dict[str, str]:
    """Return what ``pip config list`` says of installing, the environment's word last."""
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed:
        name, _, value = line.partition("=")
        section, _, setting = name.partition(".")
        found.get(section, {})[setting] = ast.literal_eval(value)
    return {name: value for section in found.values() for name, value in section.items()}


def uv_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that tell uv what pip was told."""
    # As pip does: else the processes that start first would each compile the same.
    environment = {"UV_COMPILE_BYTECODE": "1"}
    if "extra-index-url" in settings:
        # As pip does: the best version of all. uv by itself stays with the first that has the package.
        environment["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    for name, value in settings.items():
        if name in UNDERSTOOD:
            environment[UNDERSTOOD[name]] = ("," if name == "find-links" else " ").join(value.split())
    return environment


def options(constraints: Iterable[str]) -> list[str]:
    """Return the options that name files of constraints."""
    return [f"--constraint={path}" for path in constraints]


def run(command: list[str], environment: Mapping[str, str] | None = None) -> int:
    """Run a command with a line of progress every few seconds, and all that it said where it failed."""
    began = time.monotonic()
    with tempfile.NamedTemporaryFile() as output:
        said = Path(output.name)
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        while (status := _status(process)) is None:
            last = said.read_text(errors="replace").splitlines()[-1:]
            print(f"{time.monotonic() - began:4.0f} s  {''.join(last).strip()[:100] or '…'}", flush=True)
        if status:
            print(said.read_text(errors="replace"), flush=True)
    return status


def _status(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(EVERY)
    except subprocess.TimeoutExpired:
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
