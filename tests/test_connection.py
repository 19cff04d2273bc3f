from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.wire.connection import ConnectionSettings

NOTHING: dict[str, Any] = {
    "conn_id": "stripe_default",
    "host": None,
    "schema": None,
    "login": None,
    "password": "sk_test_key",
    "port": None,
}


def settings(extra: dict[str, Any] | None = None, **fields: Any) -> ConnectionSettings:
    return ConnectionSettings.from_connection(SimpleNamespace(**{**NOTHING, **fields}), extra or {})


def test_a_key_is_all_it_takes() -> None:
    """Stripe's own hosts, verified TLS, a time-out."""
    it = settings()
    assert (it.api_base_url, it.files_base_url) == ("https://api.stripe.com", "https://files.stripe.com")
    assert (it.verify, it.timeout, it.livemode) == (True, 60.0, False)


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "api.stripe.com"}, "https://api.stripe.com"),
        ({"host": "api.stripe.com", "schema": "https", "port": 0}, "https://api.stripe.com"),
        ({"host": "https://proxy.example/", "port": 8443}, "https://proxy.example:8443"),
        ({"host": "http://127.0.0.1:8181"}, "http://127.0.0.1:8181"),
        ({"host": "localhost", "schema": "http", "port": 8181}, "http://localhost:8181"),
        ({"host": "http://[::1]:8181"}, "http://[::1]:8181"),
        ({"host": "API.Stripe.com", "port": 443}, "https://api.stripe.com"),
    ],
)
def test_reads_the_host_as_people_write_it(fields: dict[str, Any], url: str) -> None:
    """With a scheme or without, the port in either place; files come from Stripe's host or the same one."""
    it = settings(**fields)
    assert it.api_base_url == url
    assert it.files_base_url == (url if url != "https://api.stripe.com" else "https://files.stripe.com")


@pytest.mark.parametrize(
    ("fields", "extra", "message"),
    [
        ({"password": None}, {}, "secret key is missing; put it into the password."),
        ({"password": None, "login": "sk_test_key"}, {}, "(not into the login)"),
        ({"password": "pk_test_key"}, {}, "begin with sk_ or rk_"),
        ({"password": "sk_test_key\nX-Evil: 1"}, {}, "not a secret key"),
        ({"host": "http://api.stripe.com"}, {}, "host has to be https"),
        ({"host": "http://127.0.0.1.evil.test"}, {}, "host has to be https"),
        ({"host": "https://api.stripe.com/v1"}, {}, "without a path"),
        ({"host": "https://user:pass@api.stripe.com"}, {}, "without a path or a user"),
        ({"host": "https://api.stripe.com:0x50"}, {}, "host is a host"),
        ({"host": "ftp://api.stripe.com"}, {}, "host has to be https"),
        ({}, {"files_base_url": "http://files.test"}, "files_base_url has to be https"),
        ({}, {"timeout": "soon"}, "positive number of seconds"),
        ({}, {"timeout": -1}, "positive number of seconds"),
        ({}, {"timeout": "nan"}, "positive number of seconds"),
        ({}, {"timeout": 1e300}, "a day at most"),
        ({}, {"stripe_account": "42"}, "acct_…"),
        ({}, {"stripe_account": "acct_1\r\nX-Evil: 1"}, "acct_…"),
        ({}, {"stripe_version": "new est"}, "an API version"),
        ({}, {"proxies": 7}, "proxies is an object"),
        ({}, {"srv_lookup": True}, "the extra has srv_lookup"),
        ({}, {"X-Header": "1"}, "the extra has X-Header"),
    ],
)
def test_refuses_what_is_missing_or_unsafe(fields: dict[str, Any], extra: dict[str, Any], message: str) -> None:
    """With the connection's name, and without its secrets."""
    with pytest.raises(ConfigurationError, match="Connection 'stripe_default'") as caught:
        settings(extra, **fields)
    assert message in str(caught.value)
    assert "key\n" not in str(caught.value)
    assert "pass@" not in str(caught.value)


def test_names_every_mistake_at_once() -> None:
    """Nobody should have to fix a connection one error at a time."""
    with pytest.raises(ConfigurationError) as caught:
        settings({"timeout": 0, "novelty": 1}, host="http://example.com", password="")
    assert all(word in str(caught.value) for word in ("timeout", "novelty", "https", "secret key"))


