"""What can go wrong between us and Stripe's Reporting API.

::

    ReportingError
    ├── ConfigurationError          the Airflow connection or the task is incomplete, contradictory or unsafe
    ├── ConnectionLookUpError       Airflow gave no connection: it may have none, or couldn't look it up just now
    ├── InvalidParametersError      refused here, before anything was sent
    ├── APIConnectionError          no whole answer arrived; the request may or may not have been executed
    ├── UnexpectedResponseError     an answer that is not what Stripe documents
    ├── ReportRunFailedError        the report run ended as `failed`
    ├── ReportNotReadyError         the report run has no file yet
    ├── ReportExpiredError          Stripe no longer has the report run's file
    ├── NoReportTypesError          the account can't run any report yet
    ├── DataMissingError            the interval begins before the account's data
    ├── DownloadError               the bytes that arrived are not the file that Stripe describes
    │   └── ReportColumnsError      a report with other columns than were asked for
    ├── ContentsError               the report's contents do not fit the types that its columns should have
    ├── StoreError                  the store that a report should go to can't be reached, or refuses it
    ├── LandingConflictError        something else is landed there, which landing this would destroy or count twice
    ├── ManifestError               what lies where a manifest should be is none that is known here
    └── APIError                    Stripe answered with an error
        ├── InvalidRequestError     400, 402, 404, 405: the request is wrong; the same one stays wrong
        │   ├── DataNotReadyError   400: Stripe's data does not reach to the end of the interval yet
        │   └── DataBeginsLaterError  400: Stripe's data begins after the interval does
        ├── AuthenticationError     401: no key, a wrong one or an expired one
        ├── PermissionDeniedError   403: the key may not do this
        ├── IdempotencyError        400: an idempotency key was used before with other parameters
        ├── ConflictError           409: a request with the same idempotency key is in flight
        ├── RateLimitError          429, or 400 with that code: too many requests, or the object is locked
        └── ServerError             500 and above
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

from airflow_reportrun.reporting.secrets import redacted

OTHER_SHAPE = "If this report type takes something else, set parameter_shape= (interval, interval_end, payout)."
"""What to do where the shape of the parameters was guessed wrong."""


LONGEST_MESSAGE = 20_000
"""Characters; what is quoted may be a whole file, and a message ends up in logs, task states and mails."""


class ReportingError(Exception):
    """Anything that this package raises about Stripe's Reporting API; it shows no key, wherever one was pasted."""

    is_transient = False
    """True where the same request may well succeed later."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(_shown(it) if isinstance(it, str) else it for it in args))


def _shown(text: str) -> str:
    if len(text) <= LONGEST_MESSAGE:
        return redacted(text)
    more = LONGEST_MESSAGE // 10  # so that no secret is cut where it would not be told from other text
    return f"{redacted(text[: LONGEST_MESSAGE + more])[:LONGEST_MESSAGE]}…"


class ConfigurationError(ReportingError, ValueError):
    """The Airflow connection or the task is incomplete, contradictory or unsafe; nothing was sent."""


class ConnectionLookUpError(ReportingError):
    """Airflow gave no connection of this id: there may be none, or it couldn't look it up; nothing was sent."""

    is_transient = True


class InvalidParametersError(ReportingError, ValueError):
    """Parameters that Stripe would refuse; nothing was sent."""


class APIConnectionError(ReportingError):
    """No whole answer arrived (refused, reset, timed out, cut): a POST may have been executed anyway."""

    is_transient = True


class UnexpectedResponseError(ReportingError):
    """An answer that is not what Stripe documents: as a rule somebody else's, such as a proxy's login page."""

    is_transient = True


class ReportRunFailedError(ReportingError):
    """A report run ended as `failed`.

    :param reason: Stripe's words.
    """

    def __init__(self, report_run_id: str, report_type: str, reason: str | None) -> None:
        super().__init__(f"Report run {report_run_id} ({report_type}) failed: {reason or 'Stripe gave no reason'}")


class ReportNotReadyError(ReportingError):
    """A report run that has not succeeded, so that there is no file to fetch."""

    is_transient = True


class ReportExpiredError(ReportingError):
    """A report run whose file Stripe no longer has: its report has to be asked for anew."""


class NoReportTypesError(ReportingError):
    """The account can't run any report; a new account's catalogue may be empty for its first day."""

    is_transient = True


class DataMissingError(ReportingError):
    """The interval begins before the account's data, which will never be there; nothing was created."""


class DownloadError(ReportingError):
    """The bytes that arrived are not the file that Stripe describes; nothing was put in place."""

    is_transient = True


class ReportColumnsError(DownloadError):
    """A report with other columns than were asked for, which the same file keeps; nothing was put in place."""

    is_transient = False


class ContentsError(ReportingError):
    """The contents of a report do not fit the types that its columns should have; nothing was put in place."""


class StoreError(ReportingError):
    """The place that a report should go to can't be reached, or refuses it; what was there is as it was."""

    is_transient = True


class LandingConflictError(ReportingError):
    """Something else is landed there, which this report would destroy or count twice; nothing was changed."""


class ManifestError(ReportingError):
    """What lies where a manifest should be is none, or one of a version that is not known here."""


