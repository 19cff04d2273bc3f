"""What the account is told: that a run has ended, that the data has moved on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .messages import Json, Scope

KEPT_SECONDS = 30 * 86_400
MOST_TYPES = 20


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    ``created`` is in Unix seconds. ``show`` shows the run or the report type as it was then, at the address that a
    client uses.
    """

    id: str
    type: str
    created: int
    scope: Scope
    show: Callable[[str], Json]

    def body(self, base_url: str, version: str) -> Json:
        """Show the event as Stripe does: without an ``account`` where it is the key's own."""
        account = {} if self.scope.account is None else {"account": self.scope.account}
        return {
            "id": self.id,
            "object": "event",
            **account,
            "api_version": version,
            "created": self.created,
            "data": {"object": self.show(base_url)},
            "livemode": self.scope.livemode,
            "pending_webhooks": 0,
            "request": {"id": None, "idempotency_key": None},
            "type": self.type,
        }
