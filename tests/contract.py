"""What goes over the wire, held against ``stripe-reporting.openapi.yaml``.

:class:`Recorder` stands between a client and the sandbox and keeps what both say, byte for byte;
`request_mistakes` and `response_mistakes` say what of it the document does not know.
"""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from openapi_core import Config, OpenAPI
from openapi_core.casting.schemas import oas31_schema_casters_factory
from openapi_core.datatypes import RequestParameters
from openapi_core.deserializing.styles import style_deserializers
from openapi_core.deserializing.styles.factories import StyleDeserializersFactory
from openapi_core.templating.paths.finders import APICallPathFinder
from werkzeug.datastructures import Headers, ImmutableMultiDict

DOCUMENT = Path(__file__).parent / "stripe-reporting.openapi.yaml"

STRIPES_HEADERS = ("stripe-", "idempoten", "original-request", "request-id")
"""Beginnings of the names of headers that are Stripe's own, hence in the document or a mistake."""

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date"}


def _in_brackets(explode: bool, name: str, schema_type: str, location: Mapping[str, Any]) -> Any:
    """Return ``a[b][0]=1&a[b][1]=2`` as an object: deepObject as Stripe has it, with arrays and any depth.

    OpenAPI leaves both undefined, and openapi-core reads one level of an object.
    """
    if name in location:
        return location[name]
    tree: dict[str, Any] = {}
    for key, value in location.items(multi=True):  # type: ignore[call-arg]
        if key.startswith(f"{name}["):
            *parents, leaf = re.findall(r"\[(\w*)\]", key)
            branch = tree
            for parent in parents:
                branch = branch.setdefault(parent, {})
            branch[leaf or str(len(branch))] = value
    if not tree:
        raise KeyError(name)
    return _with_arrays(tree)


def _with_arrays(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if all(key.isdecimal() for key in value):
        return [_with_arrays(value[key]) for key in sorted(value, key=int)]
    return {key: _with_arrays(child) for key, child in value.items()}


_openapi = OpenAPI.from_file_path(
    str(DOCUMENT),
    config=Config(
        style_deserializers_factory=StyleDeserializersFactory(
            oas31_schema_casters_factory, {**style_deserializers, "deepObject": _in_brackets}
        ),
        extra_media_type_deserializers={"text/csv": lambda value, **_: value.decode("utf-8")},
        # Stripe may add a field, the sandbox may not.
        additional_properties_default_policy="forbid",
    ),
)

SCHEMAS: Mapping[str, Any] = (_openapi.spec / "components" / "schemas").read_value()
"""The schemas of the document, by name."""


@dataclass(frozen=True)
class Operation:
    """An operation of the document.

    :param name: its ``operationId``, which is the sandbox's word for it too.
    :param statuses: those that the document has an answer for.
    """

    name: str
    method: str
    path: str
    statuses: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def _operations() -> Iterator[Operation]:
    for path, item in (_openapi.spec / "paths").read_value().items():
        for method in ("post", "get"):
            if method in item:
                it = item[method]
                yield Operation(it["operationId"], method.upper(), path, tuple(map(int, it["responses"])))


OPERATIONS = {operation.name: operation for operation in _operations()}


@dataclass(frozen=True)
class Exchange:
    """A request and its response, as they went over the wire."""

    method: str
    target: str
    sent_headers: Headers
    sent: bytes
    status: int
    headers: Headers
    received: bytes

    @property
    def operation(self) -> Operation | None:
        """The operation of the document that this is, if any."""
        for operation in OPERATIONS.values():
            pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(operation.path))
            if operation.method == self.method and re.fullmatch(pattern, self._path):
                return operation
        return None

    @property
    def _path(self) -> str:
        return urlsplit(self.target).path

    @property
    def _query(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.target).query, keep_blank_values=True)


class _Asked:
    """A request, in openapi-core's terms."""

    def __init__(self, exchange: Exchange) -> None:
        # On this machine there is one host; which of Stripe's two an operation lives on is in the document.
        self.host_url = f"https://{'files' if exchange._path.endswith('/contents') else 'api'}.stripe.com"
        self.path = exchange._path
        self.method = exchange.method.lower()
        self.content_type = exchange.sent_headers.get("Content-Type", "")
        self.body = exchange.sent or None
        self.parameters = RequestParameters(
            query=ImmutableMultiDict(exchange._query), header=exchange.sent_headers, cookie=ImmutableMultiDict()
        )


