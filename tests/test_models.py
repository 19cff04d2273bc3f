from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun.landing.manifest import Manifest
from airflow_reportrun.reporting.errors import ReportRunFailedError, UnexpectedResponseError
from airflow_reportrun.reporting.models import Account, File, ListPage, ReportRun, ReportRunStatus, ReportType

FILE: dict[str, Any] = {
    "id": "file_1",
    "object": "file",
    "created": 1680000100,
    "expires_at": 1711536100,
    "filename": "frr_1.csv",
    "purpose": "finance_report_run",
    "size": 53075,
    "title": None,
    "type": "csv",
    "url": "https://files.stripe.com/v1/files/file_1/contents",
}
RUN: dict[str, Any] = {
    "id": "frr_1",
    "object": "reporting.report_run",
    "created": 1680000000,
    "error": None,
    "livemode": True,
    "parameters": {"interval_start": 1, "interval_end": 2},
    "report_type": "balance.summary.1",
    "result": FILE,
    "status": "succeeded",
    "succeeded_at": 1680000200,
}
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=3)
    | st.sampled_from([2**52, -1, "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
"""What a parser of JSON can come to."""


def test_reads_a_report_run_with_its_file() -> None:
    """Stripe's names and units stay as they are."""
    run = ReportRun.from_api(RUN)
    assert run.result == File("file_1", 1680000100, 53075, FILE["url"], "frr_1.csv", 1711536100, "csv")
    assert (run.id, run.livemode, run.succeeded_at, run.error) == ("frr_1", True, 1680000200, None)
    assert run.parameters == {"interval_start": 1, "interval_end": 2}


@pytest.mark.parametrize(
    ("said", "reason"), [("Too many rows.", "Too many rows."), (None, "Stripe gave no reason")]
)
def test_a_failed_run_says_why(said: str | None, reason: str) -> None:
    """In Stripe's words, where there are any."""
    run = ReportRun.from_api({**RUN, "status": "failed", "result": None, "error": said})
    assert (
        str(ReportRunFailedError(run.id, run.report_type, run.error))
        == f"Report run frr_1 (balance.summary.1) failed: {reason}"
    )


def test_reads_a_pending_run_and_passes_over_what_stripe_adds() -> None:
    """New fields in an answer must not break old software."""
    run = ReportRun.from_api({**RUN, "status": "pending", "result": None, "succeeded_at": None, "novelty": {}})
    assert (run.result, run.succeeded_at) == (None, None)


@pytest.mark.parametrize(
    ("status", "terminal", "known"),
    [("pending", False, True), ("succeeded", True, True), ("failed", True, True), ("paused", False, False)],
)
def test_a_status_answers_for_itself(status: str, terminal: bool, known: bool) -> None:
    """A word that nobody knows is waited for, and still says what arrived."""
    it = ReportRunStatus(status)
    assert (it.is_terminal, it.is_known, str(it)) == (terminal, known, status)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {**RUN, "object": "charge"},
        {**RUN, "id": None},
        {**RUN, "created": "yesterday"},
        {**RUN, "created": True},
        {**RUN, "livemode": 1},
        {**RUN, "parameters": None},
        {**RUN, "result": {"object": "file"}},
        {**RUN, "error": 7},
        {key: value for key, value in RUN.items() if key != "status"},
    ],
)
def test_refuses_what_is_no_report_run(body: object) -> None:
    """A half-read answer would surface far from where it went wrong."""
    with pytest.raises(UnexpectedResponseError, match="Expected"):
        ReportRun.from_api(body)


YEAR_10_000 = 253_402_300_800


@pytest.mark.parametrize(
    ("field", "value"),
    [("created", YEAR_10_000), ("succeeded_at", 2**52), ("result", {**FILE, "expires_at": YEAR_10_000})],
)
def test_refuses_an_instant_that_python_does_not_have(field: str, value: object) -> None:
    """Landing would fail over it, each time, when the report is there."""
    with pytest.raises(UnexpectedResponseError, match="Expected epoch seconds"):
        ReportRun.from_api({**RUN, field: value})


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


