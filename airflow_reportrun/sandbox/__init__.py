"""An embedded, stateful Stripe for tests and demos: the Reporting API on an address of its own.

Start one in a test, and point a client at it::

    with StripeSandbox(transition=AfterReads(2)) as sandbox:
        sandbox.inject(RateLimited())
        ...  # talk to sandbox.url with the key sandbox.api_key
        assert [request.status for request in sandbox.requests_to("create")] == [429, 200]

or use the fixture ``stripe_sandbox`` of `airflow_reportrun.sandbox.pytest_plugin`, or run
``python -m airflow_reportrun.sandbox``.

It does: create, retrieve and list report runs; list and retrieve report types (`balance.summary.1`,
`balance_change_from_activity.itemized.3` and `.7`, `.summary.1` and `.2`); retrieve and download files;
Stripe's authentication, request validation, error bodies and idempotency; the CSV of a fictional shop whose
books are a pure function of time; faults on request; a log of what it was asked.

It does not: keep data of its own for each connected account (``Stripe-Account`` separates runs, the shop is
the same), know restricted keys and their permissions, send events, limit rates by itself, answer ranges of a
file, ``expand``, take `decimal_separator` or `compress_file`, offer report types beyond the five, let files
or keys expire (but idempotency keys do, after 24 hours), or break below HTTP other than by closing a
connection. Where Stripe's behaviour is not public it chooses, and says so: for refusals all in `errors`,
for the CSV in `reports`, for names of report types in `catalogue`.
"""

from __future__ import annotations

from .clock import Clock, ManualClock
from .faults import (
    OPERATIONS,
    DataLate,
    Dropped,
    Fault,
    KeyExpired,
    RateLimited,
    Redirected,
    RequestFault,
    RunFails,
    RunFault,
    RunNeverEnds,
    ServerError,
    ShortContents,
    Slow,
    Unavailable,
    UnknownStatus,
    WrongSize,
)
from .messages import RequestRecord
from .runs import AfterReads, AfterSeconds, AtOnce, RunRecord, Transition
from .server import StripeSandbox

__all__ = [
    "OPERATIONS",
    "AfterReads",
    "AfterSeconds",
    "AtOnce",
    "Clock",
    "DataLate",
    "Dropped",
    "Fault",
    "KeyExpired",
    "ManualClock",
    "RateLimited",
    "Redirected",
    "RequestFault",
    "RequestRecord",
    "RunFails",
    "RunFault",
    "RunNeverEnds",
    "RunRecord",
    "ServerError",
    "ShortContents",
    "Slow",
    "StripeSandbox",
    "Transition",
    "Unavailable",
    "UnknownStatus",
    "WrongSize",
]
