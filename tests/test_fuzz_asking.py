"""Whatever a user gives: a request that the document allows, or an error before it is sent, which says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import pendulum
import pytest
import requests
import yarl
from hypothesis import assume
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from airflow_reportrun.landing.contract import Contract
from airflow_reportrun.landing.destination import placeholders, resolve_destination
from airflow_reportrun.landing.formats.columns import check_column_types, columns_of
from airflow_reportrun.question.bounds import Interval, instant
from airflow_reportrun.question.report_types import preferences
from airflow_reportrun.reporting import endpoints
from airflow_reportrun.reporting.endpoints import Request
from airflow_reportrun.reporting.errors import ReportingError
from airflow_reportrun.reporting.parameters import ReportParameters, form_encode
from airflow_reportrun.reporting.report_type_ids import ParameterShape
from airflow_reportrun.tasks.results import GivenRun
from airflow_reportrun.wire.connection import ConnectionSettings
from tests.contract import Exchange, request_mistakes
from tests.fuzz import ODD, law, tried
from tests.test_models import JSON

BASE = "https://api.stripe.com"

CYCLE: list[Any] = []
CYCLE.append(CYCLE)

ANY: st.SearchStrategy[Any] = (
    JSON
    | ODD
    | st.text(st.characters(exclude_categories=()), max_size=8)
    | st.sampled_from([b"x", object(), CYCLE, {"a": CYCLE}, {1: "a"}, {None: 1, "b": 2}, (), {"x"}, 1j])
    | st.datetimes()
)
"""What Python has."""

TEXTS: list[Any] = [*("", " ", "usd", "ÄÖÜ", "EUR", "acct_1", "po_1", "acct_\ud800", "po_\0", "Etc/UTC", "UTC\n")]
LIKELY = st.sampled_from([*TEXTS, "balance.summary.1", ["net"], ["net", "net"], [""], None, 1_700_000_000, 0, 5])
PARAMETERS = st.fixed_dictionaries(
    {"interval_start": st.just(1_700_000_000) | ANY, "interval_end": st.just(1_700_086_400) | ANY},
    optional=dict.fromkeys(
        ("columns", "connected_account", "currency", "payout", "reporting_category", "timezone"),
        LIKELY | ANY,
    ),
)
EXTRA = st.dictionaries(st.sampled_from(["decimal_separator", "connected_accounts", "compress_file"]), ANY) | ANY


def sent(request: Request[Any]) -> Exchange:
    """Return what goes over the wire, by both libraries."""
    fields = urlencode(request.fields)
    target = request.path + (f"?{fields}" if request.method == "GET" and fields else "")
    headers = {"Authorization": "Bearer sk_test_sandbox"}
    if request.method == "POST":
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    if request.idempotency_key is not None:
        headers["Idempotency-Key"] = request.idempotency_key
    by_requests = requests.Request(request.method, BASE + request.path, headers=headers).prepare()
    assert urlsplit(str(by_requests.url)).path == request.path
    by_yarl = yarl.URL(BASE + request.path).raw_path.split("/")  # which reads %40 as @
    assert list(map(unquote, by_yarl)) == list(map(unquote, request.path.split("/")))
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    body = fields.encode() if request.method == "POST" else b""
    return Exchange(request.method, target, Headers(headers), body, 0, Headers(), b"")


@law(
    few=150,
    report_type=st.sampled_from(["balance.summary.1", "a.b.2"]) | ANY,
    parameters=PARAMETERS,
    extra=st.just({}) | EXTRA,
    key=st.just("k") | ANY,
    shape=st.none() | st.sampled_from(ParameterShape),
)
def test_whatever_is_asked_for_is_a_documented_request_or_refused(
    report_type: Any, parameters: dict[str, Any], extra: Any, key: Any, shape: ParameterShape | None
) -> None:
    """An id that Stripe doesn't know is Stripe's to refuse, and so is what it may have added since."""
    given = ReportParameters(**parameters, extra=extra)
    request = tried(lambda: endpoints.create_report_run(report_type, given, idempotency_key=key, shape=shape))
    if isinstance(request, Exception):
        return
    mistakes = request_mistakes(sent(request))
    if report_type in ("balance.summary.1", "a.b.2") and not extra:
        assert not mistakes
    kept = json.loads(json.dumps(given.as_dict()))
    assert form_encode(kept) == form_encode(given.as_dict())
    assert ReportParameters.from_dict(kept).as_dict() == kept


@pytest.mark.parametrize(
    ("ask", "operation"),
    [
        (endpoints.retrieve_report_run, "/v1/reporting/report_runs"),
        (endpoints.retrieve_report_type, "/v1/reporting/report_types"),
        (endpoints.retrieve_file, "/v1/files"),
    ],
)
@law(
    few=60,
    name=st.tuples(
        st.sampled_from(["", "frr_", "file_"]), st.text(max_size=8) | st.sampled_from([".", "..", "/", "%2e", "?"])
    ).map("".join)
    | ANY,
)
def test_any_id_is_one_segment_of_a_documented_path_or_refused(
    ask: Callable[[str], Request[Any]], operation: str, name: Any
) -> None:
    """For both libraries, which read dots and percent signs in a path."""
    request = tried(lambda: ask(name))
    if isinstance(request, Exception):
        return
    assert request.path.rpartition("/")[0] == operation
    assert not request_mistakes(sent(request))


@law(
    few=60,
    created=st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), st.integers(0, 10**10) | ANY) | ANY,
)
def test_any_bounds_of_a_list_are_documented_or_refused(created: Any) -> None:
    """A word for an instant would be an error of Stripe's."""
    request = tried(lambda: endpoints.list_report_runs(created=created))
    if not isinstance(request, Exception):
        assert not request_mistakes(sent(request))


TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
HOSTS = st.sampled_from(
    [*("api.example.com", "http://127.0.0.1:8080", "localhost", "[::1]", "a@b", "\ud800", "http://[", "x:99999")]
)


@law(
    few=100,
    host=st.none() | HOSTS | TEXT | ODD,
    schema=st.none() | st.sampled_from(["http", "https"]) | ODD,
    port=st.none() | st.integers(-1, 70_000) | ODD,
    password=st.just("sk_test_1") | ODD,
    extra=st.none()
    | st.dictionaries(st.sampled_from(["files_base_url", "timeout", "stripe_account"]), HOSTS | ODD).map(
        json.dumps
    )
    | ODD,
    url=TEXT
    | st.builds(
        "{}://{}{}/v1/files/x".format,
        st.sampled_from(["https", "http", "HTTPS"]),
        st.sampled_from(["files.stripe.com", "api.stripe.com"]),
        st.sampled_from(
            ["", ":443", ":99999", "@evil.test", ".evil.test", "\\@evil.test", "\n.evil.test", "\u2100"]
        ),
    ),
)
def test_any_connection_is_read_or_refused_and_the_key_goes_to_its_hosts_alone(
    host: Any, schema: Any, port: Any, password: Any, extra: Any, url: str
) -> None:
    """Wherever an answer says that a file is, and however the two libraries read that."""
    fields = {"host": host, "schema": schema, "port": port, "password": password, "extra": extra}
    connection = SimpleNamespace(conn_id="c", login=None, **fields)
    it = tried(lambda: ConnectionSettings.from_connection(connection))
    if isinstance(it, Exception):
        assert isinstance(it, ReportingError)
        return
    assert it.livemode in (True, False, None)
    ours = {urlsplit(base).hostname for base in (it.api_base_url, it.files_base_url)}
    if (where := tried(lambda: it.file_url(url))) is not None:
        assert isinstance(where, str)
        assert urlsplit(str(requests.Request("GET", where).prepare().url)).hostname in ours
        assert yarl.URL(where).host in {yarl.URL(base).host for base in (it.api_base_url, it.files_base_url)}


INSTANTS = st.sampled_from(
    [
        *(
            "9999-12-31T23:59:59-12:00",
            "0001-01-01T00:00:00+12:00",
            "9999-12-31T23:59:59Z",
            "1e999",
            "99999999999",
        ),
        *("2024-05-01T00:00:00Z", "2024-05-02T00:00:00+02:00", "1714608000.0", 1714608000, "None", "9" * 5000),
        *(datetime.max, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC, microsecond=0)),
    ]
)
ZONES = st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York", "Europe/Berlin"])


@law(few=60, start=INSTANTS | ANY, end=INSTANTS | ANY, zone=ZONES)
def test_any_bounds_are_an_interval_or_refused(start: Any, end: Any, zone: str) -> None:
    """In the schedule's time zone, too."""
    found = tried(
        lambda: Interval.floored(
            (instant("interval_start", start), instant("interval_end", end)), pendulum.timezone(zone), "as given"
        )
    )
    if not isinstance(found, Exception):
        assert found.start.int_timestamp < found.end.int_timestamp


PIECES = st.sampled_from(
    [
        *(
            "/data/",
            "s3://c@b/",
            "{report_type}",
            "{interval_start:%Y-%m-%d}",
            "{interval_start:%",
            "{payout}",
            ".csv",
        ),
        *("{{", "}", "{0}", "{report_type.__class__}", "{report_type!r:>9999999999}", "{x[", "../", "report", "/"),
        *("\n", "\ud800", "{report_type:{report_type}}", "{report_run_id}", "{currency:d}", "{interval_end:}"),
    ]
)


@law(
    few=60,
    template=st.lists(PIECES | st.text(max_size=3), max_size=5).map("".join) | ANY,
    report_type=st.sampled_from(["balance.summary.1", "a/b", "..", ""]),
    currency=st.none() | st.sampled_from(["usd", "../x", "\ud800"]) | ANY,
)
def test_any_destination_is_a_path_below_its_root_or_refused(
    template: Any, report_type: str, currency: Any
) -> None:
    """What stands for a placeholder makes no folder, and a template reads nothing but placeholders."""
    bounds = {"interval_start": datetime(2024, 5, 1, tzinfo=UTC), "interval_end": datetime(2024, 5, 2, tzinfo=UTC)}
    assume(not isinstance(template, str) or not template.startswith("s3://") or template.startswith("s3://c@b/"))
    values = placeholders(report_type, {"currency": currency}, bounds, stripe_account=None)
    found = tried(lambda: resolve_destination(template, values))
    if not isinstance(found, Exception):
        assert ".." not in found.split("/")
        assert found.startswith("/") or "://" in found


@law(few=100, given=ANY | st.dictionaries(st.sampled_from(["report_run_id", "stripe_account", "request_id"]), ANY))
def test_any_option_is_read_or_refused(given: Any) -> None:
    """What an upstream task may have returned, and what a mapping of columns may hold."""
    for read in (
        GivenRun.of,
        preferences,
        check_column_types,
        lambda it: columns_of(["net", "created"], {"net": it}, "balance.summary.1"),
        lambda it: Contract(naming=it),
    ):
        found: Any = tried(lambda read=read: read(given))  # type: ignore[misc]
        assert found is not None