class _Answered:
    """A response, in openapi-core's terms."""

    def __init__(self, exchange: Exchange) -> None:
        self.status_code = exchange.status
        self.headers = exchange.headers
        self.content_type = exchange.headers.get("Content-Type", "")
        self.data = exchange.received


def request_mistakes(exchange: Exchange) -> list[str]:
    """Return what the document does not know of a request."""
    asked = _Asked(exchange)
    mistakes = [_told(error) for error in _openapi.iter_request_errors(asked)]
    if exchange.operation is None:
        return mistakes
    found = APICallPathFinder(_openapi.spec).find(asked.method, asked.host_url + asked.path)
    operation = found.operation.read_value()
    parameters = [parameter.read_value() for parameter in found.operation / "parameters"]
    names = {
        place: {it["name"].lower() for it in parameters if it["in"] == place} for place in ("query", "header")
    }
    # openapi-core passes over what is in a request and not in the document.
    mistakes += [f"query: {name}" for name, _ in exchange._query if _top(name) not in names["query"]]
    mistakes += [f"header: {name}" for name in _of_stripe(exchange.sent_headers) if name not in names["header"]]
    if "requestBody" in operation:
        fields = SCHEMAS["create_report_run"]["properties"]
        form = parse_qsl(exchange.sent.decode(), keep_blank_values=True)
        mistakes += [f"form: {name}" for name, _ in form if _top(name) not in fields]
    elif exchange.sent:
        mistakes.append("a body")
    return mistakes


def response_mistakes(exchange: Exchange) -> list[str]:
    """Return what the document does not know of a response."""
    mistakes = [_told(error) for error in _openapi.iter_response_errors(_Asked(exchange), _Answered(exchange))]
    if exchange.operation is None or exchange.status not in exchange.operation.statuses:
        return mistakes
    asked = _Asked(exchange)
    found = APICallPathFinder(_openapi.spec).find(asked.method, asked.host_url + asked.path)
    known = (found.operation / "responses" / str(exchange.status)).get("headers")
    names = {name.lower() for name in known.str_keys()} if known is not None else set()
    return mistakes + [f"header: {name}" for name in _of_stripe(exchange.headers) if name not in names]


def _of_stripe(headers: Headers) -> Iterator[str]:
    return (name.lower() for name, _ in headers if name.lower().startswith(STRIPES_HEADERS))


def _top(name: str) -> str:
    return name.partition("[")[0]


def _told(error: BaseException) -> str:
    """Return an error of openapi-core with the reasons, which are in what is under it."""
    reasons = [reason.message for reason in getattr(error.__cause__ or error.__context__, "schema_errors", ())]
    return f"{type(error).__name__}: {'; '.join(reasons) or error}"[:500]


class Recorder:
    """Passes requests on to a server on this machine, and keeps each exchange.

    :param target: the server, ``http://127.0.0.1:…``.
    """

    def __init__(self, target: str) -> None:
        self.exchanges: list[Exchange] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(urlsplit(target).netloc))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """Where to send requests to."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self, target: str) -> type[BaseHTTPRequestHandler]:
        keep = self.exchanges.append

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def pass_on(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                upstream = http.client.HTTPConnection(target, timeout=30)
                upstream.request(self.command, self.path, sent or None, dict(self.headers.items()))
                response = upstream.getresponse()
                received = response.read()
                upstream.close()
                keep(
                    Exchange(
                        self.command,
                        self.path,
                        Headers(self.headers.items()),
                        sent,
                        response.status,
                        Headers(response.getheaders()),
                        received,
                    )
                )
                self.send_response_only(response.status)
                for name, value in response.getheaders():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(received)))
                self.end_headers()
                self.wfile.write(received)

            do_GET = do_POST = do_DELETE = pass_on  # noqa: N815 - the base class's names

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler
