"""What the laws about damage have in common: how many cases, within which bounds, and what damage is.

``FUZZ=2500`` in the environment is the number of cases of each law; without it they are few.
"""

from __future__ import annotations

import copy
import json
import os
import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_reportrun.reporting.errors import LONGEST_MESSAGE, ReportingError
from tests.test_response_laws import NONSENSE, places_in

T = TypeVar("T")

CASES = int(os.environ.get("FUZZ", "0"))

LONGEST = 20.0
"""Seconds of a case: what takes longer hangs, on a machine with however much to do."""

MOST_MEMORY = 3 << 30
"""Bytes of addresses that a case may have besides those that were there; pyarrow reserves one GiB at once."""


def law(
    few: int = 20, **strategies: st.SearchStrategy[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a test hold for so many cases, or for those of ``FUZZ``."""

    def of(test: Callable[..., None]) -> Callable[..., None]:
        checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
        return settings(max_examples=CASES or few, suppress_health_check=checks)(given(**strategies)(test))

    return of


@contextmanager
def within_bounds() -> Iterator[None]:
    """End what takes too long, or too much memory, by an error that no law allows."""

    def too_late(*args: object) -> None:
        raise AssertionError(f"still under way after {LONGEST:.0f} s")

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def tried(call: Callable[[], T], *allowed: type[Exception]) -> T | Exception:
    """Return what comes of a call, or its error, where that is one of ours, or of these, with a sentence."""
    kinds: tuple[type[Exception], ...] = (ReportingError, *allowed)
    with within_bounds():
        try:
            return call()
        except kinds as error:
            raised = error
    said = str(raised)
    assert " " in said, repr(raised)
    assert len(said) <= LONGEST_MESSAGE + 1
    return raised


# What can stand where something else should


def _nested(depth: int, of: Any = 1) -> Any:
    for _ in range(depth):
        of = [of] if depth % 2 else {"a": of}
    return of


ODD: st.SearchStrategy[Any] = (
    NONSENSE
    | st.integers(1, 300).map(_nested)
    | st.sampled_from(
        [
            *(10**15, 10**18, 10**400, -1, 2**53, 253_402_300_800, 0.5, 1e300, float("nan"), float("inf"), True),
            *("None", "frr_1", "{}", "acct_1", "٣", "²", "é" * 300, "../..", "\n", "a\r\nb: c", "9" * 5000),
        ]
    )
)
"""JSON that is nobody's."""


@st.composite
def damaged(draw: st.DrawFn, bodies: st.SearchStrategy[Any], most: int = 4) -> Any:
    """JSON with damage: fields that are missing, new, of another kind, in another's place, or too deep."""
    body = copy.deepcopy(draw(bodies))
    for _ in range(draw(st.integers(0, most))):
        places = places_in(body)
        if not places:
            return draw(ODD)
        place, key = draw(st.sampled_from(places))
        how = draw(st.sampled_from(["gone", "odd", "odd", "null", "new", "nested", "another's"]))
        if how == "gone":
            del place[key]
        elif how == "new" and isinstance(place, dict):
            place[draw(st.text(max_size=5))] = copy.deepcopy(draw(ODD))
        elif how == "nested":
            place[key] = _nested(draw(st.integers(1, 300)), place[key])
        elif how == "another's":
            other, name = draw(st.sampled_from(places))
            place[key] = copy.deepcopy(other[name]) if _has(other, name) else None
        else:
            place[key] = None if how == "null" else copy.deepcopy(draw(ODD))
    return body


def _has(place: Any, key: Any) -> bool:
    return key in place if isinstance(place, dict) else key < len(place)


@st.composite
def spoilt(draw: st.DrawFn, contents: st.SearchStrategy[bytes], most: int = 3) -> bytes:
    """Bytes with damage: cut, others between, one flipped, a part twice."""
    whole = draw(contents)
    for _ in range(draw(st.integers(0, most))):
        at, other = sorted(draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
        how = draw(st.sampled_from(["cut", "between", "instead", "twice"]))
        new = draw(st.binary(max_size=4) | st.sampled_from([b'"', b"\0", b"\n", b",", b"\xff\xfe", b"9" * 5000]))
        old = whole[at:other]
        middle = {"cut": b"", "between": new + old, "instead": new, "twice": old * 2}[how]
        whole = whole[:at] + middle + whole[other:]
    return whole


@st.composite
def written(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> bytes:
    """JSON as text, in any encoding; a key may be there twice, and bytes may be damaged."""
    text = json.dumps(draw(values), ensure_ascii=draw(st.booleans()))
    if draw(st.integers(0, 4)) == 4 and "{" in text:
        at = draw(st.sampled_from([found.end() for found in re.finditer("{", text)][:20]))
        name = draw(st.sampled_from(["id", "object", "data", "created", "parameters", "version", "has_more"]))
        twice = draw(st.sampled_from(["1", "null", "[]", "NaN", '"\\ud800"', "1e999", "-0", "{}", "9" * 5000]))
        text = f'{text[:at]}"{name}": {twice}, {text[at:]}'
    encoding = draw(st.sampled_from(["utf-8"] * 12 + ["utf-8-sig", "utf-16", "utf-32", "latin-1"]))
    whole = text.encode(encoding, "replace" if encoding == "latin-1" else "surrogatepass")
    return draw(spoilt(st.just(whole))) if draw(st.integers(0, 4)) == 4 else whole
