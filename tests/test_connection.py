from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun.reporting.budget import budget_of
from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.wire.connection import EXTRA_FIELDS, ConnectionSettings

NOTHING: dict[str, Any] = {
    "conn_id": "stripe_default",
    "host": None,
    "schema": None,
    "login": None,
    "password": "sk_test_key",
    "port": None,
    "extra": None,
}


def settings(
    extra: dict[str, Any] | None = None, *, task: Mapping[str, str] | None = None, **fields: Any
) -> ConnectionSettings:
    """Read a connection with this extra and these fields, as a task with these options of its own."""
    return of_extra(None if extra is None else json.dumps(extra), task=task, **fields)


def of_extra(extra: Any, *, task: Mapping[str, str] | None = None, **fields: Any) -> ConnectionSettings:
    """Read a connection whose extra is as it is stored."""
    connection = SimpleNamespace(**{**NOTHING, "extra": extra, **fields})
    return ConnectionSettings.from_connection(connection, **(task or {}))


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
        ({"host": "http://127.0.0.1:8181", "port": 8181}, "http://127.0.0.1:8181"),
        ({"host": "https://proxy.example:8443/", "port": "8443"}, "https://proxy.example:8443"),
        ({"host": "http://[::1]", "port": 8181}, "http://[::1]:8181"),
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
        ({"host": "https://api.stripe.com:443", "port": 8443}, {}, "there is a port in the host and another one"),
        ({"host": "ftp://api.stripe.com"}, {}, "host has to be https"),
        ({}, {"files_base_url": "http://files.test"}, "files_base_url has to be https"),
        ({}, {"timeout": "soon"}, "positive number of seconds"),
        ({}, {"timeout": -1}, "positive number of seconds"),
        ({}, {"timeout": "nan"}, "positive number of seconds"),
        ({}, {"timeout": 1e300}, "a day at most"),
        ({}, {"stripe_account": "42"}, "acct_…"),
        ({}, {"stripe_account": "acct_1\r\nX-Evil: 1"}, "acct_…"),
        ({}, {"stripe_version": "new est"}, "an API version"),
        ({}, {"proxies": 7}, "or an object of URLs by scheme"),
        ({}, {"srv_lookup": True}, "the extra has fields that are not known"),
        ({}, {"X-Header": "1"}, "the extra has fields that are not known"),
    ],
)
def test_refuses_what_is_missing_or_unsafe(fields: dict[str, Any], extra: dict[str, Any], message: str) -> None:
    """With the connection's name, and without its secrets."""
    with pytest.raises(ConfigurationError, match="Connection 'stripe_default'") as caught:
        settings(extra, **fields)
    assert message in str(caught.value)
    assert "key\n" not in str(caught.value)
    assert "pass@" not in str(caught.value)


OBJECT = '{"stripe_account": "acct_1"}'


@pytest.mark.parametrize(
    "extra",
    [
        OBJECT.replace("}", ",}"),
        OBJECT.replace('"', "'"),
        f"[{OBJECT}]",
        f"{OBJECT} {OBJECT}",
        f"\ufeff{OBJECT}",
        json.dumps(OBJECT),
        json.dumps("acct_1"),
        "acct_1",
        "stripe_account=acct_1",
        "7",
        "true",
        "null",
        "[]",
        "NaN",
        "9" * 5000,
        "[" * 200_000,
        "{",
        b'{"stripe_account": "acct_1"}',
        7,
    ],
)
def test_an_extra_that_is_no_object_is_refused(extra: Any) -> None:
    """Airflow makes an empty one of it, and the task would report on another account."""
    with pytest.raises(ConfigurationError, match="the extra is") as caught:
        of_extra(extra)
    assert "acct_1" not in str(caught.value)


@pytest.mark.parametrize("extra", [None, "", "  ", "{}", '{"stripe_account": null}', {}, {"timeout": 60}])
def test_an_extra_that_says_nothing_is_none(extra: Any) -> None:
    """Forms and back-ends have several ways to leave it out; some give an object instead of its text."""
    assert of_extra(extra) == settings()


