"""Whatever a server answers: a typed value where the document allows it, and an error of ours where it doesn't."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun.reporting import endpoints
from airflow_reportrun.reporting.answers import Response
from airflow_reportrun.reporting.endpoints import Request
from airflow_reportrun.reporting.errors import (
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    IdempotencyError,
    InvalidParametersError,
    InvalidRequestError,
    PermissionDeniedError,
    RateLimitError,
    ReportingError,
    ServerError,
    UnexpectedResponseError,
)
from airflow_reportrun.reporting.models import File, ListPage, ReportRun, ReportType
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.resending import ResendPolicy, is_worth_another_try
from tests.contract import SCHEMAS

pytestmark = pytest.mark.slow

LONGEST_MESSAGE = 6_000
"""Bytes in UTF-8; what is longer fills logs, task states and mails."""

VERBS: dict[str, tuple[Request[Any], str]] = {
    "create": (
        endpoints.create_report_run(
            "balance.summary.1", ReportParameters(interval_start=1, interval_end=2), idempotency_key="k"
        ),
        "report_run",
    ),
    "retrieve": (endpoints.retrieve_report_run("frr_1"), "report_run"),
    "list": (endpoints.list_report_runs(), "report_run_list"),
    "list_types": (endpoints.list_report_types(), "report_type_list"),
    "retrieve_type": (endpoints.retrieve_report_type("balance.summary.1"), "report_type"),
    "retrieve_file": (endpoints.retrieve_file("file_1"), "file"),
}
"""Each verb of the client, and the schema of its answer."""

RUN: dict[str, Any] = {
    "id": "frr_1",
    "object": "reporting.report_run",
    "created": 1_772_409_600,
    "error": None,
    "livemode": False,
    "parameters": {"interval_start": 1, "interval_end": 2, "columns": ["net"]},
    "report_type": "balance.summary.1",
    "result": {
        "id": "file_1",
        "object": "file",
        "created": 1_772_409_600,
        "expires_at": None,
        "filename": "frr_1.csv",
        "purpose": "finance_report_run",
        "size": 1,
        "title": None,
        "type": "csv",
        "url": "https://files.stripe.com/v1/files/file_1/contents",
    },
    "status": "succeeded",
    "succeeded_at": 1_772_409_700,
}
TYPE: dict[str, Any] = {
    "id": "balance.summary.1",
    "object": "reporting.report_type",
    "data_available_end": 1_772_409_600,
    "data_available_start": 1_640_995_200,
    "default_columns": ["net"],
    "livemode": False,
    "name": "Balance summary",
    "updated": 1_772_409_600,
    "version": 1,
}
BODIES: dict[str, dict[str, Any]] = {
    "report_run": RUN,
    "report_type": TYPE,
    "file": RUN["result"],
    "report_run_list": {
        "object": "list",
        "data": [RUN],
        "has_more": False,
        "url": "/v1/reporting/report_runs",
    },
    "report_type_list": {
        "object": "list",
        "data": [TYPE],
        "has_more": False,
        "url": "/v1/reporting/report_types",
    },
}
"""A plain answer by schema, to be spoilt."""


TEXT = st.characters(codec="utf-8", exclude_characters="\0")
"""A NUL is a character for JSON and for nothing that comes after it."""


NEW_FIELDS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.text(TEXT, max_size=8).map("new_{}".format),
    st.none() | st.integers() | st.text(TEXT, max_size=3) | st.just({}),
    max_size=2,
)


def allowed_by(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Return what a schema of the document allows; it knows the words that the document uses."""
    if "$ref" in schema:
        return allowed_by(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([allowed_by(choice) for choice in schema["anyOf"]])
    if isinstance(schema["type"], list):
        return st.one_of([allowed_by({**schema, "type": kind}) for kind in schema["type"]])
    return {
        "object": _objects,
        "array": lambda it: st.lists(allowed_by(it["items"]), max_size=3),
        "string": lambda it: (
            st.from_regex(it["pattern"], alphabet=TEXT)
            if "pattern" in it
            else st.text(TEXT, min_size=it.get("minLength", 0), max_size=50)
        ),
        "integer": lambda it: st.integers(min_value=it.get("minimum"), max_value=it.get("maximum", 2**53 - 1)),
        "boolean": lambda _: st.booleans(),
        "null": lambda _: st.none(),
    }[schema["type"]](schema)


def _objects(schema: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    fields = {name: allowed_by(of) for name, of in schema.get("properties", {}).items()}
    required = {name: fields.pop(name) for name in schema.get("required", ())}
    documented = st.fixed_dictionaries(required, optional=fields)
    return st.builds(lambda new, known: {**new, **known}, NEW_FIELDS, documented)


DOCUMENTED = {name: allowed_by(SCHEMAS[name]) for name in BODIES}

NUMBERS = st.integers(0, 60) | st.integers(0, 10**20)
DATES = st.builds(
    "Wed, {} May {} {}:00:{} {}".format, NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.sampled_from(["GMT", ""])
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "retry-after",
            "date",
            "stripe-should-retry",
            "stripe-rate-limited-reason",
            "original-request",
            "idempotent-replayed",
            "request-id",
            "content-type",
        ]
    ),
    st.text(max_size=20)
    | st.text("0123456789", max_size=400)
    | st.sampled_from(["true", "false", "TRUE", "req_1", "Wed, 01 May 2024 00:00:30 GMT", "x" * 9_000])
    | DATES,
)

