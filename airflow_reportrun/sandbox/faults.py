"""What can be made to go wrong, as values for `StripeSandbox.inject`.

A `RequestFault` spoils the answer to a request, a `RunFault` the course of a run that a create begins::

    Fault
    ├── RequestFault
    │   ├── RateLimited       429, nothing was done
    │   ├── LockTimeout       429 about an object that is locked, nothing was done
    │   ├── KeyInUse          409, nothing was done: as if the idempotency key's first request were under way
    │   ├── Unavailable       503, nothing was done
    │   ├── KeyExpired        401, nothing was done
    │   ├── DataLate          a create answers 400: the data doesn't reach the end of the interval
    │   ├── ServerError       500, before or after a create committed
    │   ├── Dropped           the connection closes, before or after a create committed
    │   ├── Refused           ... and for a while nobody listens at the address
    │   ├── Slow              the answer comes late
    │   ├── ProxyPage         somebody else answers, in HTML
    │   ├── Redirected        302 to another address
    │   ├── ShortContents     a download ends early, and HTTP says that it is whole
    │   ├── IgnoresRange      a download of a part brings the whole
    │   ├── OtherRange        a download of a part brings another part
    │   └── WireFault         what goes wrong below HTTP: see `wire`
    └── RunFault
        ├── RunFails          pending, then failed with an error
        ├── RunNeverEnds      pending for ever
        ├── EndsAtOnce        the create answers with a run that has ended already
        ├── UnknownStatus     pending, then a status nobody knows
        ├── SharesFile        succeeded, with the file of an earlier identical run
        └── WrongSize         succeeded, but File.size is not what the download brings
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar, Generic, Literal, TypeVar

OPERATIONS = (
    "create",
    "retrieve",
    "list",
    "list_types",
    "retrieve_type",
    "retrieve_file",
    "contents",
    "list_events",
    "retrieve_event",
    "retrieve_account",
)
"""The endpoints by name: the first three are those of report runs."""

ANY = "any"
"""Stands for all operations in `StripeSandbox.inject`."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong; ``on`` is the operation it happens to unless `inject` names another."""

    on: ClassVar[str] = "create"


@dataclass(frozen=True, slots=True)
class RequestFault(Fault):
    """Spoils the answer to one request."""


@dataclass(frozen=True, slots=True)
class RunFault(Fault):
    """Spoils one run; a create that replays or is refused starts none and leaves the fault for the next."""


Reason = Literal["global-rate", "global-concurrency", "endpoint-rate", "endpoint-concurrency", "resource-specific"]
"""Which of Stripe's limits was reached."""


@dataclass(frozen=True, slots=True)
class RateLimited(RequestFault):
    """429; ``reason`` is what ``Stripe-Rate-Limited-Reason`` says. Not kept under an idempotency key."""

    reason: Reason = "global-rate"


@dataclass(frozen=True, slots=True)
class LockTimeout(RequestFault):
    """429 of another kind: the object is locked; it has neither a reason nor a request id."""


@dataclass(frozen=True, slots=True)
class KeyInUse(RequestFault):
    """409: as if a request with the same idempotency key were under way."""


@dataclass(frozen=True, slots=True)
class Unavailable(RequestFault):
    """503 before anything was done. Not kept under an idempotency key."""


@dataclass(frozen=True, slots=True)
class KeyExpired(RequestFault):
    """401 before anything was done. Not kept under an idempotency key."""


@dataclass(frozen=True, slots=True)
class DataLate(RequestFault):
    """400, kept under the idempotency key: the data ends before the interval, whatever the report type says."""


@dataclass(frozen=True, slots=True)
class ServerError(RequestFault):
    """500, kept under the idempotency key of a create that was executing.

    ``committed`` says that the run of a create exists nevertheless. A create that replays answers 500 as
    well, and its key keeps what it kept before.
    """

    committed: bool = False


@dataclass(frozen=True, slots=True)
class Dropped(RequestFault):
    """The connection closes without an answer.

    ``committed`` says that the request was executed, and its answer kept under its key, all the same; ``reset``
    that the connection breaks (RST) instead of being closed (FIN).
    """

    committed: bool = False
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Refused(RequestFault):
    """The connection closes without an answer, and for ``seconds`` (real ones) new ones are refused.

    Nothing was done. Stopping the sandbox ends it.
    """

    seconds: float = 0.5