@pytest.mark.parametrize(
    ("key", "livemode"),
    [
        ("sk_test_1", False),
        ("rk_test_1", False),
        ("sk_live_1", True),
        ("rk_live_1", True),
        ("sk_org_1", None),
    ],
)
def test_knows_the_mode_of_a_key(key: str, livemode: bool | None) -> None:
    """Where the prefix doesn't tell, it doesn't guess."""
    assert settings(password=key).livemode is livemode


def test_the_key_is_not_shown() -> None:
    """Settings may end up in a log or a debugger."""
    assert "sk_test_key" not in repr(settings())


def test_empty_fields_of_the_form_count_as_absent() -> None:
    """Airflow stores what was left empty as null or as an empty text."""
    it = settings({"stripe_account": "", "timeout": None, "files_base_url": ""})
    assert (it.stripe_account, it.timeout) == (None, 60.0)


def test_a_line_end_from_a_secret_store_is_no_part_of_a_value() -> None:
    """It would be refused as a header much later, and less clearly."""
    it = settings({"stripe_account": "acct_1\n"}, password="sk_test_key\n")
    assert (it.stripe_account, it.api_key) == ("acct_1", "sk_test_key")


FILE = "/v1/files/file_1/contents"


@pytest.mark.parametrize(
    ("fields", "extra", "url", "fetched"),
    [
        ({}, {}, f"https://files.stripe.com{FILE}", f"https://files.stripe.com{FILE}"),
        ({}, {}, f"https://FILES.stripe.com:443{FILE}", f"https://files.stripe.com{FILE}"),
        ({}, {}, f"https://api.stripe.com{FILE}", f"https://api.stripe.com{FILE}"),
        ({"host": "https://gw.test"}, {}, f"https://files.stripe.com{FILE}", f"https://gw.test{FILE}"),
        (
            {},
            {"files_base_url": "https://gw.test/"},
            f"https://files.stripe.com{FILE}",
            f"https://gw.test{FILE}",
        ),
        ({}, {}, f"http://files.stripe.com{FILE}", None),
        ({}, {}, f"https://files.stripe.com.evil.test{FILE}", None),
        ({}, {}, f"https://files.stripe.com:8443{FILE}", None),
        ({}, {}, f"https://files.stripe.com:x{FILE}", None),
        ({}, {}, f"https://files.stripe.com@evil.test{FILE}", None),
        ({}, {}, f"https://me@files.stripe.com{FILE}", None),
    ],
)
def test_fetches_files_only_where_the_key_may_go(
    fields: dict[str, Any], extra: dict[str, Any], url: str, fetched: str | None
) -> None:
    """From the API's host or the files host; a gateway stands in for Stripe's own."""
    assert settings(extra, **fields).file_url(url) == fetched


def test_the_way_to_this_machine_leads_over_no_proxy() -> None:
    """Plain http is allowed to a sandbox here, so it must not leave the machine with the key."""
    assert settings(host="http://127.0.0.1:8181").trust_env is False
    assert settings().trust_env is True


def test_the_tasks_account_comes_before_the_connections() -> None:
    """One connection serves a platform's many accounts."""
    extra = {"stripe_account": "acct_1"}
    it = ConnectionSettings.from_connection(SimpleNamespace(**NOTHING), extra, stripe_account="acct_2")
    assert it.headers()["Stripe-Account"] == "acct_2"


def test_an_empty_account_of_a_task_is_not_the_connections() -> None:
    """A template that rendered to nothing must not report on the platform itself."""
    with pytest.raises(ConfigurationError, match="stripe_account is empty"):
        ConnectionSettings.from_connection(SimpleNamespace(**NOTHING), {}, stripe_account="")


def test_tls_options() -> None:
    """As requests takes them."""
    it = settings({"verify": "/etc/ca.pem", "cert": ["/c.pem", "/k.pem"], "proxies": {"https": "http://p:1"}})
    assert (it.verify, it.cert, it.proxies) == ("/etc/ca.pem", ("/c.pem", "/k.pem"), {"https": "http://p:1"})


@pytest.mark.parametrize(
    "url", ["HTTPS://Files.Stripe.com:443/v1/x?a=b#c", " https://files.stri\npe.com/v1/x?a=b"]
)
def test_a_file_is_fetched_from_what_was_looked_at(url: str) -> None:
    """Another parser may see another host in the text of a URL that passes here."""
    assert settings({"files_base_url": "https://files.test"}).file_url(url) == "https://files.test/v1/x?a=b"
    assert settings({}).file_url(url) == "https://files.stripe.com/v1/x?a=b"
    elsewhere = url.replace("files", "api").replace("Files", "Api")
    assert settings({}).file_url(elsewhere) == "https://api.stripe.com/v1/x?a=b"
