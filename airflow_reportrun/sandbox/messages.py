"""The values that pass between the routes and the HTTP server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .parameters import Form

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Call:
    """One request, read to its end.

    ``id`` is the id in the path, or empty. ``base_url`` is the address the client used, without a trailing
    slash. ``at`` is when the request arrived, in Unix seconds of the sandbox's clock.
    """

    operation: str
    method: str
    path: str
    id: str
    query: Form
    form: Form
    headers: Mapping[str, str]
    base_url: str
    request_id: str
    at: float

    @property
    def account(self) -> str | None:
        """The connected account acted for, or None for the key's own."""
        return self.headers.get("stripe-account")

    @property
    def idempotency_key(self) -> str | None:
        """The key of a POST; Stripe takes no notice of it elsewhere."""
        return self.headers.get("idempotency-key") or None if self.method == "POST" else None


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON response: the bytes are fixed when it is made, so that a replay shows the past."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    replayed: bool = False

    @classmethod
    def of(cls, body: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
        """Write ``body`` as JSON, indented as Stripe does."""
        return cls(status, json.dumps(body, indent=2, ensure_ascii=False).encode(), headers or {})


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A line of the request log.

    ``operation`` is one of `faults.OPERATIONS` or ``unrecognized``; ``status`` is None when the connection
    was dropped instead of answered; ``headers`` holds the ones of interest by lower-case name, the API key
    redacted; ``at`` is in Unix seconds of the sandbox's clock, when the request arrived.
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
    at: float
