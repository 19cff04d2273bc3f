"""The sandbox as pytest fixtures: ``pytest_plugins = ["airflow_reportrun.sandbox.pytest_plugin"]``."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from .server import StripeSandbox


@pytest.fixture(scope="session")
def _stripe_sandbox_server() -> Iterator[StripeSandbox]:
    with StripeSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def stripe_sandbox(_stripe_sandbox_server: StripeSandbox) -> StripeSandbox:
    """Hand out a running `StripeSandbox` in its initial state; the test session shares the server."""
    _stripe_sandbox_server.start()  # if a test has stopped it
    _stripe_sandbox_server.reset()
    return _stripe_sandbox_server


@pytest.fixture
def stripe_conn(stripe_sandbox: StripeSandbox, monkeypatch: pytest.MonkeyPatch) -> StripeSandbox:
    """Hand out the same sandbox, behind the Airflow connection ``stripe_default``."""
    connection = {"conn_type": "stripe", "host": stripe_sandbox.url, "password": stripe_sandbox.api_key}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
    return stripe_sandbox
