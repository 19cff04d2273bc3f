from __future__ import annotations

import asyncio
import json
import os
import socket
import traceback
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import certifi
import pytest
import requests

from airflow_reportrun.hooks import StripeReportingAsyncHook, StripeReportingHook
from airflow_reportrun.reporting.errors import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    RateLimitError,
    ReportingError,
    ServerError,
    UnexpectedResponseError,
)
from airflow_reportrun.reporting.models import ReportRun, ReportType
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.resending import REFUSALS, ResendPolicy
from airflow_reportrun.sandbox import (
    PERMISSIONS,
    AfterReads,
    Dropped,
    LockTimeout,
    ProxyPage,
    RateLimited,
    Redirected,
    StripeSandbox,
    Unavailable,
)
from airflow_reportrun.sandbox import ServerError as Fails
from airflow_reportrun.wire.reach import extent

PARAMETERS = ReportParameters(interval_start=1714521600, interval_end=1714608000)
TYPE = "balance.summary.1"


def call_sync(verb: str, *args: Any, **kwargs: Any) -> Any:
    hook = StripeReportingHook()
    hook.sleep = lambda seconds: None
    result = getattr(hook, verb)(*args, **kwargs)
    return list(result) if verb == "list_report_runs" else result


def call_async(verb: str, *args: Any, **kwargs: Any) -> Any:
    async def no_sleep(seconds: float) -> None:
        pass

    async def go() -> Any:
        async with StripeReportingAsyncHook() as hook:
            hook.sleep_async = no_sleep
            result = getattr(hook, f"{verb}_async")(*args, **kwargs)
            return [run async for run in result] if verb == "list_report_runs" else await result

    return asyncio.run(go())


@pytest.fixture(params=[call_sync, call_async], ids=["sync", "async"])
def call(request: pytest.FixtureRequest, stripe_conn: StripeSandbox) -> Callable[..., Any]:
    """Calls a verb of a hook, in both colours: same answer, same error."""
    param: Callable[..., Any] = request.param
    return param


def test_every_verb_speaks_with_stripe(call: Callable[..., Any], stripe_conn: StripeSandbox) -> None:
    """Create, poll, list, look up types and files."""
    stripe_conn.configure(transition=AfterReads(1))
    run = call("create_report_run", TYPE, PARAMETERS)
    assert (run.status, run.report_type, run.livemode) == ("pending", TYPE, False)
    assert call("retrieve_report_run", run.id).status == "pending"
    done = call("retrieve_report_run", run.id)
    assert done.status == "succeeded"
    assert call("retrieve_file", done.result.id) == done.result
    assert TYPE in [report_type.id for report_type in call("list_report_types")]
    assert call("retrieve_report_type", TYPE).default_columns[0] == "category"
    assert [r.id for r in call("list_report_runs")] == [run.id]


def test_lists_page_by_page(call: Callable[..., Any], stripe_conn: StripeSandbox) -> None:
    """All runs come, newest first and each once, over page borders."""
    created = [StripeReportingHook().create_report_run(TYPE, PARAMETERS).id for _ in range(103)]
    assert [run.id for run in call("list_report_runs", created={"gte": 0})] == created[::-1]
    assert len(stripe_conn.requests_to("list")) == 2


def test_each_call_without_a_key_makes_a_run_and_survives_a_lost_answer(
    call: Callable[..., Any], stripe_conn: StripeSandbox
) -> None:
    """Sending again is safe because the key is chosen once a call."""
    stripe_conn.inject(Dropped(committed=True))
    runs = [call("create_report_run", TYPE, PARAMETERS) for _ in range(2)]
    assert [run.id for run in runs] == [run.id for run in stripe_conn.report_runs]


