"""The values that pass between the routes and the HTTP server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

Json = Mapping[str, object]

Value: TypeAlias = "str | list[Value] | dict[str, Value]"
Form: TypeAlias = dict[str, Value]
"""What a form or a query says: brackets in its names nest."""

CHUNK_BYTES = 1024 * 1024

ACCOUNT = "acct_sandbox"
"""The account that the sandbox's keys belong to; in a context it is the platform itself."""


class Scope(NamedTuple):
    """Whose objects a request sees: those of an account (None for the key's own), live or test."""

    account: str | None
    livemode: bool


@dataclass(frozen=True, slots=True)
class Call:
    """One request, read to its end.

    ``id`` is the id in the path, or empty. ``api_key`` is empty where there is none. ``base_url`` is the address
    the client used, without a trailing slash. ``at`` is when the request arrived, in Unix seconds of the sandbox's
    clock.
    """

    operation: str
    method: str
    path: str
    id: str
    query: Form
    form: Form
    headers: Mapping[str, str]
    api_key: str
    base_url: str
    request_id: str
    at: float

    @property
    def scope(self) -> Scope:
        """Whose objects the request sees."""
        return Scope(self.account, "_live_" in self.api_key)

    @property
    def account(self) -> str | None:
        """The connected account acted for, or None for the key's own: the last one of a context counts."""
        if self.context is not None:
            account = self.context.rpartition("/")[2]
            return None if account == ACCOUNT else account
        return self.headers.get("stripe-account")

    @property
    def context(self) -> str | None:
        """The path of accounts that was sent, which supersedes an account."""
        return self.headers.get("stripe-context")

    @property
    def idempotency_key(self) -> str | None:
        """The key of a POST; Stripe takes no notice of it elsewhere."""
        return self.headers.get("idempotency-key") or None if self.method == "POST" else None


@dataclass(frozen=True, slots=True)
class Answer:
    """A response in memory: the bytes are fixed when it is made, so that a replay shows the past.

    An ``anonymous`` one carries no request id.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    replayed: bool = False
    anonymous: bool = False
    content_type: str = "application/json"

    @classmethod
    def of(cls, body: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
        """Write ``body`` as JSON, indented as Stripe does."""
        return cls(status, json.dumps(body, indent=2, ensure_ascii=False).encode(), headers or {})


@dataclass(frozen=True, slots=True)
class Contents:
    """A response that streams the bytes from ``start`` to ``stop`` of what is in memory or on disk."""

    status: int
    headers: Mapping[str, str]
    source: bytes | Path
    start: int
    stop: int

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes, never more than a chunk in memory where they come from disk."""
        if isinstance(self.source, bytes):
            yield self.source[self.start : self.stop]
            return
        with self.source.open("rb") as file:
            file.seek(self.start)
            left = self.stop - self.start
            while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
                left -= len(chunk)
                yield chunk


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A line of the request log.

    ``operation`` is one of `faults.OPERATIONS` or ``unrecognized``; ``status`` is None when no whole head was
    sent; ``fault`` shows what was made to go wrong, such as ``RateLimited(reason='global-rate')``; ``headers``
    holds the ones of interest by lower-case name, the API key redacted; ``at`` is in Unix seconds of the sandbox's
    clock, when the request arrived.
    """

    operation: str
    method: str
    path: str
    query: Form
    form: Form
    headers: Mapping[str, str]
    account: str | None
    idempotency_key: str | None
    request_id: str
    status: int | None
    replayed: bool
    fault: str | None
    at: float
