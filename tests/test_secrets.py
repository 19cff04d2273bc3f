"""What a server says is passed on without the key, wherever it echoes it."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_reportrun import triggers
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.reporting.errors import ReportingError
from airflow_reportrun.reporting.models import File
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.reporting.secrets import redacted
from airflow_reportrun.sandbox import StripeSandbox
from airflow_reportrun.sensors import StripeReportRunSensor
from tests.task_runner import TaskRunner, in_dag
from tests.test_exchange_limits import answer, ask_async, ask_sync
from tests.wire import Wire

KEY = "sk_test_key"
OTHER = "rk_live_somebodyelses"

ERROR = {
    "type": KEY,
    "code": f"code_of {KEY}",
    "param": KEY,
    "message": f"No: {KEY} and {OTHER}, 'sk_test_****tkey'",
}
RUN = {
    "id": "frr_1",
    "object": "reporting.report_run",
    "created": 1714608000,
    "livemode": False,
    "parameters": {"interval_start": 1714521600, "interval_end": 1714608000},
    "report_type": f"balance.summary.1{KEY}",
    "status": "failed",
    "error": f"Failed for {KEY}",
    "result": None,
}


@pytest.fixture(autouse=True)
def _trigger_looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "FIRST_LOOK_AFTER", 0.0)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """A server that says anything, behind the Airflow connection ``stripe_default``."""
    monkeypatch.setattr(ResendPolicy, "pause", lambda *args: 0.01)
    with Wire() as wire:
        connection = {"conn_type": "stripe", "host": wire.url, "password": KEY, "extra": {"timeout": 5}}
        monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
        yield wire


def says(wire: Wire, body: object, *headers: bytes, status: bytes = b"200 OK") -> None:
    """Answer each request so."""
    wire.script = lambda request: iter([answer(json.dumps(body).encode(), *headers, status=status)])


ECHOES: dict[str, tuple[object, tuple[bytes, ...], bytes]] = {
    "an error": ({"error": ERROR}, (), b"401 Unauthorized"),
    "an error that passes": ({"error": ERROR}, (), b"500 Oops"),
    "a request id": ({"error": {"message": "No"}}, (b"Request-Id: " + KEY.encode(),), b"400 No"),
    "a reason": ({}, (b"Stripe-Rate-Limited-Reason: " + KEY.encode(),), b"429 Slowly"),
    "a type of content": (KEY, (b"Content-Type: " + KEY.encode(),), b"200 OK"),
    "a coding": ([], (b"Content-Encoding: " + KEY.encode(),), b"200 OK"),
    "a status line": ({}, (), b"500 " + KEY.encode()),
    "a model": ({"object": KEY, "data": KEY, "has_more": KEY}, (), b"200 OK"),
}


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("ask", [ask_sync, ask_async], ids=["sync", "async"])
def test_a_key_that_is_echoed_is_in_no_error_and_no_log(
    ask: Callable[..., Any], wire: Wire, echo: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the error that is raised nor in the logs of the tries before, in either colour."""
    body, headers, status = ECHOES[echo]
    says(wire, body, *headers, status=status)
    with caplog.at_level(logging.DEBUG, "airflow_reportrun"), pytest.raises(ReportingError) as caught:
        ask(2)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__) + caplog.text
    assert KEY not in told
    assert OTHER not in told
    if body == {"error": ERROR}:
        assert "No: *** and ***, 'sk_test_****tkey'" in told  # what Stripe shows of a key stays


SPELT: dict[str, bytes] = {
    "escaped": json.dumps({"error": ERROR}).replace("_", "\\u005f").encode(),
    "UTF-16": json.dumps({"error": ERROR}).encode("utf-16"),
}


@pytest.mark.parametrize("spelling", SPELT)
@pytest.mark.parametrize("ask", [ask_sync, ask_async], ids=["sync", "async"])
def test_a_key_that_is_echoed_in_other_characters_is_in_no_error(
    ask: Callable[..., Any], wire: Wire, spelling: str
) -> None:
    """As JSON reads them, and not as they came."""
    wire.script = lambda request: iter([answer(SPELT[spelling], status=b"401 Unauthorized")])
    with pytest.raises(ReportingError, match=r"No: \*\*\* and \*\*\*") as caught:
        ask(2)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__)
    assert KEY not in told
    assert OTHER not in told


