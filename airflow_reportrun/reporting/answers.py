"""What an answer means: its body, Stripe's error, a ``Retry-After``, a proxy's 407."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from airflow_reportrun.reporting.errors import (
    APIError,
    ConfigurationError,
    UnexpectedResponseError,
    error_class,
)

LONGEST_BODY = 8 * 1024 * 1024
"""Bytes of an answer, a file's contents aside. The longest real ones, lists of everything, have some 200 KiB."""

LONGEST_RETRY_AFTER = 86_400.0
"""Seconds that a ``Retry-After`` is believed for: a proxy may say anything."""


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


def body_of(what: str, response: Response) -> object:
    """Return the parsed JSON of an answer.

    :param what: method and path, for the error.
    :raises APIError: when Stripe answered with an error.
    :raises UnexpectedResponseError: when the answer is not what Stripe documents.
    """
    require_success(what, response)
    if (body := _json(response)) is _NO_JSON:
        content_type = _text(response.headers.get("content-type")) or "no content type"
        raise UnexpectedResponseError(
            f"{what} was answered with something that is not JSON ({content_type}); is there a proxy in between?"
        )
    return body


def refusal_of(response: Response) -> str | None:
    """Return which rate limit an answer is about, None where it is about none.

    An object that is locked (``lock_timeout``) has the status of a rate limit, too. Without a reason, as of a
    proxy, all requests are meant.
    """
    if response.status not in (400, 429):
        return None
    error = _error_of(response)
    if error.get("code") == "lock_timeout" or (response.status == 400 and error.get("code") != "rate_limit"):
        return None
    return _reason(response) or "global-rate"


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


def _error_of(response: Response) -> dict[str, Any]:
    body = _json(response)
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}


def _reason(response: Response) -> str | None:
    return _text(response.headers.get("stripe-rate-limited-reason"))


def _api_error(response: Response) -> APIError:
    words = _error_of(response)
    # Whole pages have been seen as a message, and it ends up in logs, task states and mails.
    message = _text(words.get("message"), most=1000) or "An error without Stripe's error body"
    if reason := _reason(response):
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
        rate_limited_reason=reason,
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a ``Retry-After`` header, a number or an instant (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_RETRY_AFTER)
    until, now = _instant(value), date_of(headers)
    return None if until is None or now is None else min(max(0.0, until - now), LONGEST_RETRY_AFTER)


def date_of(headers: Mapping[str, str]) -> float | None:
    """Return when an answer was given, in epoch seconds by the server's clock."""
    return _instant(headers.get("date", ""))


def _instant(text: str) -> float | None:
    """Return the epoch seconds of an instant as HTTP writes it (RFC 9110, 5.6.7), None for anything else."""
    try:
        moment = parsedate_to_datetime(text)
        return moment.timestamp() if moment.tzinfo else None
    except (ValueError, TypeError, OverflowError):
        return None