@dataclass(frozen=True, slots=True)
class Slow(RequestFault):
    """The request is executed at once and answered ``seconds`` (real ones) later.

    Its idempotency key is in use meanwhile. Stopping or resetting the sandbox ends the wait.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class ProxyPage(RequestFault):
    """Something in between answers with a page of its own; nothing was done."""

    status: int = 200


@dataclass(frozen=True, slots=True)
class Redirected(RequestFault):
    """302 with this ``location``; nothing was done."""

    on: ClassVar[str] = "contents"
    location: str


@dataclass(frozen=True, slots=True)
class ShortContents(RequestFault):
    """A download brings the first ``kept`` bytes only, and only the size of the File betrays it."""

    on: ClassVar[str] = "contents"
    kept: int


@dataclass(frozen=True, slots=True)
class IgnoresRange(RequestFault):
    """A download of a part is answered with the whole (200), as a server that knows no ranges does."""

    on: ClassVar[str] = "contents"


@dataclass(frozen=True, slots=True)
class OtherRange(RequestFault):
    """A download of a part is answered (206) with a part that begins ``by`` bytes earlier, as its header says."""

    on: ClassVar[str] = "contents"
    by: int = 1


@dataclass(frozen=True, slots=True)
class RunFails(RunFault):
    """The run ends as ``failed``, with this ``error``."""

    error: str = "An error occurred while generating the report."


@dataclass(frozen=True, slots=True)
class RunNeverEnds(RunFault):
    """The run stays pending."""


@dataclass(frozen=True, slots=True)
class EndsAtOnce(RunFault):
    """The create answers with a run that has succeeded."""


@dataclass(frozen=True, slots=True)
class UnknownStatus(RunFault):
    """The run ends in a status that Stripe does not document today, and without a result."""

    status: str = "expired"


@dataclass(frozen=True, slots=True)
class SharesFile(RunFault):
    """The run's file is that of the account's last run that asked for the same.

    Where there is none, it is an hour older than the run and named after one that nobody knows.
    """


@dataclass(frozen=True, slots=True)
class WrongSize(RunFault):
    """The File claims ``by`` bytes more than there are (fewer when negative)."""

    by: int = 1


FaultT = TypeVar("FaultT", bound=Fault)


@dataclass(slots=True)
class _Scripted(Generic[FaultT]):
    fault: FaultT
    on: str
    left: int
    skip: int
    chance: float
    rng: random.Random

    def matches(self, operation: str, method: str, path: str) -> bool:
        return self.on in (operation, ANY) or (" " in self.on and fnmatchcase(f"{method} {path}", self.on))

    def happens(self) -> bool:
        """Tell, of a request that matches, whether it is this one's turn."""
        if self.skip:
            self.skip -= 1
            return False
        return self.chance >= 1 or self.rng.random() < self.chance


class Script(Generic[FaultT]):
    """The faults still to come, in the order they were injected."""

    def __init__(self) -> None:
        self._lines: list[_Scripted[FaultT]] = []

    def add(
        self, fault: FaultT, *, on: str, times: int, skip: int = 0, chance: float = 1.0, seed: int = 0
    ) -> None:
        """Add a fault for ``times`` matches of ``on``: after ``skip`` of them, and by chance."""
        self._lines.append(_Scripted(fault, on, times, skip, chance, random.Random(seed)))  # noqa: S311 - chance

    def take(self, operation: str, method: str = "POST", path: str = "") -> FaultT | None:
        """Use up the first fault that matches and whose turn it is."""
        for line in self._lines:
            if line.matches(operation, method, path) and line.happens():
                line.left -= 1
                if not line.left:
                    self._lines.remove(line)
                return line.fault
        return None


def check(fault: Fault, *, on: str, times: int, skip: int = 0, chance: float = 1.0) -> None:
    """Refuse a script that could never play, with a sentence that says how to write it."""
    name = type(fault).__name__
    for field in ("after", "cut", "kept", "seconds", "size"):
        value = getattr(fault, field, 0)
        if not (isinstance(value, int | float) and value >= 0):
            raise ValueError(f"{field} of {name} is a number from 0, not {value!r}")
    if times < 1:
        raise ValueError(f"a fault happens at least once, not {times} times")
    if skip < 0:
        raise ValueError(f"skip is a number of requests, not {skip}")
    if not 0 < chance <= 1:
        raise ValueError(f"chance lies above 0 and is at most 1, which {chance} is not")
    if isinstance(fault, RunFault) and on != "create":
        raise ValueError(f"{name} happens to a run, which only 'create' begins, not {on!r}")
    if isinstance(fault, ShortContents | IgnoresRange | OtherRange | DataLate | KeyInUse) and on != fault.on:
        raise ValueError(f"{name} happens to {fault.on!r}, not {on!r}")
    if on not in (*OPERATIONS, ANY) and not _is_request_line(on.split(" ")):
        raise ValueError(
            f"{on!r} is neither an operation ({', '.join(OPERATIONS)} or {ANY}) nor a method and a path, "
            "such as 'GET /v1/files/*'"
        )


def _is_request_line(words: Sequence[str]) -> bool:
    return len(words) == 2 and words[0].isupper() and words[1].startswith("/")
