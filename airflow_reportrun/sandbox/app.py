"""The HTTP application: who may ask, which endpoint answers, and what goes wrong on purpose."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from . import endpoints, errors
from .downloads import HangUp, HungUp, download
from .endpoints import RUNS_PATH, TYPES_PATH
from .errors import ApiError
from .faults import Dropped, KeyExpired, RateLimited, RequestFault, ServerError, Unavailable
from .messages import Answer, Call, RequestRecord
from .parameters import decode
from .state import State

if TYPE_CHECKING:
    from starlette.requests import Request

Handler = Callable[[State, Call, RequestFault | None], Awaitable[Answer | Response]]

_LOGGED_HEADERS = ("accept", "content-type", "host", "stripe-version", "user-agent")


class Application:
    """Stripe's endpoints and the sandbox's own, over whatever state is current.

    ``current`` answers the state: a reset puts a new one in its place, and requests under way finish with
    the old one. ``hang_up`` closes the connection of a request. ``on_request`` sees each line of the log.
    """

    def __init__(
        self,
        *,
        current: Callable[[], State],
        reset: Callable[[], None],
        hang_up: HangUp,
        api_key: Callable[[], str],
        on_request: Callable[[RequestRecord], None] | None,
    ) -> None:
        self._current = current
        self._reset = reset
        self._hang_up = hang_up
        self._api_key = api_key
        self._on_request = on_request

    def asgi(self) -> Starlette:
        """Build the application to serve."""
        return Starlette(
            routes=[
                self._route("POST", RUNS_PATH, "create", endpoints.create),
                self._route("GET", RUNS_PATH, "list", endpoints.list_runs),
                self._route("GET", f"{RUNS_PATH}/{{id}}", "retrieve", endpoints.retrieve),
                self._route("GET", TYPES_PATH, "list_types", endpoints.list_types),
                self._route("GET", f"{TYPES_PATH}/{{id}}", "retrieve_type", endpoints.retrieve_type),
                self._route("GET", "/v1/files/{id}", "retrieve_file", endpoints.retrieve_file),
                self._route("GET", "/v1/files/{id}/contents", "contents", self._contents),
                # Not Stripe: for tests in another process.
                Route("/_sandbox/requests", self._show_requests, methods=["GET"]),
                Route("/_sandbox/report_runs", self._show_runs, methods=["GET"]),
                Route("/_sandbox/reset", self._do_reset, methods=["POST"]),
                *(
                    self._route(method, "/{path:path}", "unrecognized", endpoints.unrecognized)
                    for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
                ),
            ]
        )

    def _route(self, method: str, path: str, operation: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            state = self._current()
            call = await _read(state, operation, request)
            try:
                self._authenticate(call)
                answer = await self._handle(state, call, handler)
            except ApiError as error:
                answer = error.answer
            self._log(state, call, answer)
            response = (
                answer
                if isinstance(answer, Response)
                else Response(answer.body, answer.status, answer.headers, "application/json")
            )
            response.headers["Request-Id"] = call.request_id
            return response

        return Route(path, endpoint, methods=[method])

    def _authenticate(self, call: Call) -> None:
        key = _api_key(call)
        if not key:
            raise errors.no_api_key()
        if key != self._api_key():
            raise errors.invalid_api_key(_redacted(key))

    async def _handle(self, state: State, call: Call, handler: Handler) -> Answer | Response:
        with state.lock:
            fault = state.request_faults.take(call.operation, call.method, call.path)
        match fault:
            case RateLimited(reason):
                raise errors.rate_limited(reason)
            case KeyExpired():
                raise errors.expired_api_key(_redacted(_api_key(call)))
            case Unavailable():
                raise errors.unavailable()
            case Dropped(committed=False):
                return HungUp(self._hang_up)
            case ServerError() if call.operation != "create":
                raise errors.server_error()
        try:
            answer = await handler(state, call, fault)
        except ApiError as error:
            answer = error.answer
        if call.operation != "create":  # which pauses itself, while its idempotency key is in use
            await endpoints.pause(state, fault)
        return HungUp(self._hang_up) if isinstance(fault, Dropped) else answer

    async def _contents(self, state: State, call: Call, fault: RequestFault | None) -> Response:
        return download(state.find_file(call), fault, self._hang_up)

    def _log(self, state: State, call: Call, answer: Answer | Response) -> None:
        headers = {name: call.headers[name] for name in _LOGGED_HEADERS if name in call.headers}
        if key := _api_key(call):
            scheme = call.headers["authorization"].partition(" ")[0]
            headers["authorization"] = f"{scheme} {_redacted(key)}"
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
            status=_status(answer),
            replayed=isinstance(answer, Answer) and answer.replayed,
            at=call.at,
        )
        with state.lock:
            state.requests.append(record)
        if self._on_request is not None:
            self._on_request(record)

    # The control plane

    async def _show_requests(self, request: Request) -> Response:
        state = self._current()
        with state.lock:
            records = [dataclasses.asdict(record) for record in state.requests]
        return _for_neighbours(request, {"requests": records})

    async def _show_runs(self, request: Request) -> Response:
        state = self._current()
        with state.lock:
            records = [dataclasses.asdict(run.record()) for run in state.runs.values()]
        return _for_neighbours(request, {"report_runs": records})

    async def _do_reset(self, request: Request) -> Response:
        response = _for_neighbours(request, {"reset": True})
        if response.status_code == 200:
            self._reset()
        return response


async def _read(state: State, operation: str, request: Request) -> Call:
    return Call(
        operation=operation,
        method=request.method,
        path=request.url.path,
        id=request.path_params.get("id", ""),
        query=decode(request.url.query),
        form=decode((await request.body()).decode("utf-8", "replace")),
        headers=request.headers,
        base_url=str(request.base_url).rstrip("/"),
        request_id=state.new_id("req_", 14),
        at=state.now(),
    )


def _api_key(call: Call) -> str:
    """Read the key from a Bearer token or the user of Basic credentials; empty if there is none."""
    scheme, _, credentials = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def _redacted(key: str) -> str:
    """Show the kind of a key and its last four characters, as Stripe does."""
    kind, _, secret = key.rpartition("_")
    return f"{kind}_****{secret[-4:]}" if kind and len(secret) > 4 else "****"


def _status(answer: Answer | Response) -> int | None:
    if isinstance(answer, Answer):
        return answer.status
    # A download that breaks off was answered; its status line went out.
    return None if isinstance(answer, HungUp) and not answer.answers else answer.status_code


def _for_neighbours(request: Request, body: Mapping[str, object]) -> Response:
    """Answer a client on this machine and no other."""
    host = request.client.host if request.client else ""
    if not ipaddress.ip_address(host).is_loopback:
        return JSONResponse({"error": "the sandbox's controls answer to this machine only"}, 403)
    return JSONResponse(body)
