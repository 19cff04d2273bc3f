"""Stripe's refusals, in Stripe's words where they are known.

A message marked "our words" has no public source: the sandbox chose it, here and nowhere else. The codes,
types and HTTP statuses beside it follow Stripe's general conventions. Clients should not match on messages.
`request_log_url` is left out of the bodies, since there is no dashboard behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from .messages import Answer

ErrorType = Literal["api_error", "idempotency_error", "invalid_request_error"]

_HELP = "we can help at https://support.stripe.com/."


class ApiError(Exception):
    """A refusal.

    ``executed`` says that the request had begun to run, hence that its answer is kept under its
    idempotency key; ``anonymous`` that the answer carries no request id.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error_type: ErrorType = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        executed: bool = False,
        anonymous: bool = False,
    ) -> None:
        super().__init__(message)
        error: dict[str, object] = {"message": message, "type": error_type}
        if code is not None:
            error["code"] = code
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        if param is not None:
            error["param"] = param
        self.answer = replace(Answer.of({"error": error}, status, headers), anonymous=anonymous)
        self.executed = executed


# Authentication and addresses


def no_api_key() -> ApiError:
    """Answer a request without a key."""
    return ApiError(
        401,
        "You did not provide an API key. You need to provide your API key in the Authorization header, "
        "using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See "
        f"https://stripe.com/docs/api#authentication for details, or {_HELP}",
    )


def invalid_api_key(redacted: str) -> ApiError:
    """Answer a key that is not the sandbox's."""
    return ApiError(401, f"Invalid API Key provided: {redacted}")


def expired_api_key(redacted: str) -> ApiError:
    """Answer a key that has expired."""
    return ApiError(401, f"Expired API Key provided: {redacted}", code="api_key_expired")


def permission_denied(redacted: str, account: str, permission: str) -> ApiError:
    """Answer a restricted key that may not do this."""
    return ApiError(
        403,
        f"The provided key '{redacted}' does not have the required permissions for this endpoint on account "
        f"'{account}'. Having the 'rak_{permission}' permission would allow this request to continue.",
    )


def account_invalid(redacted: str, account: str) -> ApiError:
    """Answer an account that is not connected (our words)."""
    return ApiError(
        403,
        f"The provided key '{redacted}' does not have access to account '{account}' (or that account does not "
        "exist). Application access may have been revoked.",
        code="account_invalid",
    )


def organization_key_without(header: str) -> ApiError:
    """Answer a key of an organization without a header that all its requests need (the version in our words)."""
    why = "with your target account " if header == "Stripe-Context" else ""
    return ApiError(400, f"Please include the {header} header {why}when using an Organization API key.")


def invalid_version(version: str) -> ApiError:
    """Answer an API version that can't be one."""
    return ApiError(400, f"Invalid Stripe API version: {version}")


def unrecognized_url(method: str, path: str) -> ApiError:
    """Answer a path or a method that leads nowhere."""
    return ApiError(
        404, f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or {_HELP}"
    )


def no_such(
    noun: str,
    identifier: str,
    *,
    param: str = "id",
    status: int = 404,
    elsewhere: str = "",
    executed: bool = False,
) -> ApiError:
    """Answer an id that names nothing (the nouns are our words).

    Stripe answers 404 where the id is the address and 400 where it is a parameter.

    :param elsewhere: ``live`` or ``test`` where the id names something in that other mode.
    """
    hint = ""
    if elsewhere:
        used = "test" if elsewhere == "live" else "live"
        hint = (
            f"; a similar object exists in {elsewhere} mode, but a {used} mode key was used to make this request."
        )
    message = f"No such {noun}: '{identifier}'{hint}"
    return ApiError(status, message, code="resource_missing", param=param, executed=executed)


def live_only() -> ApiError:
    """Answer a test key about a report type that there is no test data for."""
    return ApiError(404, "This report type is only available for live data and requires a live mode key.")


# The shape of a form


def unknown_parameters(names: Iterable[str]) -> ApiError:
    """Answer parameters that the endpoint does not have."""
    listed = list(names)
    noun = "parameter" if len(listed) == 1 else "parameters"
    return ApiError(
        400, f"Received unknown {noun}: {', '.join(listed)}", code="parameter_unknown", param=listed[0]
    )


def missing_parameter(name: str) -> ApiError:
    """Answer the absence of a required parameter."""
    return ApiError(400, f"Missing required param: {name}.", code="parameter_missing", param=name)


def empty_parameter(name: str) -> ApiError:
    """Answer an empty value."""
    return ApiError(
        400,
        f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a field; "
        f"however '{name}' cannot be unset. You should remove '{name}' from your request or supply a "
        "non-empty value.",
        code="parameter_invalid_empty",
        param=name,
    )


def invalid_integer(name: str, value: str) -> ApiError:
    """Answer text where a number belongs."""
    return ApiError(400, f"Invalid integer: {value}", code="parameter_invalid_integer", param=name)


def invalid_boolean(name: str, value: str) -> ApiError:
    """Answer text where true or false belongs (our words)."""
    return ApiError(400, f"Invalid boolean: {value}", param=name)


def integer_out_of_range(name: str, value: int, *, least: int, most: int) -> ApiError:
    """Answer a number beyond its bounds (our words)."""
    return ApiError(
        400,
        f"This value must be between {least} and {most} (it currently is '{value}').",
        code="parameter_invalid_integer",
        param=name,
    )


def invalid_shape(name: str, wanted: Literal["array", "object", "string"]) -> ApiError:
    """Answer a scalar where an array or object belongs, or the reverse (our words)."""
    return ApiError(400, f"Invalid {wanted}", param=name)