@pytest.mark.parametrize(
    "option", ["connected_account", "payout", "currency", "timezone", "interval_start", "fresh"]
)
def test_a_key_in_an_option_of_a_task_is_in_no_error(stripe_conn: StripeSandbox, option: str) -> None:
    """It was pasted into the wrong field, and is a secret there, too."""
    options = {"report_type": "balance.summary.1", option: "{{ '" + OTHER + "' }}"}
    if option == "interval_start":
        options["interval_end"] = "2024-05-01T00:00:00Z"
    tried = TaskRunner().run(in_dag(StripeReportRunOperator, **options))
    assert tried.state == "failed"
    assert "***" in str(tried.error)
    assert OTHER not in str(tried.error)


def test_a_key_that_is_echoed_to_a_download_is_in_no_error(wire: Wire) -> None:
    """Files come by another way than the rest of the API."""
    says(wire, {"error": ERROR}, status=b"404 Not Found")
    with pytest.raises(ReportingError, match=r"No: \*\*\*") as caught:
        StripeReportingHook().read_file(
            File("file_1", 1714608000, 9, f"{wire.url}/v1/files/file_1/contents"), b"".join
        )
    assert KEY not in repr(caught.value.__dict__)


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_key_that_is_echoed_is_in_no_event_and_no_xcom(wire: Wire, deferrable: bool) -> None:
    """A failed run brings Stripe's words to the task, in a worker and by a trigger."""
    runner = TaskRunner()
    task = in_dag(StripeReportRunSensor, report_run_id="frr_1", deferrable=deferrable)
    says(wire, {**RUN, "status": "pending"} if deferrable else RUN)
    tried = runner.run(task)
    if deferrable:
        says(wire, RUN)
        tried = runner.resume(task, tried)
    assert tried.state == "failed"
    assert "Failed for ***" in str(tried.error)
    assert KEY not in str(tried.error) + repr(tried.xcoms)


def test_a_key_that_is_echoed_in_a_run_is_in_no_xcom(wire: Wire) -> None:
    """What a task returns of a run is Stripe's, too."""
    says(wire, {**RUN, "status": KEY, "error": None})
    tried = TaskRunner().run(
        in_dag(
            StripeReportRunOperator,
            report_type="balance.summary.1",
            wait_for_data=False,
            wait_for_completion=False,
        )
    )
    assert tried.state == "success"
    assert tried.returned["status"] == "***"
    assert KEY not in repr(tried.xcoms)


@pytest.mark.parametrize(
    "key", ["sk_live_a1", "rk_test_A_b", "sk_org_live_1", "sk_org_test_1", "sk_org_1", "whsec_1", "sk_test_1"]
)
def test_whatever_looks_like_a_key_is_taken_out(key: str) -> None:
    """Another key than the connection's may come from anywhere."""
    assert redacted(f"a {key}, ('{key}') {key}") == "a ***, ('***') ***"


@pytest.mark.parametrize(
    ("echoed", "shown"),
    [
        ("Proxy-Authorization: Basic bWU6cHc=\r\nHost", "Proxy-Authorization: Basic ***\r\nHost"),
        ('{"authorization": "bearer a.b-c~d"}', '{"authorization": "bearer ***"}'),
        (r'"{\"Authorization\": \"Basic bWU6\"}"', r'"{\"Authorization\": \"Basic ***\"}"'),
    ],
)
def test_credentials_of_a_header_are_taken_out(echoed: str, shown: str) -> None:
    """Such as a proxy's own, where it echoes a request; what stands around them stays what it was."""
    assert redacted(echoed) == shown


@pytest.mark.parametrize(
    "text", ["task_live_report", "sk_customer", "sk_test_****abcd", "disk_test_1", "frr_sk", ""]
)
def test_what_is_no_key_stays(text: str) -> None:
    """Ids of tasks and names of columns may look alike."""
    assert redacted(text, "", KEY) == text
