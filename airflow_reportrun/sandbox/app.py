"""The HTTP application: who may ask, which endpoint answers, and what goes wrong on purpose."""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from . import endpoints, errors
from .endpoints import ACCOUNT_PATH, API_VERSION, EVENTS_PATH, RUNS_PATH, TYPES_PATH
from .errors import ApiError
from .faults import (
    Dropped,
    KeyExpired,
    KeyInUse,
    LockTimeout,
    ProxyPage,
    RateLimited,
    Redirected,
    Refused,
    RequestFault,
    ServerError,
    Unavailable,
)
from .messages import ACCOUNT, Answer, Call, Contents, Json, RequestRecord
from .parameters import decode
from .state import State
from .wire import ConnectionOf, CutHeaders, Garbage, Whole, WireFault, Written

if TYPE_CHECKING:
    from starlette.requests import Request

Handler = Callable[[State, Call, RequestFault | None], Awaitable[Answer | Contents]]

log = logging.getLogger(__name__)

PERMISSIONS = ("report_runs_and_report_types_read", "file_read", "event_read", "accounts_kyc_basic_read")
"""What a restricted key can be given here. The first one creates runs, too."""

_REPORTS, _FILES, _EVENTS, _ACCOUNTS = PERMISSIONS
_LOGGED_HEADERS = (
    *("accept", "content-type", "host", "if-range", "range", "user-agent"),
    *("stripe-context", "stripe-version"),
)
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(\.[a-z]+)?(;.*)?", re.ASCII)
_PAGE = b"<!doctype html><title>Sign in</title><p>Your session on this network has ended."


