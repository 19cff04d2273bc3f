from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun.submission.idempotency import Identity

IDENTITY = Identity(
    scope="",
    dag_id="close_the_books",
    run_id="scheduled__2024-05-02T00:00:00+00:00",
    task_id="report",
    map_index=-1,
    max_tries=3,
    stripe_account=None,
    livemode=True,
    report_type="balance.summary.1",
    parameters={"interval_start": "1", "interval_end": "2"},
)


def test_the_key_is_the_same_for_the_same_task_instance() -> None:
    """A retry in another process, with parameters in another order, sends the same key."""
    again = replace(IDENTITY, parameters={"interval_end": "2", "interval_start": "1"})
    assert again.idempotency_key(1) == IDENTITY.idempotency_key(1)


@pytest.mark.parametrize(
    "change",
    [
        {"scope": "staging"},
        {"dag_id": "other"},
        {"run_id": "manual__2024-05-02"},
        {"task_id": "other"},
        {"map_index": 0},
        {"max_tries": 7},
        {"stripe_account": "acct_1"},
        {"livemode": False},
        {"report_type": "balance.summary.2"},
        {"parameters": {"interval_start": "1", "interval_end": "3"}},
    ],
)
def test_whatever_differs_gives_another_key(change: dict[str, Any]) -> None:
    """A clear, a mapped sibling, another run, account or interval asks for a report run of its own."""
    assert replace(IDENTITY, **change).idempotency_key(1) != IDENTITY.idempotency_key(1)


def test_attempts_have_keys_of_their_own() -> None:
    """A failed run would otherwise be given back for ever."""
    assert len({IDENTITY.idempotency_key(attempt) for attempt in range(1, 26)}) == 25


@given(left=st.text(max_size=5), right=st.text(max_size=5))
def test_two_fields_never_blend_into_the_same_text(left: str, right: str) -> None:
    """Moving a character from one id to the next makes another identity."""
    one = replace(IDENTITY, dag_id=left + "x", run_id=right)
    two = replace(IDENTITY, dag_id=left, run_id="x" + right)
    assert one.idempotency_key(1) != two.idempotency_key(1)


@given(st.text(max_size=1000))
def test_the_key_fits_into_a_header(text: str) -> None:
    """Stripe takes 255 characters, a header only ASCII; ids of Airflow know neither limit."""
    key = replace(IDENTITY, dag_id=text).idempotency_key(1)
    assert len(key) <= 255
    assert key.isascii()
    assert key.isprintable()