WRONG: dict[str, list[Any]] = {
    "stripe_account": [7, 0, False, True, [], {}, ["acct_1"], {"id": "acct_1"}, "acct-1", " ", "acct_1/acct_2"],
    "stripe_context": [7, 0, False, [], ["acct_1"], {}, "acct_1/", "/acct_1", "acct_1//acct_2", "org_1", "\n"],
    "stripe_version": [2026, 0, False, [], {}, "new est", "\t"],
    "idempotency_scope": [7, False, [], {}, {"a": 1}, " ", "a\x00b"],
    "timeout": [True, False, 0, -1, float("nan"), float("inf"), 10**400, "soon", [], {}, [60], "60 s", " "],
    "files_base_url": [7, False, [], {}, {"url": "https://files.test"}, "files.test/path", " ", "https://a..b"],
    "proxies": [
        *(
            7,
            True,
            [],
            ["http://p:1"],
            " ",
            "http://",
            "http://p:x",
            "http://p:0",
            "ftp://p:1",
            "http://p:1?a",
            "p q:1",
        ),
        *({"https": 7}, {"https": ["p:1"]}, {"https": {}}, {"htps": "http://p:1"}, {"https": "http://[::1:1"}),
        '{"https": "http://p:1"}',
    ],
    "verify": [0, 1, [], {}, ["/ca.pem"], " ", "/ca\x00.pem"],
    "cert": [7, True, [], {}, ["/c.pem"], ["/c.pem", 7], ["/c.pem", None], ["/c", "/k", "/x"], [" ", "/k"], " "],
    "trust_env": [0, 1, "no", "yes", [], {}, " "],
    "use_events": [0, 1, "no", "yes", [], {}, " "],
    "rate_limit": [True, False, 0, -1, float("nan"), float("inf"), 10**400, "much", [], {}, [25], "25/s", " "],
}
"""Values that are not what a field of the extra should be."""

WRONG_FIELDS: dict[str, list[Any]] = {
    "host": [7, True, [], {}, " ", "a b", "https://", "a..b", "https://[::1", "x" * 70],
    "schema": [7, [], "ftp", "v1", " "],
    "login": [7, [], "acct_1"],
    "password": [7, True, [], {}, b"sk_test_key"],
    "port": [True, -1, 99999, 1.5, "x", [], {}],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]])
def test_a_field_of_another_kind_is_refused_by_name(name: str, value: Any) -> None:
    """Whatever is not understood would be another account, another way, or an error somewhere else."""
    with pytest.raises(ConfigurationError, match=rf"Connection 'stripe_default': .*{name}"):
        settings({name: value})


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in WRONG_FIELDS for value in WRONG_FIELDS[name]]
)
def test_a_field_of_the_connection_of_another_kind_is_refused(name: str, value: Any) -> None:
    """JSON in an environment variable may have anything there."""
    with pytest.raises(ConfigurationError, match=rf"Connection 'stripe_default': .*{name}"):
        settings(**{name: value})


def test_every_field_of_the_extra_has_values_that_are_refused() -> None:
    """So that a field that comes later is looked at as well."""
    assert set(WRONG) == set(EXTRA_FIELDS)