verbs = pytest.mark.parametrize("verb", VERBS)


def result_of(verb: str, status: int, body: bytes, headers: dict[str, str] | None = None) -> Any:
    """Return what a verb makes of an answer, or the error; an error of another kind is raised."""
    try:
        return VERBS[verb][0].result(Response(status, headers or {}, body))
    except ReportingError as error:
        raised = error
    assert len(str(raised).encode()) < LONGEST_MESSAGE
    return raised


def assert_same(it: Any, body: dict[str, Any]) -> None:
    """Every field of a value is the body's, but for those that the body can't have."""
    wanted = dict(body)
    if isinstance(it, ReportType):
        wanted["default_columns"] = tuple(body.get("default_columns") or ())
    if isinstance(it, File) and body.get("url") is None:
        wanted["url"] = it.url
        assert it.url.startswith("https://files.stripe.com/v1/files/file_")
    for name in type(it).__dataclass_fields__:
        if isinstance(it, ReportRun) and name == "result":
            assert (it.result is None) == (body.get("result") is None)
            if it.result is not None:
                assert_same(it.result, body["result"])
        elif name not in ("request_id", "replayed"):
            assert getattr(it, name) == wanted.get(name)
            assert type(getattr(it, name)) is not bool or wanted[name] in (True, False)


# What the document allows


@verbs
@given(data=st.data())
def test_what_is_documented_becomes_a_value_with_its_fields(verb: str, data: st.DataObject) -> None:
    """Whatever is nullable is null sometimes, what may be left out is left out, and new fields don't matter."""
    body = data.draw(DOCUMENTED[VERBS[verb][1]])
    result = result_of(verb, 200, json.dumps(body).encode(), {"request-id": "req_1"})
    if isinstance(result, ListPage):
        assert (list(result.items), result.has_more) == (body["data"], body["has_more"])
        result = [ReportRun.from_api(item) for item in result.items]
    if isinstance(result, list):
        for it, item in zip(result, body["data"], strict=True):
            assert_same(it, item)
    else:
        assert_same(result, body)


@pytest.mark.parametrize("name", [*BODIES, "refusal"])
@given(data=st.data())
def test_what_is_drawn_is_documented(name: str, data: st.DataObject) -> None:
    """Or the laws would be about something else."""
    document = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}
    jsonschema.validate(data.draw(allowed_by(SCHEMAS[name])), document, jsonschema.Draft202012Validator)


@verbs
@given(data=st.data())
def test_order_and_spelling_of_a_body_do_not_matter(verb: str, data: st.DataObject) -> None:
    """The same JSON in another order, with other escapes, white space or a byte order mark is the same value."""
    body = data.draw(DOCUMENTED[VERBS[verb][1]])
    plain = result_of(verb, 200, json.dumps(body).encode())
    reordered = dict(reversed(body.items()))
    other = json.dumps(reordered, ensure_ascii=False, indent=2).encode("utf-8", "surrogatepass")
    assert result_of(verb, 200, other) == plain
    assert result_of(verb, 200, json.dumps(body).encode("utf-8-sig")) == plain


