"""What keeps secrets out of errors, logs, events and XComs: keys are taken out of whatever a server says.

Answers pass here before anything reads them (:func:`without_secrets`), so that a key which a server echoes is in
no exception, no event of a trigger, no XCom and no log of a retry. Our own errors about a connection name its
fields and never say what stands in them, and whatever an error of ours quotes has no key in it.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_reportrun.reporting.answers import Response

REDACTED = "***"

# What Stripe itself shows of a key, such as sk_test_****abcd, stays.
_KEY = re.compile(r"(?<![A-Za-z0-9])(?:(?:[sr]k_(?:org_)?(?:live|test)|sk_org|whsec)_)[A-Za-z0-9_]+")


# Of a request that somebody echoes, such as a proxy with what we gave it for itself.
_AUTHORIZATION = re.compile(r"(authorization\W{1,8}(?:basic|bearer)\s+)[A-Za-z0-9._~+/=-]+", re.IGNORECASE)


def redacted(text: str, *secrets: str) -> str:
    """Return a text without these secrets, without credentials of a header, and without what looks like a key."""
    for secret in filter(None, secrets):
        text = text.replace(secret, REDACTED)
    return _AUTHORIZATION.sub(rf"\g<1>{REDACTED}", _KEY.sub(REDACTED, text))


def without_secrets(answer: Response, *secrets: str) -> Response:
    """Return an answer of an API without secrets in its headers and its body; not for the contents of files."""
    headers = {name: redacted(value, *secrets) for name, value in answer.headers.items()}
    body = redacted(answer.body.decode("latin-1"), *secrets).encode("latin-1")
    try:  # JSON can spell a key in other characters, and be in another encoding
        said = json.loads(body)
        cleaned = redacted_in(said, *secrets)
    except (ValueError, RecursionError):  # no JSON, or none that is read further on
        return replace(answer, headers=headers, body=body)
    return replace(answer, headers=headers, body=body if cleaned == said else json.dumps(cleaned).encode())


def redacted_in(said: Any, *secrets: str) -> Any:
    """Return what JSON can be, with all of its texts redacted."""
    if isinstance(said, str):
        return redacted(said, *secrets)
    if isinstance(said, list):
        return [redacted_in(it, *secrets) for it in said]
    if isinstance(said, dict):
        return {redacted(name, *secrets): redacted_in(it, *secrets) for name, it in said.items()}
    return said
