"""What is read as a manifest, and what is refused as none, before anything is decided by it."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun.landing.manifest import Manifest
from airflow_reportrun.reporting.errors import ManifestError
from airflow_reportrun.reporting.models import ReportRun
from tests.test_models import JSON, RUN, nested


def written(**others: Any) -> dict[str, Any]:
    """Return a manifest as it lies beside its data."""
    run = ReportRun.from_api(RUN)
    assert run.result is not None
    about = {"file_sha256": "0" * 64, "rows": 1, "columns": ["net"], "format": "csv", "path": "x.csv"}
    it: dict[str, Any] = json.loads(Manifest.of(run, run.result, None, **about).to_json())
    return {**it, **others}


@pytest.mark.parametrize(
    "spoilt",
    [
        {"report_run_created": 1680000000},
        {"report_run_created": "the day after tomorrow"},
        {"report_run_id": None},
        {"livemode": "false"},
        {"livemode": 0},
        {"rows": "1"},
        {"rows": True},
        {"rows": -1},
        {"columns": "net"},
        {"columns": [1]},
        {"columns": {"net": 1}},
        {"column_types": []},
        {"column_types": {"net": 1}},
        {"size": 1.5},
        {"parameters": []},
        {"parameters": {"interval_start": "1714521600"}},
        {"parameters": {"interval_start": 2**52}},
        {"parameters": {"currency": {"is": "usd"}}},
        {"parameters": {"novelty": nested(300)}},
        {"stripe_account": 1},
        {"path": "\0"},
        {"interval_end": "soon"},
        {"version": True},
        {"version": 1.0},
        {"version": 2},
        {"state": "landing"},
        {"version": 2, "state": "landed"},
        {"state": None},
        {"state": "here"},
    ],
    ids=str,
)
def test_a_field_of_another_kind_is_no_manifest(spoilt: dict[str, Any]) -> None:
    """Or a damaged one would decide what is newer, and what is landed; the error says what to do."""
    with pytest.raises(ManifestError, match=r"no manifest \(.*\); remove it to land the report anew"):
        Manifest.from_json(json.dumps(written(**spoilt)))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"version":' * 100_000, "9" * 5_000, "\xff", '{"version": NaN}'])
def test_nesting_and_numbers_without_an_end_are_no_manifest(text: str) -> None:
    """They end Python's stack, or its patience."""
    with pytest.raises(ManifestError):
        Manifest.from_json(text.encode("latin-1"))


@given(name=st.sampled_from([field.name for field in fields(Manifest)]), value=JSON)
def test_whatever_is_read_says_what_it_is_about(name: str, value: Any) -> None:
    """A manifest is refused as a whole, or can be compared, and written as it was."""
    try:
        manifest = Manifest.from_json(json.dumps(written(**{name: value})))
    except ManifestError:
        return
    assert manifest.is_newer_than("2023-01-01T00:00:00Z") in (True, False)
    assert manifest.subject.interval_end in (2, None)
    assert json.loads(manifest.to_json()) == written(**{name: value})


def test_what_is_being_landed_is_landed_to_nobody() -> None:
    """A version that earlier packages refuse; else it says the same, and comes back as it was written."""
    landed = Manifest.from_json(json.dumps(written()))
    landing = landed.as_landing()
    assert json.loads(landing.to_json()) == written(version=2, state="landing", landed_at=landing.landed_at)
    assert landing != landed.as_landing()
    assert Manifest.from_json(landing.to_json()) == landing
    assert (landed.landing, landing.landing) == (False, True)
    assert landing.subject == landed.subject


def test_an_earlier_packages_manifest_is_landed() -> None:
    """It had no word for it."""
    told = written()
    del told["state"]
    assert not Manifest.from_json(json.dumps(told)).landing