@given(
    body=allowed_by(SCHEMAS["refusal"]),
    status=st.integers(400, 599).filter(lambda status: status != 407),
    headers=HEADERS,
)
def test_a_documented_error_has_the_class_of_its_status(
    body: dict[str, Any], status: int, headers: dict[str, str]
) -> None:
    """And Stripe's words: type, code and param, as far as they are not absurdly long."""
    error = result_of("retrieve", status, json.dumps(body).encode(), headers)
    words = body["error"]
    assert type(error) is class_of(status, words.get("type"), words.get("code"))
    assert error.http_status == status
    for name in ("type", "code", "param"):
        if len(words.get(name, "")) < 100:
            assert getattr(error, name) == words.get(name)
    assert error.message.startswith(words["message"][:100])


# What it does not allow


def class_of(status: int, error_type: object, code: object = None) -> type[Any]:
    """Return the class of an error, from the table at the top of ``errors``; a 407 is a proxy's."""
    if status == 400 and code == "rate_limit":
        return RateLimitError
    if status == 400 and error_type == "idempotency_error":
        return IdempotencyError
    exact: dict[int, type[Any]] = {
        401: AuthenticationError,
        403: PermissionDeniedError,
        407: ConfigurationError,
        409: ConflictError,
        429: RateLimitError,
    }
    return exact.get(status, InvalidRequestError if status < 500 else ServerError)


def places_in(body: Any) -> list[tuple[Any, Any]]:
    """Return each container of a body with each of its keys."""
    if isinstance(body, dict):
        return [(body, key) for key in body] + [place for value in body.values() for place in places_in(value)]
    if isinstance(body, list):
        return [(body, i) for i in range(len(body))] + [place for value in body for place in places_in(value)]
    return []


NONSENSE: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**30, -(10**4000), "", "x" * 100_000, "\ud800", "\x00", [], {}, [[]], {"object": "list"}])
    | st.floats()
    | st.text(max_size=5)
    | st.recursive(st.none() | st.text(max_size=3), st.lists, max_leaves=5)
)


@verbs
@given(data=st.data())
def test_a_spoilt_answer_is_a_value_or_an_error_of_ours(verb: str, data: st.DataObject) -> None:
    """A field dropped, or replaced by something of any type, at any depth, as often as three times."""
    body = copy.deepcopy(BODIES[VERBS[verb][1]])
    for _ in range(data.draw(st.integers(1, 3))):
        if places := places_in(body):
            place, key = data.draw(st.sampled_from(places))
            if data.draw(st.booleans()):
                place[key] = copy.deepcopy(data.draw(NONSENSE))
            else:
                del place[key]
    result_of(verb, 200, json.dumps(body).encode())


@verbs
@given(data=st.data())
def test_a_required_field_that_is_missing_or_of_another_type_is_refused(verb: str, data: st.DataObject) -> None:
    """Half an answer would surface far from where it went wrong; what was wrong is named."""
    schema = VERBS[verb][1]
    body = copy.deepcopy(BODIES[schema])
    spoilt, name = (body["data"][0], "report_type") if schema == "report_type_list" else (body, schema)
    # What a file is for, and where a list is, says nothing that anybody needs.
    required = sorted(set(SCHEMAS[name]["required"]) - {"purpose", "url"})
    field = data.draw(st.sampled_from(required))
    if data.draw(st.booleans()):
        was = type(spoilt[field])
        spoilt[field] = copy.deepcopy(data.draw(NONSENSE.filter(lambda value: type(value) is not was)))
    else:
        del spoilt[field]
    error = result_of(verb, 200, json.dumps(body).encode())
    assert type(error) is UnexpectedResponseError
    assert field in str(error) or field == "object"


@pytest.mark.parametrize("columns", [[1], [None], [["net"]], "net", {"net": 1}])
def test_columns_that_are_no_names_are_refused(columns: Any) -> None:
    """``None`` is no column, even if its text would do for a name."""
    error = result_of("retrieve_type", 200, json.dumps({**TYPE, "default_columns": columns}).encode())
    assert type(error) is UnexpectedResponseError


@pytest.mark.parametrize("field", ["id", "status", "report_type", "error"])
def test_half_a_character_is_refused(field: str) -> None:
    """JSON can spell it, and neither a file nor a database can hold it."""
    error = result_of("retrieve", 200, json.dumps({**RUN, field: "frr_\ud800"}).encode())
    assert type(error) is UnexpectedResponseError