@pytest.mark.parametrize("fault", [RateLimited(), Unavailable(), Dropped()])
def test_waits_out_what_passes(call: Callable[..., Any], stripe_conn: StripeSandbox, fault: Any) -> None:
    """A rate limit, a proxy's 503, a broken connection: no failed task."""
    run = call("create_report_run", TYPE, PARAMETERS)
    stripe_conn.inject(fault, times=2, on="retrieve")
    assert call("retrieve_report_run", run.id).id == run.id
    assert len(stripe_conn.requests_to("retrieve")) == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (LockTimeout(), RateLimitError),
        (Unavailable(), ServerError),
        (Dropped(), APIConnectionError),
    ],
)
def test_gives_up_with_the_last_error(
    call: Callable[..., Any], stripe_conn: StripeSandbox, fault: Any, error: type[ReportingError]
) -> None:
    """In number bounded, in class the same in both colours."""
    stripe_conn.inject(fault, times=50, on="list_types")
    with pytest.raises(error):
        call("list_report_types")
    # On a connection that was kept alive, aiohttp itself sends a GET once more when it breaks.
    assert ResendPolicy().max_tries <= len(stripe_conn.requests) <= 2 * ResendPolicy().max_tries


def test_a_refusal_is_sent_again_for_ten_minutes(
    call: Callable[..., Any], stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many tries that takes: by then it is an error like another."""
    pauses: list[float] = []
    monkeypatch.setattr(REFUSALS, "count", lambda error, pause: pauses.append(pause))
    stripe_conn.inject(RateLimited("endpoint-rate"), times=500, on="list_types")
    with pytest.raises(RateLimitError, match="endpoint-rate"):
        call("list_report_types")
    assert 540 < sum(pauses) <= 600
    assert len(stripe_conn.requests) == len(pauses) + 1 > ResendPolicy().max_tries


def test_refusals_spend_no_try(call: Callable[..., Any], stripe_conn: StripeSandbox) -> None:
    """What else goes wrong between them has as many as ever."""
    tries = ResendPolicy().max_tries
    for _ in range(tries - 1):
        stripe_conn.inject(RateLimited(), times=2, on="list_types")
        stripe_conn.inject(Unavailable(), on="list_types")
    assert call("list_report_types")
    assert len(stripe_conn.requests) == 3 * (tries - 1) + 1


def test_an_error_carries_what_stripe_said(call: Callable[..., Any], stripe_conn: StripeSandbox) -> None:
    """Enough to find the request in Stripe's Dashboard."""
    early = ReportParameters(interval_start=1, interval_end=1714608000)
    with pytest.raises(InvalidRequestError) as caught:
        call("create_report_run", TYPE, early)
    error = caught.value
    assert (error.http_status, error.param, error.type) == (
        400,
        "parameters.interval_start",
        "invalid_request_error",
    )
    assert error.request_id == stripe_conn.requests[-1].request_id
    assert error.request_id in str(error)
    with pytest.raises(InvalidRequestError) as caught:
        call("retrieve_report_run", "frr_unknown")
    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")


def test_a_wrong_key_is_an_authentication_error_without_the_key(
    call: Callable[..., Any], stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The advice says where to put the right one; the wrong one is nowhere, not even in the chain of causes."""
    connection = {"conn_type": "stripe", "host": stripe_conn.url, "password": "sk_test_wrong_and_secret"}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
    with pytest.raises(AuthenticationError, match="password of the Airflow connection") as caught:
        call("list_report_types")
    assert "wrong_and_secret" not in "".join(traceback.format_exception(caught.value))


def test_connection_errors_show_no_url_and_no_key(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The HTTP libraries' own errors hold both, and reach the logs with the chain of causes."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    connection = {"conn_type": "stripe", "host": f"http://127.0.0.1:{port}", "password": "sk_test_secret"}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
    with pytest.raises(APIConnectionError, match="GET /v1/reporting/report_types got no whole answer") as caught:
        call("list_report_types")
    assert caught.value.__context__ is None
    assert "sk_test_secret" not in repr(caught.value.__dict__)


def test_redirects_are_not_followed(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect would carry the key along."""
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        connection = {"host": f"http://127.0.0.1:{server.server_port}", "password": "sk_test_sandbox"}
        monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps({"conn_type": "stripe", **connection}))
        with pytest.raises(UnexpectedResponseError, match="HTTP 302; redirects are not followed"):
            call("retrieve_report_run", "frr_1")
        server.shutdown()
    assert set(asked) == {"/v1/reporting/report_runs/frr_1"}


def test_redirects_of_downloads_are_not_followed(stripe_conn: StripeSandbox) -> None:
    """Not even to a host that looks harmless."""
    stripe_conn.inject(Redirected("http://127.0.0.1:9/elsewhere"), times=50)
    run = finished(stripe_conn)
    assert run.result
    hook = StripeReportingHook()
    hook.sleep = lambda seconds: None
    with pytest.raises(UnexpectedResponseError, match="redirects are not followed"):
        hook.read_file(run.result, b"".join)


def test_sends_account_version_and_key_and_no_extra(
    call: Callable[..., Any], stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An HTTP hook would send each extra as a header."""
    extra = {"stripe_account": "acct_1", "stripe_version": "2026-10-28.endive", "idempotency_scope": "eu"}
    connection = {"conn_type": "stripe", "host": stripe_conn.url, "password": "sk_test_sandbox", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
    call("list_report_types")
    request = stripe_conn.requests[-1]
    headers = request.headers
    assert (request.account, headers["stripe-version"]) == ("acct_1", "2026-10-28.endive")
    assert headers["authorization"].startswith("Bearer")
    assert not {"idempotency_scope", "idempotency-scope"} & set(headers)


def test_one_session_is_kept_alive(stripe_conn: StripeSandbox) -> None:
    """A handshake for each call would cost more than the calls."""
    hook = StripeReportingHook()
    hook.list_report_types()
    assert hook.get_conn() is hook.get_conn()
    adapter = hook.get_conn().get_adapter(stripe_conn.url)
    pools = adapter.poolmanager.pools  # type: ignore[attr-defined]
    (pool,) = (pools[key] for key in pools.keys())  # noqa: SIM118 - no mapping, though it has keys
    for _ in range(5):
        hook.list_report_types()
    assert (pool.num_connections, pool.num_requests) == (1, 6)


def test_the_inherited_ways_around_are_closed(stripe_conn: StripeSandbox) -> None:
    """HttpHook.run() would follow redirects with the key and lose what Stripe says."""
    with pytest.raises(ConfigurationError, match="no run"):
        StripeReportingHook().run("/v1/charges")
    with pytest.raises(ConfigurationError, match="no run"):
        asyncio.run(StripeReportingAsyncHook().run(endpoint="/v1/charges"))
    with pytest.raises(ConfigurationError, match="from the connection"):
        StripeReportingHook().get_conn(headers={"X-Any": "1"})
    assert stripe_conn.requests == []


def test_ignores_a_netrc_file(stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Requests prefers a .netrc entry to an Authorization header."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert StripeReportingHook().list_report_types()


def test_reads_a_file_again_after_a_cut(stripe_conn: StripeSandbox) -> None:
    """A file that is shorter than a chunk, from its start."""
    from airflow_reportrun.sandbox import CutBody

    run = finished(stripe_conn)
    assert run.result
    stripe_conn.inject(CutBody(after=100), on="contents")
    hook = StripeReportingHook()
    hook.sleep = lambda seconds: None
    contents = hook.read_file(run.result, b"".join)
    assert len(contents) == run.result.size
    assert contents.startswith(b'"category"')
    assert len(stripe_conn.requests_to("contents")) == 2


def test_a_download_waits_out_a_connection_that_breaks(stripe_conn: StripeSandbox) -> None:
    """Before the first byte as after it."""
    run = finished(stripe_conn)
    assert run.result
    stripe_conn.inject(Dropped(), times=2, on="contents")
    hook = StripeReportingHook()
    hook.sleep = lambda seconds: None
    assert len(hook.read_file(run.result, b"".join)) == run.result.size
    assert len(stripe_conn.requests_to("contents")) == 3


def test_a_file_on_another_host_is_not_asked_for(stripe_conn: StripeSandbox) -> None:
    """The key goes to the API and the files host of the connection, whatever an answer says."""
    from dataclasses import replace

    run = finished(stripe_conn)
    assert run.result
    for url in (
        "https://files.stripe.com.evil.test/v1/files/file_1/contents",
        f"http://{stripe_conn.url.removeprefix('http://')}@evil.test/",
        f"http://user@{stripe_conn.url.removeprefix('http://')}/v1/files/file_1/contents",
        "file:///etc/passwd",
    ):
        with pytest.raises(ConfigurationError, match="host that the key is not for"):
            StripeReportingHook().read_file(replace(run.result, url=url), b"".join)
    assert stripe_conn.requests_to("contents") == []


def test_a_missing_file_is_stripes_error(stripe_conn: StripeSandbox) -> None:
    """An error body is never taken for a report."""
    from dataclasses import replace

    run = finished(stripe_conn)
    assert run.result
    gone = replace(run.result, url=f"{stripe_conn.url}/v1/files/file_gone/contents")
    with pytest.raises(APIError, match="No such file"):
        StripeReportingHook().read_file(gone, b"".join)


@pytest.mark.parametrize(
    ("key", "permissions", "account", "said"),
    [
        ("sk_test_sandbox", None, None, "test data of account acct_sandbox (Shop of sandbox)"),
        ("sk_live_other", None, None, "live data of account acct_sandbox (Shop of sandbox)"),
        ("sk_test_sandbox", None, "acct_1", "test data of account acct_1 (Shop of 1)"),
        # A refusal names the account as well.
        ("rk_test_reader", PERMISSIONS[:1], None, "test data of account acct_sandbox"),
        ("rk_test_reader", PERMISSIONS[:1], "acct_1", "test data of account acct_1"),
        ("rk_test_reader", (PERMISSIONS[0], PERMISSIONS[3]), None, "account acct_sandbox (Shop of sandbox)"),
    ],
)
def test_the_test_button_says_whose_data_it_is_and_how_far_it_reaches(
    stripe_conn: StripeSandbox,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    permissions: Sequence[str] | None,
    account: str | None,
    said: str,
) -> None:
    """Live or test, the account, and the data; also with a key that can't see the account."""
    stripe_conn.configure(data_available_end=1_772_409_600)
    if key != stripe_conn.api_key:
        stripe_conn.add_key(key, permissions)
    connection = {"conn_type": "stripe", "host": stripe_conn.url, "password": key}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
    works, message = StripeReportingHook(stripe_account=account).test_connection()
    assert works
    assert f"{said}: " in message
    assert message.endswith("with data from 2022-01-01 00:00:00 UTC to 2026-03-02 00:00:00 UTC.")
    assert message.startswith("Connected to the ")


def test_a_key_that_may_not_report_fails_the_test(
    stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the permission that it lacks."""
    stripe_conn.add_key("rk_test_reader", {"file_read"})
    connection = {"conn_type": "stripe", "host": stripe_conn.url, "password": "rk_test_reader"}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
    works, message = StripeReportingHook().test_connection()
    assert not works
    assert "A restricted key needs the permissions report_runs_and_report_types_read" in message


@pytest.mark.parametrize("fault", [Fails(), Unavailable(), ProxyPage()])
def test_an_account_that_can_not_be_asked_for_is_no_failure(stripe_conn: StripeSandbox, fault: Any) -> None:
    """What counts is that reports can be asked for."""
    stripe_conn.inject(fault, times=20, on="retrieve_account")
    hook = StripeReportingHook()
    hook.sleep = lambda seconds: None
    works, message = hook.test_connection()
    assert works
    assert message.startswith("Connected to the test data of the key's own account: ")


def test_an_account_without_report_types_says_so(stripe_conn: StripeSandbox) -> None:
    """A new account's come within a day."""
    stripe_conn.configure(report_types=[])
    assert StripeReportingHook().test_connection() == (
        True,
        "Connected to the test data of account acct_sandbox (Shop of sandbox): no report types yet; a new account "
        "has some within a day.",
    )


def test_report_types_that_lag_behind_are_said() -> None:
    """How far all of them reach, and how far the last."""
    one: dict[str, Any] = {"name": "", "default_columns": (), "livemode": False, "updated": 0, "version": 1}
    types = [
        ReportType(id=f"a.{end}", data_available_start=1_640_995_200, data_available_end=end, **one)
        for end in (1_772_409_600, 1_772_452_800)
    ]
    assert extent(types) == (
        "2 report types, with data from 2022-01-01 00:00:00 UTC to 2026-03-02 12:00:00 UTC, of 1 of them to "
        "2026-03-02 00:00:00 UTC at least"
    )


def test_a_mode_that_the_key_does_not_tell_is_read_from_the_report_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of an organization need not have _test_ or _live_ in it."""
    with StripeSandbox(api_key="sk_org_sandbox") as sandbox:
        extra = {"stripe_context": "acct_1", "stripe_version": "2026-10-28.endive"}
        connection = {"conn_type": "stripe", "host": sandbox.url, "password": sandbox.api_key, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
        assert "the test data of account acct_1 (Shop of 1)" in StripeReportingHook().test_connection()[1]


def test_the_test_button_says_what_is_wrong(stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mistake at once, instead of one a click."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps({"conn_type": "stripe", "host": "http://api.stripe.com"})
    )
    works, message = StripeReportingHook().test_connection()
    assert not works
    assert message.startswith("the secret key is missing")  # without the name that the button makes up
    assert "has to be https" in message


ENVIRONMENT = {"HTTPS_PROXY": "http://environment.test:1", "REQUESTS_CA_BUNDLE": certifi.where()}


@pytest.mark.parametrize(
    ("extra", "proxy", "verify"),
    [
        ({}, "http://environment.test:1", True),
        ({"proxies": "http://connection.test:2", "verify": "false"}, "http://connection.test:2", False),
        ({"trust_env": "false"}, None, True),
    ],
)
def test_proxies_and_tls_are_the_same_in_both_colours(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, str], proxy: str | None, verify: bool
) -> None:
    """The connection's word first, then the environment's; a poll takes no other way than a POST."""
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    connection = {"conn_type": "stripe", "password": "sk_test_sandbox", "extra": {"timeout": "7", **extra}}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))

    sent: dict[str, Any] = {}
    hook = StripeReportingHook()

    def send(request: requests.PreparedRequest, **options: Any) -> requests.Response:
        sent.update(options)
        raise requests.ConnectionError

    monkeypatch.setattr(hook.get_conn(), "send", send)
    hook.resend_policy = ResendPolicy(max_tries=1)
    with pytest.raises(APIConnectionError):
        hook.list_report_types()
    assert sent["proxies"].get("https") == proxy
    assert bool(sent["verify"]) is verify
    assert (sent["timeout"], sent["allow_redirects"]) == (7.0, False)

    options = asyncio.run(StripeReportingAsyncHook().config()).extra_options or {}
    assert options["proxy"] == proxy
    assert bool(options["ssl"]) is verify
    assert (options["timeout"].total, options["allow_redirects"]) == (7.0, False)


def ssl_of(monkeypatch: pytest.MonkeyPatch, verify: str) -> Any:
    connection = {"conn_type": "stripe", "password": "sk_test_sandbox", "extra": {"verify": verify}}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
    return (asyncio.run(StripeReportingAsyncHook().config()).extra_options or {})["ssl"]


def test_a_ca_bundle_is_read_once_until_it_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A triggerer makes a hook for each of its tasks, and outlives certificates."""
    bundle = tmp_path / "ca.pem"
    bundle.write_text(Path(certifi.where()).read_text())
    first = ssl_of(monkeypatch, str(bundle))
    assert ssl_of(monkeypatch, str(bundle)) is first
    os.utime(bundle, (1, 1))
    assert ssl_of(monkeypatch, str(bundle)) is not first


def test_a_folder_of_certificates_will_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Requests takes one, too."""
    assert ssl_of(monkeypatch, str(tmp_path)).get_ca_certs() == []


def test_a_ca_bundle_that_is_not_there_is_said(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """In words, the same in both colours, and without trying again."""
    connection = {"conn_type": "stripe", "password": "sk_test_sandbox", "extra": {"verify": "/nowhere/ca.pem"}}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
    with pytest.raises(ConfigurationError, match=r"can't be used \(No such file or directory\)") as caught:
        call("list_report_types")
    assert "nowhere" not in str(caught.value)


def finished(sandbox: StripeSandbox) -> ReportRun:
    """Return a run that has succeeded."""
    sandbox.configure(transition=AfterReads(0))
    hook = StripeReportingHook()
    return hook.retrieve_report_run(hook.create_report_run(TYPE, PARAMETERS).id)
