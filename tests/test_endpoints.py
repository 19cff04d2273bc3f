from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun.reporting import endpoints
from airflow_reportrun.reporting.answers import Response, refusal_of
from airflow_reportrun.reporting.client import AsyncReportingClient, ReportingClient
from airflow_reportrun.reporting.endpoints import Request
from airflow_reportrun.reporting.errors import (
    APIError,
    ConflictError,
    DataBeginsLaterError,
    DataNotReadyError,
    IdempotencyError,
    InvalidParametersError,
    InvalidRequestError,
    PermissionDeniedError,
    RateLimitError,
    ReportingError,
    ServerError,
    UnexpectedResponseError,
)
from airflow_reportrun.reporting.parameters import ReportParameters
from tests.test_models import RUN


def answer(status: int, body: Any = None, **headers: str) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


def error_of(response: Response) -> APIError:
    with pytest.raises(APIError) as caught:
        endpoints.list_report_types().result(response)
    return caught.value


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"type": "invalid_request_error"}, InvalidRequestError),
        (400, {"type": "idempotency_error"}, IdempotencyError),
        (403, {"type": "invalid_request_error"}, PermissionDeniedError),
        (409, {"type": "idempotency_error", "code": "idempotency_key_in_use"}, ConflictError),
        (429, {"type": "invalid_request_error", "code": "rate_limit"}, RateLimitError),
        (500, {"type": "api_error"}, ServerError),
    ],
)
def test_an_error_has_the_class_of_its_status(status: int, error: dict[str, str], kind: type[APIError]) -> None:
    """A key in flight passes, a key used for something else doesn't, though Stripe gives both one type."""
    assert type(error_of(answer(status, {"error": {"message": "No.", **error}}))) is kind


@pytest.mark.parametrize("param", ["parameters.interval_end", "parameters[interval_end]", "interval_end", None])
@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (
            "Data for the report type balance.summary.1 is only available through 2022-05-08 12:00:00 UTC; "
            "you requested `interval_end` = 2022-05-09 00:00:00 UTC.",
            DataNotReadyError,
        ),
        (
            "Data for the report type ending_balance_reconciliation.summary.1 is only available starting at "
            "2022-04-29 00:00:00 UTC; you requested `interval_end` = 2022-01-01 14:03:52 UTC.",
            DataBeginsLaterError,
        ),
        ("The report type x.1 does not support the parameter `interval_end`.", InvalidRequestError),
        ("The parameter `interval_end` is not available through the API for the type x.1.", InvalidRequestError),
        ("`interval_end` has to lie after `interval_start` = 2022-05-09 00:00:00 UTC.", InvalidRequestError),
        ("Invalid integer: soon", InvalidRequestError),
        ("An explosion near `interval_end`.", InvalidRequestError),
    ],
)
def test_only_stripes_words_tell_what_is_wrong_about_an_interval(
    words: str, kind: type[APIError], param: str | None
) -> None:
    """Data that comes, data that never will, and everything else, however the parameter is spelled."""
    error = {"type": "invalid_request_error", "message": words, **({"param": param} if param else {})}
    assert type(error_of(answer(400, {"error": error}))) is kind
    assert type(error_of(answer(404, {"error": error}))) is InvalidRequestError


def test_an_error_without_stripes_body_still_has_its_class() -> None:
    """Proxies answer in HTML; some APIs in a list."""
    bodies: list[Any] = [b"<html>Bad gateway</html>", b"", [], {"error": "no object"}, {"error": {}}]
    for body in bodies:
        error = error_of(answer(502, body, request_id="req_1"))
        assert isinstance(error, ServerError)
        assert str(error) == "An error without Stripe's error body (HTTP 502, request req_1)"


def test_a_rate_limit_says_which_one() -> None:
    """Stripe names it in a header alone."""
    error = error_of(answer(429, {"error": {"message": "Slow down."}}, stripe_rate_limited_reason="endpoint-rate"))
    assert "Slow down. [endpoint-rate]" in str(error)


@pytest.mark.parametrize(
    ("status", "code", "reason", "refusal"),
    [
        (429, "rate_limit", "endpoint-rate", "endpoint-rate"),
        (429, "rate_limit", None, "global-rate"),
        (400, "rate_limit", None, "global-rate"),
        (429, None, "resource-specific", "resource-specific"),
        (429, None, None, "global-rate"),
        (429, "lock_timeout", None, None),
        (400, "parameter_missing", None, None),
        (503, "rate_limit", "global-rate", None),
    ],
)
def test_a_refusal_is_told_from_a_lock(
    status: int, code: str | None, reason: str | None, refusal: str | None
) -> None:
    """Both are a 429; what a proxy says without Stripe's words is about all requests."""
    headers = {"stripe_rate_limited_reason": reason} if reason else {}
    assert refusal_of(answer(status, {"error": {"code": code}}, **headers)) == refusal
    assert refusal_of(answer(status, b"<html>", **headers)) == (reason or "global-rate" if status == 429 else None)


