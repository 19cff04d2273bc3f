"""The forms of a connection in ``docs/connection.md``, read by Airflow's own code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from airflow.secrets.local_filesystem import LocalFilesystemBackend

from airflow_reportrun.get_provider_info import CONN_FIELDS
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.wire.connection import ConnectionSettings
from tests.docs_tables import hold, table

PAGE = Path(__file__).parent.parent / "docs" / "connection.md"
KEY = "sk_test_of_the_docs"
WANTED = ConnectionSettings(api_key=KEY, stripe_account="acct_1", timeout=30.0)

BLOCKS = re.findall(r"^```(bash|json)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
EXPORTS = [text for _, text in BLOCKS if "export AIRFLOW_CONN_STRIPE_DEFAULT" in text]
(IN_A_FILE,) = [text for kind, text in BLOCKS if kind == "json"]


def exported(block: str, name: str = "AIRFLOW_CONN_STRIPE_DEFAULT") -> str:
    """Return a variable of the environment after a shell has run a block."""
    script = f'{block}\nprintf %s "${name}"'
    environment = {"PATH": os.environ["PATH"], "STRIPE_API_KEY": KEY}
    return subprocess.run(
        ["/bin/bash", "-c", script], env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("block", EXPORTS)
def test_what_the_environment_has_is_read(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON, as a URI, and as a URI with JSON in it."""
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", exported(block))
    assert StripeReportingHook().settings == WANTED
    assert len(EXPORTS) == 3


def test_the_sandboxes_uri_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain http, on this machine."""
    (block,) = [text for _, text in BLOCKS if "STRIPE_SANDBOX" in text]
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_SANDBOX", exported(block, "AIRFLOW_CONN_STRIPE_SANDBOX"))
    assert StripeReportingHook("stripe_sandbox").settings.api_base_url == "http://127.0.0.1:8181"


def test_what_the_command_line_stores_is_read() -> None:
    """By the parser of ``airflow connections add``, and what it makes of it."""
    from airflow.cli import cli_parser
    from airflow.models.connection import Connection

    (block,) = [text for _, text in BLOCKS if "connections add" in text]
    words = shlex.split(block.replace("\\\n", " ").replace("$STRIPE_API_KEY", KEY))
    with mock.patch.dict(os.environ, {"AIRFLOW__CORE__LOAD_EXAMPLES": "False"}):
        it = cli_parser.get_parser().parse_args(words[1:])
    stored = Connection(it.conn_id, it.conn_type, password=it.conn_password, extra=it.conn_extra)
    assert (it.conn_id, stored.conn_type) == ("stripe_default", "stripe")
    assert ConnectionSettings.from_connection(stored) == WANTED


def test_what_a_file_has_is_read(tmp_path: Path) -> None:
    """By the local filesystem backend."""
    path = tmp_path / "connections.json"
    path.write_text(IN_A_FILE.replace("$STRIPE_API_KEY", KEY))
    connection: Any = LocalFilesystemBackend(connections_file_path=str(path)).get_connection("stripe_default")
    assert connection.conn_type == "stripe"
    assert ConnectionSettings.from_connection(connection) == WANTED


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("block", EXPORTS)
def test_what_a_secrets_backend_has_is_read(
    block: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In AWS Secrets Manager, by its own name there; as JSON and as a URI, with a line end and without."""
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto")
    backends = pytest.importorskip("airflow.providers.amazon.aws.secrets.secrets_manager")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with moto.mock_aws():
        boto3.client("secretsmanager").create_secret(
            Name="airflow/connections/stripe_default", SecretString=exported(block) + end
        )
        connection = backends.SecretsManagerBackend().get_connection("stripe_default")
    assert ConnectionSettings.from_connection(connection) == WANTED


def test_all_fields_of_the_form_are_listed() -> None:
    """With the labels and the help of the form; ``WRITE_DOCS=1`` writes it."""
    rows = [(f"`{name}`", it["label"], it["description"]) for name, it in CONN_FIELDS.items()]
    hold(PAGE, "fields", table(("in the extra", "in the form", "meaning"), rows))