def both_cursors() -> ApiError:
    """Answer a list request that pages in both directions (our words)."""
    return ApiError(400, "You cannot parameterize both starting_after and ending_before.", param="ending_before")


def type_and_types() -> ApiError:
    """Answer a list of events by type in both spellings (our words)."""
    return ApiError(400, "You may only specify one of these parameters: type, types.", param="types")


def too_many_types(most: int) -> ApiError:
    """Answer a list of events by more types than may be named (our words)."""
    return ApiError(400, f"Array types exceeded maximum {most} allowed elements.", param="types")


def range_not_satisfiable(size: int) -> ApiError:
    """Answer a part of a file that lies beyond its end (our words)."""
    return ApiError(416, "The requested range is not satisfiable.", headers={"Content-Range": f"bytes */{size}"})


# The parameters of a run


def unsupported_parameter(name: str, report_type: str) -> ApiError:
    """Answer a parameter that other report types have (our words)."""
    return ApiError(
        400,
        f"The report type {report_type} does not support the parameter `{name}`.",
        param=f"parameters.{name}",
    )


def unknown_columns(names: Iterable[str], report_type: str) -> ApiError:
    """Answer columns that the type lacks (our words)."""
    return ApiError(
        400,
        f"The report type {report_type} does not have the following columns: {', '.join(names)}",
        param="parameters.columns",
    )


def invalid_timezone(name: str) -> ApiError:
    """Answer a name the IANA database lacks (our words)."""
    return ApiError(
        400, f"Invalid timezone: {name} is not in the IANA Time Zone Database", param="parameters[timezone]"
    )


def invalid_decimal_separator(value: str) -> ApiError:
    """Answer what is neither a point nor a comma (our words, and our values)."""
    return ApiError(
        400, f"Invalid decimal separator: {value}; it must be '.' or ','", param="parameters[decimal_separator]"
    )


def invalid_currency(name: str) -> ApiError:
    """Answer what cannot be a currency code (our words)."""
    return ApiError(400, f"Invalid currency: {name}", param="parameters[currency]")


def interval_not_ordered(start: int, end: int) -> ApiError:
    """Answer an empty or reversed interval (our words)."""
    return ApiError(
        400,
        f"`interval_start` must be before `interval_end`; you requested `interval_start` = {_utc(start)} "
        f"and `interval_end` = {_utc(end)}.",
        param="parameters.interval_start",
    )


def interval_before_data(
    report_type: str, available: int, requested: int, *, name: str = "interval_start"
) -> ApiError:
    """Answer an interval that starts before the data; for an ``interval_end`` on its own these are our words."""
    return ApiError(
        400,
        f"Data for the report type {report_type} is only available starting at {_utc(available)}; "
        f"you requested `{name}` = {_utc(requested)}.",
        param=f"parameters.{name}",
        executed=True,
    )


def interval_after_data(report_type: str, available: int, requested: int) -> ApiError:
    """Answer an interval that ends after the data does."""
    return ApiError(
        400,
        f"Data for the report type {report_type} is only available through {_utc(available)}; "
        f"you requested `interval_end` = {_utc(requested)}.",
        param="parameters.interval_end",
        executed=True,
    )


def no_such_payout(identifier: str) -> ApiError:
    """Answer a payout that the books do not know, or not yet (our choice of status and `param`)."""
    return no_such("payout", identifier, param="parameters.payout", status=400, executed=True)


def no_such_connected_account(identifier: str) -> ApiError:
    """Answer an account that is not one of the platform's (our words)."""
    return no_such(
        "connected account", identifier, param="parameters.connected_account", status=400, executed=True
    )


# Idempotency


def idempotency_key_reused(key: str) -> ApiError:
    """Answer a key that comes back with other parameters."""
    return ApiError(
        400,
        "Keys for idempotent requests can only be used with the same parameters they were first used with. "
        f"Try using a key other than '{key}' if you meant to execute a different request.",
        error_type="idempotency_error",
    )


def idempotency_key_in_use(key: str) -> ApiError:
    """Answer a key whose first request has not been answered yet (message and type are our choice)."""
    return ApiError(
        409,
        "There is currently another in-progress request using this idempotency key (that probably means "
        f"you submitted twice, and the other request is still going through): {key}. Please try again later.",
        error_type="idempotency_error",
        code="idempotency_key_in_use",
    )


def idempotency_key_too_long(key: str) -> ApiError:
    """Answer a key above 255 characters (our words)."""
    return ApiError(
        400,
        f"The idempotency key is {len(key)} characters long; the maximum is 255.",
        error_type="idempotency_error",
    )


# Trouble on Stripe's side, which only a fault brings about


def rate_limited(reason: str) -> ApiError:
    """Answer too many requests."""
    return ApiError(
        429,
        "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
        code="rate_limit",
        headers={"Stripe-Rate-Limited-Reason": reason},
    )


def lock_timeout() -> ApiError:
    """Answer a request about an object that another one holds."""
    return ApiError(
        429,
        "This object cannot be accessed right now because another API request or Stripe process is currently "
        "accessing it.",
        code="lock_timeout",
        anonymous=True,
    )


def server_error() -> ApiError:
    """Answer a request that broke while it ran (our words)."""
    return ApiError(500, "An unknown error occurred", error_type="api_error", executed=True)


def unavailable() -> ApiError:
    """Answer a request that never began (our words)."""
    return ApiError(503, "Stripe is temporarily unavailable. Please try again.", error_type="api_error")


def _utc(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):  # beyond the years 1 to 9999, as milliseconds for seconds are
        return f"{seconds} seconds after 1970-01-01 00:00:00 UTC"