@pytest.mark.parametrize(
    ("request_", "operation"),
    [
        (endpoints.list_report_runs(), "list_report_runs"),
        (endpoints.retrieve_report_run("frr_1/x"), "retrieve_report_run"),
        (endpoints.list_report_types(), "list_report_types"),
        (endpoints.retrieve_report_type("balance.summary.1"), "retrieve_report_type"),
        (endpoints.retrieve_file("file_1"), "retrieve_file"),
        (endpoints.list_end_events(), "list_events"),
    ],
)
def test_a_request_knows_its_operation(request_: Request[Any], operation: str) -> None:
    """Without ids, of which there are any number."""
    assert request_.operation == operation


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "300000000000"}, 86_400.0),
        ({"retry_after": "9" * 400}, 86_400.0),
        (
            {"retry_after": "Fri, 31 Dec 9999 23:59:59 GMT", "date": "Wed, 01 May 2024 00:00:00 GMT"},
            86_400.0,
        ),
        ({"retry_after": "-1"}, None),
        (
            {"retry_after": "Wed, 01 May 2024 00:00:30 GMT", "date": "Wed, 01 May 2024 00:00:00 GMT"},
            30.0,
        ),
        ({"retry_after": "Wed, 01 May 2024 00:00:00 GMT", "date": "Wed, 01 May 2024 00:00:30 GMT"}, 0.0),
        ({"retry_after": "Wed, 01 May 2024 00:00:30 GMT"}, None),
    ],
)
def test_reads_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """A number, or an instant by the clock of whoever sent it. Airflow's scheduler fails at a proxy's."""
    assert error_of(answer(503, {}, **headers)).retry_after == seconds


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307])
def test_anything_but_200_is_unexpected(status: int) -> None:
    """A redirect would carry the key along."""
    with pytest.raises(UnexpectedResponseError, match=f"HTTP {status}"):
        endpoints.list_report_types().result(answer(status, {}))


def test_a_login_page_is_no_answer() -> None:
    """A captive portal says 200 to everything."""
    with pytest.raises(UnexpectedResponseError, match=r"not JSON \(text/html\)"):
        endpoints.list_report_types().result(answer(200, b"<html>", content_type="text/html"))


@given(status=st.integers(200, 599), body=st.binary(max_size=60) | st.sampled_from([b"null", b"[]", b'{"a": 1}']))
def test_whatever_comes_is_an_answer_or_an_error_of_ours(status: int, body: bytes) -> None:
    """Nothing that a server can send ends as a KeyError."""
    with pytest.raises(ReportingError):
        endpoints.retrieve_report_run("frr_1").result(Response(status, {}, body))


def test_a_replay_keeps_the_request_that_created_the_run() -> None:
    """That is the one to look for in the Dashboard."""
    create = endpoints.create_report_run(
        "payout_reconciliation.by_id.summary.1",
        ReportParameters(payout="po_1"),
        idempotency_key="key",
    )
    headers = {"request_id": "req_2", "original_request": "req_1", "idempotent_replayed": "true"}
    run = create.result(answer(200, RUN, **headers))
    assert (run.request_id, run.replayed) == ("req_1", True)
    fresh = create.result(answer(200, RUN, request_id="req_3"))
    assert (fresh.request_id, fresh.replayed) == ("req_3", False)


@pytest.mark.parametrize("report_run_id", ["", " ", "None", "file_1", None, "../report_types"])
def test_ids_are_checked_before_anything_is_sent(report_run_id: Any) -> None:
    """Templates that found nothing, ids of something else."""
    with pytest.raises(InvalidParametersError, match="is not the id"):
        endpoints.retrieve_report_run(report_run_id)


@pytest.mark.parametrize("report_type", [".", "..", "", " ", None, 1, "\ud800", "a\n"])
def test_a_report_type_that_can_be_none_is_refused(report_type: Any) -> None:
    """A path that ends in a dot would be another one's."""
    parameters = ReportParameters(interval_start=1, interval_end=2)
    with pytest.raises(InvalidParametersError, match="the id of"):
        endpoints.retrieve_report_type(report_type)
    with pytest.raises(InvalidParametersError, match="the id of"):
        endpoints.create_report_run(report_type, parameters, idempotency_key="k")


@pytest.mark.parametrize("key", ["", " k", "k ", "ключ", "a\nb", "k" * 256, None, 1])
def test_a_key_that_no_header_can_have_is_refused(key: Any) -> None:
    """The HTTP libraries would raise errors of their own."""
    parameters = ReportParameters(interval_start=1, interval_end=2)
    with pytest.raises(InvalidParametersError, match="idempotency_key is up to 255 printable ASCII"):
        endpoints.create_report_run("balance.summary.1", parameters, idempotency_key=key)
    assert endpoints.create_report_run("balance.summary.1", parameters, idempotency_key="k" * 255)


@pytest.mark.parametrize("created", [{"since": 1}, {"gte": "1"}, {"gte": 1.5}, {"gte": True}, {"gt": -1}, 5, "x"])
def test_bounds_of_a_list_are_whole_epoch_seconds(created: Any) -> None:
    """Stripe would answer with an error, or the list would be another one."""
    with pytest.raises(InvalidParametersError, match="created has whole epoch seconds by gt, gte, lt, lte"):
        endpoints.list_report_runs(created=created)


def test_ids_can_not_leave_their_path() -> None:
    """An id is data, never part of the URL's structure."""
    assert (
        endpoints.retrieve_report_run("frr_1/../x?y#z").path == "/v1/reporting/report_runs/frr_1%2F..%2Fx%3Fy%23z"
    )


class Scripted(ReportingClient):
    """A server that answers each request with the same page."""

    def exchange(self, request: Request[Any]) -> Response:
        """Answer."""
        return answer(200, {"object": "list", "data": [RUN], "has_more": True})


def test_a_list_that_goes_in_circles_ends() -> None:
    """A server that repeats itself must not hold a worker for ever."""
    with pytest.raises(UnexpectedResponseError, match="does not move on after frr_1"):
        list(Scripted().list_report_runs())


class ScriptedAsync(AsyncReportingClient):
    """The same on an event loop."""

    async def exchange_async(self, request: Request[Any]) -> Response:
        """Answer."""
        return Scripted().exchange(request)


def test_a_client_without_a_connection_has_nothing_to_renew() -> None:
    """What waits for hours asks each client, in both colours."""
    assert Scripted().renew() is False
    assert asyncio.run(ScriptedAsync().renew_async()) is False
