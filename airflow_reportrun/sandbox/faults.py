"""What can be made to go wrong, as values for `StripeSandbox.inject`.

A `RequestFault` spoils the answer to a request, a `RunFault` the course of a run that a create begins::

    Fault
    ├── RequestFault
    │   ├── RateLimited       429, nothing was done
    │   ├── Unavailable       503, nothing was done
    │   ├── KeyExpired        401, nothing was done
    │   ├── DataLate          a create answers 400: the data doesn't reach the end of the interval
    │   ├── ServerError       500, before or after a create committed
    │   ├── Dropped           the connection closes, before or after a create committed
    │   ├── Slow              the answer comes late
    │   ├── ShortContents     a download ends early
    │   └── Redirected        a download answers 302 to another address
    └── RunFault
        ├── RunFails          pending, then failed with an error
        ├── RunNeverEnds      pending for ever
        ├── UnknownStatus     pending, then a status nobody knows
        └── WrongSize         succeeded, but File.size is not what the download brings
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar, Generic, TypeVar

OPERATIONS = ("create", "retrieve", "list", "list_types", "retrieve_type", "retrieve_file", "contents")
"""The endpoints by name: the first three are those of report runs."""


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


@dataclass(frozen=True, slots=True)
class RateLimited(RequestFault):
    """429; ``reason`` is what ``Stripe-Rate-Limited-Reason`` says. Not kept under an idempotency key."""

    reason: str = "global-rate"


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

    ``committed`` says that the request was executed, and its answer kept under its key, all the same.
    """

    committed: bool = False


@dataclass(frozen=True, slots=True)
class Slow(RequestFault):
    """The request is executed at once and answered ``seconds`` (real ones) later.

    Its idempotency key is in use meanwhile. Stopping or resetting the sandbox ends the wait.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class ShortContents(RequestFault):
    """A download brings the first ``kept`` bytes only.

    With ``announced``, ``Content-Length`` says so and only the size of the File betrays it. Otherwise the
    header promises all bytes and the connection closes midway.
    """

    on: ClassVar[str] = "contents"
    kept: int
    announced: bool = True


@dataclass(frozen=True, slots=True)
class Redirected(RequestFault):
    """A download answers 302 with this ``location``."""

    on: ClassVar[str] = "contents"
    location: str


@dataclass(frozen=True, slots=True)
class RunFails(RunFault):
    """The run ends as ``failed``, with this ``error``."""

    error: str = "An error occurred while generating the report."


@dataclass(frozen=True, slots=True)
class RunNeverEnds(RunFault):
    """The run stays pending."""


@dataclass(frozen=True, slots=True)
class UnknownStatus(RunFault):
    """The run ends in a status that Stripe does not document today, and without a result."""

    status: str = "expired"


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


class Script(Generic[FaultT]):
    """The faults still to come, in the order they were injected."""

    def __init__(self) -> None:
        self._lines: list[_Scripted[FaultT]] = []

    def add(self, fault: FaultT, *, on: str, times: int) -> None:
        """Add a fault for the next ``times`` matches of ``on``."""
        self._lines.append(_Scripted(fault, on, times))

    def take(self, operation: str, method: str = "POST", path: str = "") -> FaultT | None:
        """Use up the first fault that matches."""
        for line in self._lines:
            if line.on == operation or (" " in line.on and fnmatchcase(f"{method} {path}", line.on)):
                line.left -= 1
                if not line.left:
                    self._lines.remove(line)
                return line.fault
        return None


def check(fault: Fault, *, on: str, times: int) -> None:
    """Refuse a script that could never play, with a sentence that says how to write it."""
    if times < 1:
        raise ValueError(f"a fault happens at least once, not {times} times")
    if isinstance(fault, RunFault) and on != "create":
        raise ValueError(f"{type(fault).__name__} happens to a run, which only 'create' begins, not {on!r}")
    if isinstance(fault, ShortContents | Redirected | DataLate) and on != type(fault).on:
        raise ValueError(f"{type(fault).__name__} happens to {type(fault).on!r}, not {on!r}")
    if on not in OPERATIONS and not _is_request_line(on.split(" ")):
        raise ValueError(
            f"{on!r} is neither an operation ({', '.join(OPERATIONS)}) nor a method and a path, "
            "such as 'GET /v1/files/*'"
        )


def _is_request_line(words: Sequence[str]) -> bool:
    return len(words) == 2 and words[0].isupper() and words[1].startswith("/")
