"""The connection form of Airflow 3.3 and its Test button, in Chromium.

Airflow draws the form from the provider info alone. With ``WRITE_DOCS=1`` the pictures of the docs are made.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from airflow_reportrun.get_provider_info import CONN_FIELDS
from airflow_reportrun.sandbox import PERMISSIONS, StripeSandbox
from demo.airflow import Airflow

sync_api = pytest.importorskip("playwright.sync_api")

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[StripeSandbox]:
    keys = {"rk_test_reports": PERMISSIONS[:1], "rk_test_files": PERMISSIONS[1:2]}
    with StripeSandbox(keys=keys, data_available_end=1_772_409_600) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """An API server, which serves the UI; nothing is run."""
    home = tmp_path_factory.mktemp("airflow")
    environment = {
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
        "PYTHONPATH": str(ROOT),
    }
    airflow = Airflow(home, home / "dags", environment)
    try:
        airflow.run("db", "migrate")
        airflow.start("api-server")
        yield airflow
    finally:
        airflow.stop()


class Form:
    """The page of the connections, and its dialog."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self._url = url
        self.dialog = page.get_by_role("dialog")

    def add(self, conn_id: str) -> None:
        """Begin a connection of type Stripe."""
        self.page.goto(f"{self._url}/connections")
        self.page.get_by_role("button", name="Add Connection").click()
        self.dialog.locator("[name=connection_id]").fill(conn_id)
        self.dialog.get_by_role("combobox").first.click()
        self.page.get_by_role("option", name="Stripe", exact=True).click()

    def edit(self, conn_id: str) -> None:
        """Open one that is there."""
        self.page.goto(f"{self._url}/connections")
        self.row(conn_id).get_by_role("button", name="Edit Connection").click()
        sync_api.expect(self.field("connection_id")).to_have_value(conn_id)

    def row(self, conn_id: str) -> Any:
        """Return its row in the table."""
        cell = self.page.get_by_role("cell", name=conn_id, exact=True)
        return self.page.locator("tbody tr", has=cell)

    def field(self, name: str) -> Any:
        """Return an input by its name; those of the extra have a prefix."""
        return self.dialog.locator(f"[name={'element_' if name in CONN_FIELDS else ''}{name}]")

    def open(self, section: str) -> None:
        """Open a section of the dialog; the others close."""
        self.dialog.get_by_text(section, exact=True).click()

    def save(self) -> None:
        """Save, and wait until the dialog is gone."""
        self.dialog.get_by_role("button", name="Save").click()
        sync_api.expect(self.dialog).to_be_hidden()

    def test(self, conn_id: str) -> str:
        """Press the Test button of a row, and return what is said."""
        self.page.goto(f"{self._url}/connections")
        self.row(conn_id).get_by_role("button", name="Test Connection").click()
        said = self.page.get_by_role("status").filter(has_text="Test Connection")
        said.wait_for(timeout=60_000)
        return str(said.inner_text())


@pytest.fixture
def form(browser: Any, airflow: Airflow) -> Iterator[Form]:
    page = browser.new_page(viewport={"width": 900, "height": 760})
    page.set_default_timeout(30_000)
    yield Form(page, airflow.url)
    page.close()


def picture(page: Any, name: str) -> None:
    """Make a picture of the docs anew, if that is asked for."""
    if os.environ.get("WRITE_DOCS") == "1":
        PICTURES.mkdir(exist_ok=True)
        page.wait_for_timeout(500)  # what moves in comes to rest
        page.screenshot(path=PICTURES / name, animations="disabled")


def test_the_form_is_labelled_and_hides_the_key(form: Form) -> None:
    """What people know as other names has ours, what is of no use is not there, and the key is not shown."""
    form.add("stripe_default")
    for label in ("API host", "Secret key", "Port"):
        sync_api.expect(form.dialog.get_by_text(label, exact=True)).to_be_visible()
    for label in ("Host", "Password", "Login", "Schema"):
        sync_api.expect(form.dialog.get_by_text(label, exact=True)).to_be_hidden()
    assert form.field("host").get_attribute("placeholder") == "https://api.stripe.com"
    assert form.field("password").get_attribute("placeholder") == "sk_… or rk_…"
    assert form.field("port").get_attribute("placeholder") == "443"
    form.field("password").fill("sk_test_sandbox")
    assert form.field("password").evaluate("it => it.type") == "password"
    picture(form.page, "connection-form.png")


