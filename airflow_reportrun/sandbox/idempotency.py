"""What Stripe remembers of requests that carried an idempotency key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import errors

if TYPE_CHECKING:
    from .messages import Answer, Call, Scope

KEPT_SECONDS = 24 * 3600
LONGEST_KEY = 255


@dataclass(slots=True)
class _Entry:
    fingerprint: object
    request_id: str
    at: float
    answer: Answer | None = None


class IdempotencyKeys:
    """The answers kept, by account, mode and key, for 24 hours from the first request.

    Not thread-safe: the caller holds a lock.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[Scope, str], _Entry] = {}

    def begin(self, call: Call, key: str) -> Answer | None:
        """Answer with what was kept, or None when the request is the first and shall be executed.

        After None the caller must call `keep` or `forget`. Raises `ApiError` for a key that is too long, is
        in use or was used with other parameters.
        """
        if len(key) > LONGEST_KEY:
            raise errors.idempotency_key_too_long(key)
        entry = self._entries.get((call.scope, key))
        fingerprint = (call.method, call.path, call.form)
        if entry is None or (entry.answer is not None and call.at - entry.at >= KEPT_SECONDS):
            self._entries[call.scope, key] = _Entry(fingerprint, call.request_id, call.at)
            return None
        if entry.fingerprint != fingerprint:
            raise errors.idempotency_key_reused(key)
        if entry.answer is None:
            raise errors.idempotency_key_in_use(key)
        replay = {"Idempotent-Replayed": "true", "Original-Request": entry.request_id}
        return replace(entry.answer, headers={**entry.answer.headers, **replay}, replayed=True)

    def keep(self, call: Call, key: str, answer: Answer) -> Answer:
        """Keep the answer of an executed request, with the headers that a first POST carries."""
        answer = replace(answer, headers={**answer.headers, **_first_post(call, key)})
        self._entries[call.scope, key].answer = answer
        return answer

    def forget(self, call: Call, key: str) -> None:
        """Drop a request that was refused before it executed; the key is free again."""
        del self._entries[call.scope, key]


def _first_post(call: Call, key: str) -> Mapping[str, str]:
    # Stripe sends "false" even on 200: trying again would only replay.
    return {"Idempotency-Key": key, "Original-Request": call.request_id, "Stripe-Should-Retry": "false"}