@given(
    st.dictionaries(
        st.sampled_from([*EXTRA_FIELDS, "other"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=5,
        ),
    )
)
def test_any_extra_is_read_or_refused(extra: dict[str, Any]) -> None:
    """With one kind of error, and headers that a request can carry."""
    try:
        it = settings(extra)
    except ConfigurationError:
        return
    assert all(value.isascii() and value.isprintable() for value in it.headers().values())


SECRETS = ("sk_test_key", "rk_live_misplaced", "sk_org_test_misplaced", "whsec_misplaced")


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("place", [*EXTRA_FIELDS, "as a name", "host", "schema", "login", "conn_id"])
def test_a_key_in_the_wrong_place_is_not_shown(secret: str, place: str) -> None:
    """Also inside a list or an object, and as the name of a field; the error says where it is."""
    for value in (secret, f"{secret}/x", [secret], {"a": secret}):
        fields: dict[str, Any] = {"extra": json.dumps({secret if place == "as a name" else place: value})}
        if place in NOTHING:
            fields = {place: value, "extra": '{"timeout": 0}'}
        with pytest.raises(ConfigurationError) as caught:
            of_extra(**fields)
        assert secret not in str(caught.value)
        assert place in str(caught.value) or place in ("as a name", "conn_id")


@pytest.mark.parametrize("option", ["stripe_account", "stripe_context"])
def test_what_a_task_says_is_not_shown_either(option: str) -> None:
    """A template may bring a key there."""
    with pytest.raises(ConfigurationError, match=option) as caught:
        settings(task={option: "sk_live_misplaced"})
    assert "misplaced" not in str(caught.value)


def test_a_field_that_is_nearly_known_is_named_as_the_known_one() -> None:
    """Whose name was mistyped is told which one was meant, by its right name."""
    with pytest.raises(ConfigurationError, match=r"\(meant as stripe_account\?\)"):
        settings({"stripe_acount": "acct_1"})


def test_names_every_mistake_at_once() -> None:
    """Nobody should have to fix a connection one error at a time."""
    with pytest.raises(ConfigurationError) as caught:
        settings({"timeout": 0, "novelty": 1}, host="http://example.com", password="")
    assert all(word in str(caught.value) for word in ("timeout", "not known", "https", "secret key"))


@pytest.mark.parametrize(
    ("key", "livemode"),
    [
        ("sk_test_1", False),
        ("rk_test_1", False),
        ("sk_live_1", True),
        ("rk_live_1", True),
        ("sk_org_1", None),
        ("sk_org_live_1", True),
        ("sk_org_test_1", False),
    ],
)
def test_knows_the_mode_of_a_key(key: str, livemode: bool | None) -> None:
    """Where the prefix doesn't tell, it doesn't guess."""
    organization = {"stripe_context": "acct_1", "stripe_version": "2026-10-28.endive"}
    assert settings(organization, password=key).livemode is livemode


@pytest.mark.parametrize(
    ("key", "extra", "limit"),
    [
        ("sk_test_1", {}, 25),
        ("sk_live_1", {}, 100),
        ("sk_org_1", {"stripe_context": "acct_1", "stripe_version": "2026-10-28.endive"}, 25),
        ("sk_live_1", {"rate_limit": 40, "stripe_account": "acct_1"}, 40),
    ],
)
def test_the_budget_goes_by_the_mode_and_by_what_the_connection_says(
    key: str, extra: dict[str, Any], limit: float
) -> None:
    """A mode that can't be told counts as the one that may do less."""
    it = settings(extra, password=key)
    assert it.budget() is budget_of("https://api.stripe.com", key, it.acting_as, limit)


def test_the_key_is_not_shown() -> None:
    """Settings may end up in a log or a debugger."""
    assert "sk_test_key" not in repr(settings())


def test_empty_fields_of_the_form_count_as_absent() -> None:
    """Airflow stores what was left empty as null or as an empty text."""
    it = settings({"stripe_account": "", "timeout": None, "files_base_url": ""})
    assert (it.stripe_account, it.timeout) == (None, 60.0)


def test_what_the_button_of_airflow_2_sends_is_read() -> None:
    """Each field twice, once with a prefix, and a letter for a box that is checked."""
    sent = {"stripe_account": "acct_1", "timeout": "30", "use_events": "y"}
    twins = {f"extra__stripe__{name}": value for name, value in sent.items()}
    assert settings({**twins, **sent}) == settings(twins) == settings({**sent, "use_events": True})
    with pytest.raises(ConfigurationError, match="not known"):
        settings({"extra__stripe__novelty": "1"})


@pytest.mark.parametrize(
    ("value", "uses"), [(None, False), ("", False), (True, True), ("false", False), ("True", True)]
)
def test_events_are_used_where_the_connection_says_so(value: Any, uses: bool) -> None:
    """The form gives texts; a field that nobody filled in opts out."""
    assert settings({"use_events": value}).use_events is uses


@pytest.mark.parametrize(("value", "limit"), [(None, None), ("", None), (40, 40.0), ("2.5", 2.5)])
def test_the_rate_limit_is_a_number_or_left_to_stripe(value: Any, limit: float | None) -> None:
    """The form gives texts here, too."""
    assert settings({"rate_limit": value}).rate_limit == limit


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
    it = settings({"stripe_account": "acct_1"}, task={"stripe_account": "acct_2"})
    assert it.headers()["Stripe-Account"] == "acct_2"


def test_an_empty_account_of_a_task_is_not_the_connections() -> None:
    """A template that rendered to nothing must not report on the platform itself."""
    with pytest.raises(ConfigurationError, match="stripe_account is empty"):
        settings(task={"stripe_account": ""})


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