def test_each_field_of_the_extra_has_a_label_help_and_an_input_of_its_kind(form: Form) -> None:
    """Texts, numbers, and a switch."""
    form.add("stripe_default")
    form.open("Extra Fields")
    for name, field in CONN_FIELDS.items():
        sync_api.expect(form.dialog.get_by_text(field["label"], exact=True)).to_be_visible()
        sync_api.expect(form.dialog.get_by_text(field["description"], exact=True)).to_be_visible()
        kind = form.field(name).evaluate("it => it.getAttribute('role') || it.type")
        kinds = {"string": "text", "number": "spinbutton", "boolean": "checkbox"}
        assert kind == kinds[field["schema"]["type"][0]]
    form.page.set_viewport_size({"width": 900, "height": 1340})
    picture(form.page, "connection-form-extra.png")


def test_what_was_typed_is_read_back_and_what_was_cleared_is_none(form: Form, airflow: Airflow) -> None:
    """With the kinds that a task reads, and the key left as it is."""
    typed = {"stripe_account": "acct_1", "idempotency_scope": "eu", "timeout": "30", "rate_limit": "2.5"}
    form.add("typed")
    form.field("password").fill("sk_test_sandbox")
    form.open("Extra Fields")
    for name, value in typed.items():
        form.field(name).fill(value)
    form.dialog.locator("label:has([name=element_use_events])").first.click()
    form.save()
    assert stored(airflow, "typed") == {**typed, "timeout": 30, "rate_limit": 2.5, "use_events": True}
    form.edit("typed")
    assert form.field("password").input_value() == "***"
    form.open("Extra Fields")
    for name, value in typed.items():
        sync_api.expect(form.field(name)).to_have_value(value)
        form.field(name).fill("")
    sync_api.expect(form.field("use_events")).to_be_checked()
    form.dialog.locator("label:has([name=element_use_events])").first.click()
    form.save()
    assert stored(airflow, "typed") == {"use_events": False}


def test_the_test_button_says_what_the_connection_leads_to(
    form: Form, airflow: Airflow, sandbox: StripeSandbox
) -> None:
    """Whose data, of which mode, and how far it reaches."""
    make(airflow, "works", sandbox.url, "sk_test_sandbox")
    said = form.test("works")
    assert "Connected to the test data of account acct_sandbox (Shop of sandbox): " in said
    assert "to 2026-03-02 00:00:00 UTC" in said
    form.page.set_viewport_size({"width": 900, "height": 480})
    picture(form.page, "connection-test.png")
    make(airflow, "restricted", sandbox.url, "rk_test_reports")
    assert "Connected to the test data of account acct_sandbox: " in form.test("restricted")


def test_the_test_button_says_what_is_wrong(form: Form, airflow: Airflow, sandbox: StripeSandbox) -> None:
    """The key, its permissions, the host, or that nothing answers there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"
    for conn_id, host, key, words in [
        ("wrong_key", sandbox.url, "sk_test_other", "Invalid API Key provided: sk_test_****ther"),
        ("no_permission", sandbox.url, "rk_test_files", "'rak_report_runs_and_report_types_read' permission"),
        ("no_key", sandbox.url, "pk_test_other", "the password is not a secret key"),
        ("plain_http", "http://api.stripe.com:80", "sk_test_other", "host has to be https"),
        ("nobody", nobody, "sk_test_other", "nothing listens there (connection refused)"),
    ]:
        make(airflow, conn_id, host, key)
        said = form.test(conn_id)
        assert "Test Connection Failed" in said
        assert words in said
        assert "Connection '" not in said  # which Airflow names at random for the test


def make(airflow: Airflow, conn_id: str, host: str, key: str) -> None:
    """Make a connection, with the port: without one, the UI of Airflow 3.3.2 refuses to test."""
    port = int(host.rpartition(":")[2])
    body = {"connection_id": conn_id, "conn_type": "stripe", "host": host, "port": port, "password": key}
    airflow.post("connections", body)


def stored(airflow: Airflow, conn_id: str) -> dict[str, Any]:
    """Return what is in the extra that was saved, as Airflow's API shows it."""
    extra = json.loads(airflow.get(f"connections/{conn_id}")["extra"])
    return {name: value for name, value in extra.items() if value is not None}
