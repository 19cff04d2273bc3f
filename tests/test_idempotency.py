from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun.question.question import Question
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.report_type_ids import ParameterShape
from airflow_reportrun.submission.idempotency import Identity
from airflow_reportrun.wire.connection import ConnectionSettings

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
    ("fresh", "digest"),
    [
        (None, "c999ce76d842e7e1a6fa0152901c0cf4ee9a914e22ffa18c7260f4d68a8a4fb9"),
        (1714694400.5, "dcbd32673748057d1291b60977f56ee692d07622ab4654098b868a0f16d92216"),
    ],
)
def test_the_key_stays_over_versions_of_this_package(fresh: float | None, digest: str) -> None:
    """A task that began before an upgrade sends the same key after it, or pays for a second report run."""
    assert replace(IDENTITY, fresh=fresh).idempotency_key(1) == f"airflow-reportrun-{digest}"


def test_who_asks_is_read_of_the_task_and_of_its_connection() -> None:
    """Each part of it from where it is said, parameters by Stripe's names."""
    names = {"dag_id": "close_the_books", "run_id": IDENTITY.run_id, "task_id": "report"}
    ti = SimpleNamespace(**names, map_index=4, max_tries=3)
    settings = ConnectionSettings("sk_live_1", stripe_account="acct_1", idempotency_scope="staging")
    parameters = ReportParameters(interval_start=1, interval_end=2, columns=["net"])
    question = Question("balance.summary.1", ParameterShape.INTERVAL, {}, parameters, None)
    assert Identity.of(cast("Any", {"ti": ti}), settings, question, 1714694400.5) == replace(
        IDENTITY,
        scope="staging",
        map_index=4,
        stripe_account="acct_1",
        parameters={"interval_start": 1, "interval_end": 2, "columns": ["net"]},
        fresh=1714694400.5,
    )


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
        {"fresh": 0.0},
        {"fresh": 1714694400.0},
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