class APIError(ReportingError):
    """Stripe answered with an error.

    :param message: Stripe's ``error.message``, or a description of a body that is not Stripe's.
    :param http_status: status code of the response.
    :param type: Stripe's ``error.type``, such as ``invalid_request_error``.
    :param code: Stripe's ``error.code``, such as ``resource_missing``.
    :param param: the parameter at fault in Stripe's spelling, such as ``parameters.interval_end``.
    :param request_id: the ``Request-Id`` header, ``req_…``, which Stripe's Dashboard and support know.
    :param stripe_account: the account that was acted as, None for the key's own.
    :param replayed: True when this is the stored answer to an earlier request with the same idempotency key.
    :param stored: True when Stripe keeps this answer under the idempotency key, so that the same key gets it
        again for at least 24 hours.
    :param should_retry: the ``Stripe-Should-Retry`` header, None where it is absent.
    :param retry_after: seconds to wait before the next request, where the answer says so (a proxy's may);
        a day at most.
    :param rate_limited_reason: the ``Stripe-Rate-Limited-Reason`` header: which limit was met.
    """

    advice = ""

    def __init__(
        self,
        message: str,
        *,
        http_status: int,
        type: str | None = None,  # noqa: A002 - Stripe's word
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        stripe_account: str | None = None,
        replayed: bool = False,
        stored: bool = False,
        should_retry: bool | None = None,
        retry_after: float | None = None,
        rate_limited_reason: str | None = None,
    ) -> None:
        facts = {"HTTP": http_status, "code": code, "param": param, "request": request_id}
        known = ", ".join(f"{name} {value}" for name, value in facts.items() if value)
        if stripe_account:
            known += f", account {stripe_account}"
        elif http_status == 404:  # what Stripe doesn't find is as a rule another account's
            known += ", in the key's own account"
        super().__init__(f"{message} ({known}) {self.advice}".rstrip())
        self.message = message
        self.http_status = http_status
        self.type = type
        self.code = code
        self.param = param
        self.request_id = request_id
        self.stripe_account = stripe_account
        self.replayed = replayed
        self.stored = stored
        self.should_retry = should_retry
        self.retry_after = retry_after
        self.rate_limited_reason = rate_limited_reason


class InvalidRequestError(APIError):
    """The request is wrong (400, 402, 404, 405) and stays wrong until it is changed."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, **facts: Any) -> None:
        # What else Stripe says of these: how far its data reaches, and that it doesn't know a payout.
        about_shape = param and re.fullmatch(r"parameters\W(interval_start|interval_end|payout)\]?", param)
        if about_shape and code != "resource_missing" and "only available" not in message:
            self.advice = OTHER_SHAPE
        super().__init__(message, param=param, code=code, **facts)


class DataNotReadyError(InvalidRequestError):
    """Stripe's data does not reach to the end of the interval yet; it moves on about twice a day."""

    is_transient = True
    advice = "The data moves on about twice a day: ask again then, or leave it to wait_for_data=True."


class DataBeginsLaterError(InvalidRequestError):
    """Stripe's data begins after the interval does, which no waiting changes."""

    advice = "Start the DAG later; on_missing_data= can skip such an interval, or clip it."


class AuthenticationError(APIError):
    """No key, a wrong key or an expired key (401)."""

    advice = "Put a valid secret key (sk_… or rk_…) into the password of the Airflow connection."


class PermissionDeniedError(APIError):
    """The key may not do this (403)."""

    advice = (
        "A restricted key needs the permissions report_runs_and_report_types_read (which creates runs, too) "
        "and file_read."
    )


class IdempotencyError(APIError):
    """An idempotency key was used before with other parameters (400)."""


class ConflictError(APIError):
    """A request with the same idempotency key is still in flight (409)."""

    is_transient = True


class RateLimitError(APIError):
    """Too many requests, or the object is locked by another one (429, or 400 with the code ``rate_limit``)."""

    is_transient = True

    @property
    def is_about_rates(self) -> bool:
        """Whether Stripe says that it is about too many requests: it looked at nothing of this one."""
        about = self.rate_limited_reason is not None or self.code == "rate_limit"
        return about and self.code != "lock_timeout"


class ServerError(APIError):
    """Stripe, or something in front of it, failed (500 and above)."""

    is_transient = True


# Data for the report type … is only available through 2022-05-08 12:00:00 UTC; you requested `interval_end` = …
_NOT_YET = re.compile(r"\bavailable (through|until|up to) \d{4}-.*\binterval_end\b", re.IGNORECASE | re.DOTALL)
# … is only available starting at 2022-04-29 00:00:00 UTC; you requested `interval_start` = …
_NEVER = re.compile(
    r"\bavailable (starting at|starting|from|since) \d{4}-.*\binterval_(start|end)\b", re.IGNORECASE | re.DOTALL
)


def raise_alone(error: ReportingError) -> NoReturn:
    """Raise an error without what it came of, which may have a secret or a row in it."""
    try:
        raise error from None
    finally:
        error.__context__ = None


def error_class(
    http_status: int, error_type: str | None = None, message: str = "", code: str | None = None
) -> type[APIError]:
    """Return the class that an error response belongs to.

    Only Stripe's words tell data that is still to come from an interval that is wrong: both are a 400 about the
    same parameter. Words that are not understood are a wrong request, which is never waited for.

    :param error_type: Stripe's ``error.type``.
    :param message: Stripe's ``error.message``.
    :param code: Stripe's ``error.code``.
    """
    if http_status == 400:
        if code == "rate_limit":  # as it once was, says Stripe's SDK
            return RateLimitError
        if error_type == "idempotency_error":
            return IdempotencyError
        if _NOT_YET.search(message):
            return DataNotReadyError
        if _NEVER.search(message):
            return DataBeginsLaterError
    by_status: dict[int, type[APIError]] = {
        401: AuthenticationError,
        403: PermissionDeniedError,
        409: ConflictError,
        429: RateLimitError,
    }
    return by_status.get(http_status, ServerError if http_status >= 500 else InvalidRequestError)