class Application:
    """Stripe's endpoints and the sandbox's own, over whatever state is current.

    ``current`` answers the state: a reset puts a new one in its place, and requests under way finish with
    the old one. ``script`` injects faults that are written as text, ``advance`` moves the time on by seconds.
    ``connection_of`` finds the connection of a request, ``refuse`` turns new ones away for some seconds.
    ``on_request`` sees each line of the log.
    """

    def __init__(
        self,
        *,
        current: Callable[[], State],
        reset: Callable[[], None],
        script: Callable[[str], None],
        advance: Callable[[float], None],
        connection_of: ConnectionOf,
        refuse: Callable[[float], None],
        api_key: Callable[[], str],
        on_request: Callable[[RequestRecord], None] | None,
    ) -> None:
        self._current = current
        self._reset = reset
        self._script = script
        self._advance = advance
        self._connection_of = connection_of
        self._refuse = refuse
        self._api_key = api_key
        self._on_request = on_request

    def asgi(self) -> Starlette:
        """Build the application to serve."""
        return Starlette(
            routes=[
                self._route("POST", RUNS_PATH, "create", endpoints.create, _REPORTS),
                self._route("GET", RUNS_PATH, "list", endpoints.list_runs, _REPORTS),
                self._route("GET", f"{RUNS_PATH}/{{id}}", "retrieve", endpoints.retrieve, _REPORTS),
                self._route("GET", TYPES_PATH, "list_types", endpoints.list_types, _REPORTS),
                self._route("GET", f"{TYPES_PATH}/{{id}}", "retrieve_type", endpoints.retrieve_type, _REPORTS),
                self._route("GET", "/v1/files/{id}", "retrieve_file", endpoints.retrieve_file, _FILES),
                self._route("GET", "/v1/files/{id}/contents", "contents", endpoints.contents, _FILES),
                self._route("GET", EVENTS_PATH, "list_events", endpoints.list_events, _EVENTS),
                self._route("GET", f"{EVENTS_PATH}/{{id}}", "retrieve_event", endpoints.retrieve_event, _EVENTS),
                self._route("GET", ACCOUNT_PATH, "retrieve_account", endpoints.retrieve_account, _ACCOUNTS),
                # Not Stripe: for tests in another process.
                self._control("GET", "requests", self._show_requests),
                self._control("GET", "report_runs", self._show_runs),
                self._control("POST", "reset", self._do_reset),
                self._control("POST", "faults", self._do_script),
                self._control("POST", "advance", self._do_advance),
                *(
                    self._route(method, "/{path:path}", "unrecognized", endpoints.unrecognized, None)
                    for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
                ),
            ]
        )

    def _route(self, method: str, path: str, operation: str, handler: Handler, permission: str | None) -> Route:
        async def endpoint(request: Request) -> Response:
            state = self._current()
            try:
                call = await _read(state, operation, request)
            except ClientDisconnect:  # in the middle of its request
                return Response()
            fault: RequestFault | None = None
            answer: Answer | Contents
            try:
                self._let_in(state, call, permission)
                with state.limiter.admit(call, state.settings.rate_limits):
                    with state.lock:
                        fault = state.request_faults.take(call.operation, call.method, call.path)
                    answer = await _handle(state, call, handler, fault)
            except ApiError as error:
                answer = error.answer
            except Exception:
                log.exception("The sandbox could not answer %s %s", call.method, call.path)
                answer = errors.server_error().answer
            response = self._respond(state, call, answer, fault)
            self._log(state, call, answer, fault)
            return response

        return Route(path, endpoint, methods=[method])

    def _let_in(self, state: State, call: Call, permission: str | None) -> None:
        """Refuse a request before anything else is looked at."""
        if not call.api_key:
            raise errors.no_api_key()
        keys = {self._api_key(): None, **state.settings.keys}
        if call.api_key not in keys:
            raise errors.invalid_api_key(_redacted(call.api_key))
        if call.api_key.startswith("sk_org_"):
            for name in ("Stripe-Context", "Stripe-Version"):
                if name.lower() not in call.headers:
                    raise errors.organization_key_without(name)
        path = [name for name in (call.context or "").split("/") if name != ACCOUNT]
        named = path if call.context is not None else [] if call.account is None else [call.account]
        for account in named:
            if not state.knows_account(account):
                raise errors.account_invalid(_redacted(call.api_key), account)
        permissions = keys[call.api_key]
        if permissions is not None and permission is not None and permission not in permissions:
            raise errors.permission_denied(_redacted(call.api_key), call.account or ACCOUNT, permission)
        version = call.headers.get("stripe-version", API_VERSION)
        if not _VERSION.fullmatch(version):
            raise errors.invalid_version(version)

    def _respond(
        self, state: State, call: Call, answer: Answer | Contents, fault: RequestFault | None
    ) -> Response:
        if isinstance(answer, Answer):
            headers, chunks, size = dict(answer.headers), iter((answer.body,)), len(answer.body)
            headers["Content-Type"] = answer.content_type
        else:
            headers, chunks, size = dict(answer.headers), answer.chunks(), answer.stop - answer.start
        if not (isinstance(answer, Answer) and answer.anonymous):
            headers["Request-Id"] = call.request_id
        headers["Stripe-Version"] = call.headers.get("stripe-version", API_VERSION)
        with suppress(ValueError, OverflowError, OSError):  # a clock beyond the year 9999
            headers["Date"] = format_datetime(datetime.fromtimestamp(state.now(), UTC), usegmt=True)
        if isinstance(fault, Dropped | Refused):
            if isinstance(fault, Refused):
                self._refuse(fault.seconds)
            reset = isinstance(fault, Dropped) and fault.reset
            return Written(iter(()), self._connection_of, _no_sleep, reset=reset)
        if isinstance(fault, WireFault):
            whole = Whole(answer.status, headers, chunks, size)
            return Written(fault.script(whole), self._connection_of, partial(endpoints.wait, state))
        if isinstance(answer, Answer):
            return Response(answer.body, answer.status, headers)
        return StreamingResponse(chunks, answer.status, {**headers, "Content-Length": str(size)})

    def _log(self, state: State, call: Call, answer: Answer | Contents, fault: RequestFault | None) -> None:
        headers = {name: call.headers[name] for name in _LOGGED_HEADERS if name in call.headers}
        if call.api_key:
            scheme = call.headers["authorization"].partition(" ")[0]
            headers["authorization"] = f"{scheme} {_redacted(call.api_key)}"
        record = RequestRecord(
            operation=call.operation,
            method=call.method,
            path=call.path,
            query=call.query,
            form=call.form,
            headers=headers,
            account=call.account,
            idempotency_key=call.idempotency_key,
            request_id=call.request_id,
            status=None if isinstance(fault, Dropped | Refused | CutHeaders | Garbage) else answer.status,
            replayed=isinstance(answer, Answer) and answer.replayed,
            fault=None if fault is None else repr(fault),
            at=call.at,
        )
        with state.lock:
            state.requests.append(record)
        if self._on_request is not None:
            self._on_request(record)

    # The control plane

    def _control(self, method: str, name: str, answer: Callable[[str], Json]) -> Route:
        async def endpoint(request: Request) -> Response:
            host = request.client.host if request.client else ""
            if not ipaddress.ip_address(host).is_loopback:
                return JSONResponse({"error": "the sandbox's controls answer to this machine only"}, 403)
            try:
                return JSONResponse(answer((await request.body()).decode()))
            except ValueError as error:
                return JSONResponse({"error": str(error)}, 400)

        return Route(f"/_sandbox/{name}", endpoint, methods=[method])

    def _show_requests(self, body: str) -> Json:
        state = self._current()
        with state.lock:
            return {"requests": [dataclasses.asdict(record) for record in state.requests]}

    def _show_runs(self, body: str) -> Json:
        state = self._current()
        with state.lock:
            return {"report_runs": [dataclasses.asdict(run.record()) for run in state.runs.values()]}

    def _do_reset(self, body: str) -> Json:
        self._reset()
        return {"reset": True}

    def _do_script(self, body: str) -> Json:
        """Inject the faults of a body, one a line."""
        self._script(body)
        return {"faults": len(body.splitlines())}

    def _do_advance(self, body: str) -> Json:
        """Move the time on by the seconds of a body."""
        self._advance(float(body))
        return {"now": self._current().now()}