@verbs
@given(body=st.binary(max_size=60), status=st.integers(100, 999), headers=HEADERS)
def test_any_bytes_with_any_status_are_an_error_of_ours(
    verb: str, body: bytes, status: int, headers: dict[str, str]
) -> None:
    """Of the class of the status, if it says that something went wrong."""
    error = result_of(verb, status, body, headers)
    if status >= 400:
        assert type(error) is class_of(status, None)
        assert getattr(error, "retry_after", None) is None or error.retry_after >= 0
        assert ResendPolicy().pause(error, 1) >= 0
        assert is_worth_another_try(error) in (True, False)
    else:
        assert type(error) is UnexpectedResponseError


@verbs
@given(
    error=NONSENSE
    | st.dictionaries(st.sampled_from(["message", "type", "code", "param"]), NONSENSE)
    | st.fixed_dictionaries({"message": NONSENSE}),
    status=st.integers(400, 999),
    headers=HEADERS,
)
def test_any_error_body_is_an_error_with_the_class_of_its_status(
    verb: str, error: Any, status: int, headers: dict[str, str]
) -> None:
    """Words of another type are no words."""
    raised = result_of(verb, status, json.dumps({"error": error}).encode(), headers)
    assert type(raised) is class_of(status, None)
    if status == 407:
        return
    assert raised.http_status == status
    for name in ("message", "type", "code", "param"):
        assert isinstance(getattr(raised, name), str) or (getattr(raised, name) is None and name != "message")


DEEP = 200_000


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * DEEP + b"]" * DEEP, id="deep arrays"),
        pytest.param(b'{"error":' * DEEP + b"1" + b"}" * DEEP, id="deep objects"),
        pytest.param(
            b'{"object": "list", "data": ' + b"[" * 900 + b"]" * 900 + b', "has_more": 1}', id="deep enough"
        ),
        pytest.param(b"9" * 10_000, id="a number of 10,000 digits"),
        pytest.param(b'{"object": "file", "object": "list", "data": [], "data": 1}', id="a key twice"),
        pytest.param(b'{"object": NaN, "error": {"message": Infinity}}', id="numbers that are none"),
        pytest.param(b'\xff\xfe{"object"', id="another encoding"),
        pytest.param(b'{"object": "\xe9"}', id="no UTF-8"),
        pytest.param(b'{"object": "\\ud800", "error": {"message": "\\ud800"}}', id="half a character"),
        pytest.param(
            json.dumps({"object": "x" * 10**6, "error": {"message": "x" * 10**6}}).encode(), id="long words"
        ),
        pytest.param(json.dumps({"object": [["x"] * 9] * 9_999}).encode(), id="a long list for a word"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x00" * 1_000, id="zeros"),
        pytest.param(b"null", id="null"),
    ],
)
def test_malice_is_an_error_of_ours(status: int, body: bytes) -> None:
    """Nesting that ends Python's stack, numbers that it refuses, words without an end."""
    for verb in VERBS:
        error = result_of(verb, status, body, {"content-type": "x" * 10_000, "request-id": "x" * 10_000})
        assert type(error) is (ServerError if status == 500 else UnexpectedResponseError)


@pytest.mark.parametrize(
    "ask",
    [endpoints.retrieve_report_run, endpoints.retrieve_report_type, endpoints.retrieve_file],
)
@given(
    tail=st.text(st.characters(exclude_categories=()), max_size=5)
    | st.sampled_from(["\ud800", "\n", "/../x", "?a#b"])
)
def test_an_id_that_came_in_an_answer_can_be_asked_for_or_is_refused(
    ask: Callable[[str], Request[Any]], tail: str
) -> None:
    """Whatever a server put into it, it stays one segment of the path."""
    prefix = {endpoints.retrieve_report_run: "frr_", endpoints.retrieve_file: "file_"}.get(ask, "")
    try:
        path = ask(prefix + tail).path
    except InvalidParametersError:
        return
    assert path.isascii()
    assert not set(path.rpartition("/")[2]) & set("?#\\ \n\r")
    assert path.count("/") == (3 if path.startswith("/v1/files/") else 4)
