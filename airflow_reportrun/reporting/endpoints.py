"""Stripe's endpoints: what to ask, and what the answer means, as values.

One function an endpoint returns a :class:`Request`; whoever drives it hands the :class:`Response` to
``Request.result``, which returns the typed answer or raises the error that Stripe meant. No I/O in here.
Source: https://docs.stripe.com/api/reporting/report_run and https://docs.stripe.com/api/files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from airflow_reportrun.reporting.errors import (
    APIError,
    ConfigurationError,
    InvalidParametersError,
    InvalidRequestError,
    UnexpectedResponseError,
    error_class,
)
from airflow_reportrun.reporting.models import File, ListPage, ReportRun, ReportType
from airflow_reportrun.reporting.parameters import (
    ParameterShape,
    ReportParameters,
    form_encode,
    like_named,
    shape_of,
)

T = TypeVar("T")

REPORT_RUNS = "/v1/reporting/report_runs"
REPORT_TYPES = "/v1/reporting/report_types"
FILES = "/v1/files"

LONGEST_BODY = 8 * 1024 * 1024
"""Bytes of an answer, a file's contents aside. The longest real ones, lists of everything, have some 200 KiB."""


@dataclass(frozen=True)
class Response:
    """An answer as it came over the wire.

    :param status: HTTP status code.
    :param headers: by lower-case name.
    :param body: the bytes, without any transfer encoding.
    :param stripe_account: the account that was acted as, None for the key's own.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    stripe_account: str | None = None

    @property
    def request_id(self) -> str | None:
        """Stripe's id of the request, ``req_…``."""
        return self.headers.get("request-id")

    @property
    def is_replay(self) -> bool:
        """Whether Stripe answered from an idempotency key instead of executing the request."""
        return self.headers.get("idempotent-replayed") == "true"


@dataclass(frozen=True)
class Request(Generic[T]):
    """One call of Stripe's API.

    :param method: ``GET`` or ``POST``.
    :param path: path on the API host.
    :param read: makes the typed answer from the JSON body and the response.
    :param fields: form-encoded pairs: the query of a GET, the body of a POST.
    :param idempotency_key: makes it safe to send a POST again, also hours later.
    :param report_type: the one that it is about, where the account may not have it.
    """

    method: Literal["GET", "POST"]
    path: str
    read: Callable[[object, Response], T]
    fields: tuple[tuple[str, str], ...] = ()
    idempotency_key: str | None = None
    report_type: str | None = None

    def lacks_type(self, error: InvalidRequestError) -> bool:
        """Tell whether an error says that the account does not have the report type."""
        missing = error.code == "resource_missing" and not (error.param or "").startswith("parameters")
        return missing and self.report_type is not None

    def name_others(self, error: InvalidRequestError, types: Sequence[ReportType]) -> None:
        """Let such an error say what the account has instead."""
        error.args = (f"{error} {like_named([self.report_type or ''], [it.id for it in types])}",)

    def result(self, response: Response) -> T:
        """Return the typed answer.

        :raises APIError: when Stripe answered with an error.
        :raises UnexpectedResponseError: when the answer is not what Stripe documents.
        """
        require_success(f"{self.method} {self.path}", response)
        if (body := _json(response)) is _NO_JSON:
            content_type = _text(response.headers.get("content-type")) or "no content type"
            raise UnexpectedResponseError(
                f"{self.method} {self.path} was answered with something that is not JSON "
                f"({content_type}); is there a proxy in between?"
            )
        return self.read(body, response)


def require_short(what: str, length: int) -> None:
    """Raise when an answer has grown too long to be Stripe's; called while it comes, so that memory is bounded.

    :param what: method and path, for the error.
    :param length: bytes that have come so far.
    :raises UnexpectedResponseError: beyond :data:`LONGEST_BODY`.
    """
    if length > LONGEST_BODY:
        raise UnexpectedResponseError(
            f"{what} was answered with more than {LONGEST_BODY // 1024**2} MiB; is there a proxy in between?"
        )


def require_success(what: str, response: Response) -> None:
    """Raise unless the answer is a 200 whose body is not compressed, as each request asks for it.

    Decoding it all the same would let a few bytes fill the memory, and hide whether all of them came.

    :param what: method and path, for the error.
    :raises ConfigurationError: when a proxy wants credentials.
    :raises APIError: when Stripe answered with an error.
    :raises UnexpectedResponseError: for anything else.
    """
    if response.status == 407:
        raise proxy_wants_credentials(what)
    if response.status >= 400:
        raise _api_error(response)
    if response.status != 200:
        raise UnexpectedResponseError(
            f"{what} was answered with HTTP {response.status}"
            f"{'; redirects are not followed with the key' if 300 <= response.status < 400 else ''}. "
            "Check the host of the connection and any proxy in between."
        )
    if (coding := response.headers.get("content-encoding", "").lower()) not in ("", "identity"):
        raise UnexpectedResponseError(
            f"{what} was answered in the coding {coding!r}, which was not asked for; is there a proxy in between?"
        )


def proxy_wants_credentials(what: str) -> ConfigurationError:
    """Return the error of a proxy that answered 407, to the request itself or to CONNECT.

    :param what: method and path.
    """
    return ConfigurationError(
        f"{what}: the proxy wants credentials (HTTP 407), and was given none or wrong ones. They go into its URL, "
        "http://user:password@host:port: in proxies of the connection's extra, or where the environment names it "
        "(HTTPS_PROXY). Nothing reached Stripe."
    )