async def _read(state: State, operation: str, request: Request) -> Call:
    headers = request.headers
    return Call(
        operation=operation,
        method=request.method,
        path=request.scope["path"],
        id=request.path_params.get("id", ""),
        query=decode(request.scope["query_string"].decode("utf-8", "replace")),
        form=decode((await request.body()).decode("utf-8", "replace")),
        headers=headers,
        api_key=_api_key(headers),
        base_url=f"http://{headers.get('host', '')}",
        request_id=state.new_id("req_", 14),
        at=state.now(),
    )


async def _handle(state: State, call: Call, handler: Handler, fault: RequestFault | None) -> Answer | Contents:
    """Answer a request that was let in; the faults that are about what is answered happen here."""
    match fault:
        case RateLimited(reason):
            raise errors.rate_limited(reason)
        case LockTimeout():
            raise errors.lock_timeout()
        case KeyInUse():
            raise errors.idempotency_key_in_use(call.idempotency_key or "")
        case KeyExpired():
            raise errors.expired_api_key(_redacted(call.api_key))
        case Unavailable():
            raise errors.unavailable()
        case Dropped(committed=False) | Refused():
            return Answer(503, b"")  # which nobody hears
        case ProxyPage(status):
            return Answer(status, _PAGE, content_type="text/html", anonymous=True)
        case Redirected(location):
            return Answer(302, b"", {"Location": location}, anonymous=True)
        case ServerError() if call.operation != "create":
            raise errors.server_error()
    answer: Answer | Contents
    try:
        answer = await handler(state, call, fault)
    except ApiError as error:
        answer = error.answer
    if call.operation != "create":  # which pauses itself, while its idempotency key is in use
        await endpoints.pause(state, fault)
    return answer


async def _no_sleep(seconds: float) -> None:
    """Stand in where a script has no pauses."""


def _api_key(headers: Mapping[str, str]) -> str:
    """Read the key from a Bearer token or the user of Basic credentials; empty if there is none."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials).decode().partition(":")[0]
        except ValueError:  # not base64, or not a text
            return ""
    return ""


def _redacted(key: str) -> str:
    """Show the kind of a key and its last four characters, as Stripe does."""
    kind, _, secret = key.rpartition("_")
    return f"{kind}_****{secret[-4:]}" if kind and len(secret) > 4 else "****"