NO_INSTANTS: list[Any] = ["1714521600", -1, YEAR_10_000, 1.5, True, [1], {"gte": 1}]
NO_TEXTS: list[Any] = [1, ["usd"], {}]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((bound, value) for bound in ("interval_start", "interval_end") for value in NO_INSTANTS),
        *((name, value) for name in ("currency", "timezone", "payout") for value in NO_TEXTS),
        ("columns", "net"),
        ("columns", ["net", 1]),
        ("columns", {"0": "net"}),
        ("columns", ["\ud800"]),
        ("novelty", nested(900)),
        ("novelty", {"of": {"a\0": 1}}),
        ("novelty", float("nan")),
        ("nov\0elty", 1),
    ],
)
def test_refuses_parameters_that_no_run_can_have(name: str, value: object) -> None:
    """They go into paths, manifests and tables, which would fail one by one; the error names the parameter."""
    with pytest.raises(UnexpectedResponseError, match="Expected other parameters .* than 'nov|" + name):
        ReportRun.from_api({**RUN, "parameters": {**RUN["parameters"], name: value}})


def test_parameters_that_stripe_adds_are_kept() -> None:
    """Numbers, lists and mappings too, as far as one can write them down again."""
    more: dict[str, Any] = {
        "novelty": {"a": [1, 0.5, "x", None, True]},
        "currency": None,
        "columns": [],
        "number": -(10**30),
    }
    parameters = {**RUN["parameters"], **more}
    assert ReportRun.from_api({**RUN, "parameters": parameters}).parameters == parameters


@given(name=st.sampled_from(["interval_end", "columns", "currency", "novelty"]), value=JSON)
def test_whatever_is_echoed_lands_or_is_refused(name: str, value: Any) -> None:
    """What passes the border can be written into a manifest, and read from it again."""
    try:
        run = ReportRun.from_api({**RUN, "parameters": {"interval_start": 1, name: value}})
    except UnexpectedResponseError:
        return
    assert run.result is not None
    about = {"file_sha256": "", "rows": 1, "columns": ["net"], "format": "csv", "path": "x.csv"}
    manifest = Manifest.of(run, run.result, None, **about)
    assert Manifest.from_json(manifest.to_json().encode()).subject == manifest.subject


def test_reads_a_report_type() -> None:
    """How far the data reaches is what readiness is decided by."""
    body = {
        "id": "balance.summary.1",
        "object": "reporting.report_type",
        "data_available_end": 1713571200,
        "data_available_start": 1640995200,
        "default_columns": ["category", "net_amount"],
        "livemode": False,
        "name": "Balance summary",
        "updated": 1713620000,
        "version": 1,
    }
    report_type = ReportType.from_api(body)
    assert report_type.data_available_end == 1713571200
    assert report_type.default_columns == ("category", "net_amount")
    assert ReportType.from_api({**body, "default_columns": None}).default_columns == ()


@pytest.mark.parametrize(
    "spoilt",
    [
        {"id": 1},
        {"settings": []},
        {"settings": {"dashboard": 5}},
        {"settings": {"dashboard": {"display_name": 1}}},
    ],
)
def test_refuses_what_is_no_account(spoilt: dict[str, Any]) -> None:
    """Also where it is in a part that says of no object what it is."""
    with pytest.raises(UnexpectedResponseError, match=r"Expected .* as '(id|settings|dashboard|display_name)' of"):
        Account.from_api({"object": "account", "id": "acct_1", **spoilt})


def test_refuses_a_page_that_is_none() -> None:
    """A list says whether more follows, or a listing could end too early unnoticed."""
    with pytest.raises(UnexpectedResponseError, match="has_more"):
        ListPage.from_api({"object": "list", "data": []})