def create_report_run(
    report_type: str,
    parameters: ReportParameters,
    *,
    idempotency_key: str,
    shape: ParameterShape | None = None,
) -> Request[ReportRun]:
    """Ask for a new report run.

    :param report_type: such as ``balance.summary.1``.
    :param parameters: checked here, before anything is sent.
    :param idempotency_key: at most 255 characters; the same key with the same parameters gives the same run.
    :param shape: what the report type asks for, where its id doesn't tell.
    :raises InvalidParametersError: when Stripe would refuse the parameters.
    """
    parameters.check(shape or shape_of(report_type))
    return Request(
        "POST",
        REPORT_RUNS,
        lambda body, response: ReportRun.from_api(
            body,
            # A replay has a request id of its own; the run was created by the original one.
            request_id=response.headers.get("original-request", response.request_id),
            replayed=response.is_replay,
        ),
        fields=tuple(form_encode({"report_type": report_type, "parameters": parameters.as_dict()})),
        idempotency_key=idempotency_key,
        report_type=report_type,
    )


def retrieve_report_run(report_run_id: str) -> Request[ReportRun]:
    """Ask for a report run as it is now."""
    return Request(
        "GET",
        _path(REPORT_RUNS, report_run_id, "frr_"),
        lambda body, response: ReportRun.from_api(body, seen_at=_date(response.headers)),
    )


def list_report_runs(
    *, created: Mapping[str, int] | None = None, starting_after: str | None = None, limit: int = 100
) -> Request[ListPage]:
    """Ask for one page of report runs, newest first.

    :param created: bounds in epoch seconds by ``gt``, ``gte``, ``lt``, ``lte``.
    :param starting_after: the id of the last run of the page before.
    :param limit: 1 to 100.
    """
    fields = form_encode({"created": created, "limit": limit, "starting_after": starting_after})
    return Request("GET", REPORT_RUNS, _plain(ListPage.from_api), fields=tuple(fields))


def list_report_types() -> Request[list[ReportType]]:
    """Ask for all report types that the account can run; Stripe does not page this list."""
    return Request(
        "GET",
        REPORT_TYPES,
        _plain(lambda body: [ReportType.from_api(item) for item in ListPage.from_api(body).items]),
    )


def retrieve_report_type(report_type: str) -> Request[ReportType]:
    """Ask for one report type, and how far its data reaches."""
    path = _path(REPORT_TYPES, report_type)
    return Request("GET", path, _plain(ReportType.from_api), report_type=report_type)


def retrieve_file(file_id: str) -> Request[File]:
    """Ask for the description of a file."""
    return Request("GET", _path(FILES, file_id, "file_"), _plain(File.from_api))


def _plain(read: Callable[[object], T]) -> Callable[[object, Response], T]:
    return lambda body, _: read(body)


def _path(collection: str, object_id: str, prefix: str = "") -> str:
    if (
        not isinstance(object_id, str)
        or not object_id.strip()
        or not object_id.isprintable()  # half a character would not even have a spelling in a URL
        or not object_id.startswith(prefix)
    ):
        raise InvalidParametersError(f"{object_id!r} is not the id of an object in {collection} ({prefix}…).")
    return f"{collection}/{quote(object_id, safe='')}"


_NO_JSON = object()


def _json(response: Response) -> object:
    """Return the parsed body: what is nested too deep, or has a number of too many digits, is not JSON either.

    A value says so and not an error, whose context would hold the body.
    """
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        return _NO_JSON


def _text(value: object, most: int = 100) -> str | None:
    """Return the beginning of a text that can be shown anywhere, None for what is no text."""
    return value[:most].encode(errors="replace").decode() if isinstance(value, str) else None


def _api_error(response: Response) -> APIError:
    body = _json(response)
    error = body.get("error") if isinstance(body, dict) else None
    words: dict[str, Any] = error if isinstance(error, dict) else {}
    # Whole pages have been seen as a message, and it ends up in logs, task states and mails.
    message = _text(words.get("message"), most=1000) or "An error without Stripe's error body"
    if reason := _text(response.headers.get("stripe-rate-limited-reason")):
        message = f"{message} [{reason}]"
    error_type, param, code = (_text(words.get(name)) for name in ("type", "param", "code"))
    return error_class(response.status, error_type, message, code)(
        message,
        http_status=response.status,
        type=error_type,
        code=code,
        param=param,
        request_id=_text(response.request_id),
        stripe_account=response.stripe_account,
        replayed=response.is_replay,
        # Stripe names the original request on each answer that it keeps under the key.
        stored="original-request" in response.headers,
        should_retry={"true": True, "false": False}.get(response.headers.get("stripe-should-retry", "")),
        retry_after=_retry_after(response.headers),
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a ``Retry-After`` header, a number or an instant (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    until, now = _instant(value), _date(headers)
    return None if until is None or now is None else max(0.0, until - now)


def _date(headers: Mapping[str, str]) -> float | None:
    """Return when an answer was given, in epoch seconds by the server's clock."""
    return _instant(headers.get("date", ""))


def _instant(text: str) -> float | None:
    """Return the epoch seconds of an instant as HTTP writes it (RFC 9110, 5.6.7), None for anything else."""
    try:
        moment = parsedate_to_datetime(text)
        return moment.timestamp() if moment.tzinfo else None
    except (ValueError, TypeError, OverflowError):
        return None
