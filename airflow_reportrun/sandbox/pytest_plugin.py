"""The sandbox as a pytest fixture: ``pytest_plugins = ["airflow_reportrun.sandbox.pytest_plugin"]``."""

from __future__ import annotations

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
    _stripe_sandbox_server.reset()
    return _stripe_sandbox_server
