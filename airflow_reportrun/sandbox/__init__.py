"""An embedded, stateful Stripe for tests and demos: the Reporting API on an address of its own.

Start one in a test, and point a client at it::

    with StripeSandbox(transition=AfterReads(2)) as sandbox:
        sandbox.inject(RateLimited())
        ...  # talk to sandbox.url with the key sandbox.api_key
        assert [request.status for request in sandbox.requests_to("create")] == [429, 200]

or use the fixture ``stripe_sandbox`` of `airflow_reportrun.sandbox.pytest_plugin`, or run
``python -m airflow_reportrun.sandbox``.

It does: create, retrieve and list report runs; list and retrieve report types; retrieve and download files, whole
or in part; list and retrieve events; retrieve the account; Stripe's authentication, permissions, modes, accounts,
request validation, error bodies, rate limits and idempotency; the CSV of a fictional shop whose books are a pure
function of time; faults on request, in the application and on the wire; a log of what it was asked.

It does not: send webhooks, ``expand``, or answer any other call of Stripe's API. Where Stripe's behaviour is not
public it chooses, and docs/sandbox.md lists what.
"""

from __future__ import annotations

from .app import PERMISSIONS
from .clock import Clock, ManualClock
from .faults import (
    ANY,
    OPERATIONS,
    DataLate,
    Dropped,
    EndsAtOnce,
    Fault,
    IgnoresRange,
    KeyExpired,
    KeyInUse,
    LockTimeout,
    OtherRange,
    ProxyPage,
    RateLimited,
    Redirected,
    Refused,
    RequestFault,
    RunFails,
    RunFault,
    RunNeverEnds,
    ServerError,
    SharesFile,
    ShortContents,
    Slow,
    Unavailable,
    UnknownStatus,
    WrongSize,
)
from .limits import RateLimits
from .messages import RequestRecord
from .runs import AfterReads, AfterSeconds, AtOnce, RunRecord, Transition
from .server import StripeSandbox
from .wire import CutBody, CutHeaders, Drips, Framed, Garbage, Gzipped, Stalls, WireFault, WrongLength

__all__ = [
    "ANY",
    "OPERATIONS",
    "PERMISSIONS",
    "AfterReads",
    "AfterSeconds",
    "AtOnce",
    "Clock",
    "CutBody",
    "CutHeaders",
    "DataLate",
    "Drips",
    "Dropped",
    "EndsAtOnce",
    "Fault",
    "Framed",
    "Garbage",
    "Gzipped",
    "IgnoresRange",
    "KeyExpired",
    "KeyInUse",
    "LockTimeout",
    "ManualClock",
    "OtherRange",
    "ProxyPage",
    "RateLimited",
    "RateLimits",
    "Redirected",
    "Refused",
    "RequestFault",
    "RequestRecord",
    "RunFails",
    "RunFault",
    "RunNeverEnds",
    "RunRecord",
    "ServerError",
    "SharesFile",
    "ShortContents",
    "Slow",
    "Stalls",
    "StripeSandbox",
    "Transition",
    "Unavailable",
    "UnknownStatus",
    "WireFault",
    "WrongLength",
    "WrongSize",
]
