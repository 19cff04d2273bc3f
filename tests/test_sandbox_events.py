"""The events feed, and what else the clock brings: files that expire, data that moves on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
import requests

from airflow_reportrun.sandbox import (
    AfterReads,
    AfterSeconds,
    AtOnce,
    ManualClock,
    RunFails,
    SharesFile,
    StripeSandbox,
    UnknownStatus,
)
from airflow_reportrun.sandbox.catalogue import CATALOGUE
from airflow_reportrun.sandbox.messages import Scope
from airflow_reportrun.sandbox.parameters import RunParameters, RunRequest
from airflow_reportrun.sandbox.runs import ReportRun
from airflow_reportrun.sandbox.state import Settings, State

MARCH_1 = 1_772_323_200
DAY = 86_400
FORM = {
    "report_type": "balance.summary.1",
    "parameters[interval_start]": str(MARCH_1),
    "parameters[interval_end]": str(MARCH_1 + DAY),
}
RUNS = "/v1/reporting/report_runs"
ENDED = "types[]=reporting.report_run.succeeded&types[]=reporting.report_run.failed"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def sandbox(stripe_sandbox: StripeSandbox, clock: ManualClock) -> StripeSandbox:
    """The shop on the 2nd of March 2026, at noon."""
    stripe_sandbox.configure(clock=clock, transition=AfterSeconds(60))
    return stripe_sandbox


def create(sandbox: StripeSandbox, **headers: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = requests.post(sandbox.url + RUNS, data=FORM, auth=(sandbox.api_key, ""), headers=named, timeout=10)
    run: dict[str, Any] = response.json()
    return run


def get(sandbox: StripeSandbox, path: str, **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(sandbox.url + path, auth=(sandbox.api_key, ""), headers=named, timeout=10)


def events(sandbox: StripeSandbox, query: str = ENDED, **headers: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = get(sandbox, f"/v1/events?{query}", **headers).json()["data"]
    return found


def test_ended_run_is_an_event_that_nobody_had_to_look_for(sandbox: StripeSandbox, clock: ManualClock) -> None:
    """It carries the run as it ended, at the second in which it did."""
    run = create(sandbox)
    assert events(sandbox) == []
    clock.advance(3600)
    [event] = events(sandbox)
    assert (event["object"], event["type"]) == ("event", "reporting.report_run.succeeded")
    assert event["created"] == run["created"] + 60
    assert event["data"]["object"] == get(sandbox, f"{RUNS}/{run['id']}").json()
    assert event["data"]["object"]["succeeded_at"] == run["created"] + 60
    assert (event["livemode"], event["pending_webhooks"], event["api_version"]) == (False, 0, "2026-10-28.endive")
    assert "account" not in event
    assert get(sandbox, f"/v1/events/{event['id']}").json() == event


def test_failed_run_is_an_event_and_an_unknown_end_is_none(sandbox: StripeSandbox, clock: ManualClock) -> None:
    """By type, also one alone."""
    sandbox.inject(RunFails("No luck."))
    sandbox.inject(UnknownStatus())
    failed = create(sandbox)
    create(sandbox)
    clock.advance(60)
    [event] = events(sandbox)
    assert (event["type"], event["data"]["object"]["error"]) == ("reporting.report_run.failed", "No luck.")
    assert event["data"]["object"]["id"] == failed["id"]
    assert events(sandbox, "type=reporting.report_run.failed") == [event]
    assert events(sandbox, "type=reporting.report_run.succeeded") == []


def test_run_that_waits_for_reads_is_no_event_before_them(sandbox: StripeSandbox) -> None:
    """`AfterReads` counts whatever would show the end, or who looks by lists or events would wait for ever."""
    for look in (f"{RUNS}/{{id}}", f"{RUNS}?limit=1", "/v1/events"):
        sandbox.configure(transition=AfterReads(1))
        before = len(events(sandbox))
        run = create(sandbox)
        get(sandbox, look.format(**run))
        assert sandbox.report_runs[-1].status == "pending"
        get(sandbox, look.format(**run))
        assert sandbox.report_runs[-1].status == "succeeded"
        assert len(events(sandbox)) == before + 1


def test_events_are_paged_newest_first_and_filtered(sandbox: StripeSandbox, clock: ManualClock) -> None:
    """Both cursors and the range of seconds, as with runs."""
    sandbox.configure(transition=AtOnce())
    runs = []
    for _ in range(5):
        runs.append(create(sandbox))
        clock.advance(10)
    listed = events(sandbox)
    assert [event["data"]["object"]["id"] for event in listed] == [run["id"] for run in runs[::-1]]
    page = get(sandbox, f"/v1/events?{ENDED}&limit=2").json()
    assert (page["object"], page["url"], page["has_more"]) == ("list", "/v1/events", True)
    assert page["data"] == listed[:2]
    assert events(sandbox, f"{ENDED}&limit=2&starting_after={listed[1]['id']}") == listed[2:4]
    assert events(sandbox, f"{ENDED}&limit=2&ending_before={listed[3]['id']}") == listed[1:3]
    assert events(sandbox, f"{ENDED}&created[gte]={runs[3]['created']}") == listed[:2]


def test_events_belong_to_an_account(sandbox: StripeSandbox) -> None:
    """A connected account's carry its id, and nobody else sees them."""
    sandbox.configure(transition=AtOnce())
    create(sandbox, Stripe_Account="acct_one")
    assert events(sandbox) == []
    [event] = events(sandbox, Stripe_Account="acct_one")
    assert event["account"] == "acct_one"
    assert get(sandbox, f"/v1/events/{event['id']}").status_code == 404


def test_events_are_kept_for_thirty_days(sandbox: StripeSandbox, clock: ManualClock) -> None:
    """Then they are gone, from the list and by id."""
    sandbox.configure(transition=AtOnce())
    create(sandbox)
    clock.advance(30 * DAY)
    [event] = events(sandbox)
    clock.advance(1)
    assert events(sandbox) == []
    assert get(sandbox, f"/v1/events/{event['id']}").status_code == 404


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("type=a&types[]=b", "types"),
        ("&".join(f"types[]=t{number}" for number in range(21)), "types"),
        ("status=succeeded", "status"),
        ("starting_after=evt_unknown", "starting_after"),
        ("limit=101", "limit"),
    ],
)
def test_list_refuses_bad_queries(sandbox: StripeSandbox, query: str, param: str) -> None:
    """400 with the parameter at fault."""
    response = get(sandbox, f"/v1/events?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def at(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp())


def test_data_moves_on_twice_a_day_and_says_so(clock: ManualClock) -> None:
    """One event for each type, at the second in which the data was ready."""
    with StripeSandbox(clock=clock) as sandbox:
        sandbox.configure(report_types=["balance.summary.1", "apps.install_events.1"])
        updated = "type=reporting.report_type.updated"
        assert events(sandbox, updated) == []
        clock.advance(DAY)
        found, again = events(sandbox, updated), events(sandbox, updated)
    assert [(event["created"], event["data"]["object"]["data_available_end"]) for event in found] == [
        *[(at("2026-03-03T12:00"), at("2026-03-03T00:00"))] * 2,
        *[(at("2026-03-03T00:00"), at("2026-03-02T12:00"))] * 2,
    ]
    assert {event["data"]["object"]["id"] for event in found} == {"balance.summary.1", "apps.install_events.1"}
    assert found == again


def test_data_that_a_test_moves_says_so_too(clock: ManualClock) -> None:
    """At the time of the clock."""
    with StripeSandbox(clock=clock, data_available_end=MARCH_1) as sandbox:
        sandbox.configure(data_available_end=MARCH_1 + DAY)
        moved = int(clock())
        clock.advance(5)
        found = events(sandbox, "type=reporting.report_type.updated")
    assert {(event["created"], event["data"]["object"]["data_available_end"]) for event in found} == {
        (moved, MARCH_1 + DAY)
    }


def test_data_that_stands_still_says_nothing(clock: ManualClock) -> None:
    """However often it is asked."""
    with StripeSandbox(clock=clock, data_available_end=MARCH_1) as sandbox:
        clock.advance(DAY)
        assert events(sandbox, "type=reporting.report_type.updated") == []
        assert events(sandbox, "type=reporting.report_type.updated") == []


def test_data_moves_when_a_test_moves_it_and_then_by_the_clock_again(clock: ManualClock) -> None:
    """Each time at its own second, whenever the list is asked for."""
    with StripeSandbox(clock=clock) as sandbox:
        sandbox.configure(report_types=["balance.summary.1"], data_available_end=MARCH_1)
        clock.advance(60)
        sandbox.configure(data_available_end=MARCH_1 + 3600)
        clock.advance(DAY)
        sandbox.configure(data_available_end=None)
        found = events(sandbox, "type=reporting.report_type.updated")
    moves = [(event["created"], event["data"]["object"]["data_available_end"]) for event in found[::-1]]
    assert moves == [
        (at("2026-03-02T12:00"), MARCH_1),
        (at("2026-03-02T12:01"), MARCH_1 + 3600),
        (at("2026-03-03T12:01"), at("2026-03-03T00:00")),
    ]


def test_years_of_data_are_thirty_days_of_events(clock: ManualClock) -> None:
    """Older ones are neither listed nor made."""
    with StripeSandbox(clock=clock) as sandbox:
        sandbox.configure(report_types=["balance.summary.1"])
        sandbox.advance(10 * 365 * DAY)
        assert len(events(sandbox, "type=reporting.report_type.updated&limit=100")) in (60, 61)


def test_version_of_an_event_is_the_accounts(sandbox: StripeSandbox) -> None:
    """Whatever version its reader asks for."""
    sandbox.configure(transition=AtOnce())
    create(sandbox)
    [event] = events(sandbox, Stripe_Version="2020-08-27")
    assert event["api_version"] == "2026-10-28.endive"


def test_run_ends_once() -> None:
    """Whoever comes second finds that it has, and makes neither a file nor an event."""
    state = State(Settings(ManualClock(), AtOnce(), 0), seed=1)
    request = RunRequest(CATALOGUE["balance.summary.1"], {}, RunParameters(MARCH_1, MARCH_1 + DAY))
    run = ReportRun(
        "frr_1",
        request,
        now=0.0,
        scope=Scope(None, False),
        idempotency_key=None,
        transition=AtOnce(),
        fault=None,
    )
    for _ in range(2):
        state.end(run)
    assert len(state.events_of(run.scope)) == 1


# Files


def contents(sandbox: StripeSandbox, file: dict[str, Any], **headers: str) -> requests.Response:
    return get(sandbox, file["url"].removeprefix(sandbox.url), **headers)


def test_file_expires(sandbox: StripeSandbox, clock: ManualClock) -> None:
    """At its second it is gone; the run still shows it."""
    sandbox.configure(transition=AtOnce(), file_lifetime=100)
    run = create(sandbox)
    file = run["result"]
    assert file["expires_at"] == run["created"] + 100
    assert [record.file_expires_at for record in sandbox.report_runs] == [file["expires_at"]]
    clock.advance(99)
    assert contents(sandbox, file).status_code == 200
    clock.advance(1)
    assert contents(sandbox, file).status_code == 404
    assert get(sandbox, f"/v1/files/{file['id']}").status_code == 404
    assert get(sandbox, f"{RUNS}/{run['id']}").json()["result"] == file


def test_identical_runs_may_share_a_file(sandbox: StripeSandbox, clock: ManualClock) -> None:
    """Then it is older than the run, and named after another one."""
    sandbox.configure(transition=AtOnce())
    sandbox.inject(SharesFile(), times=2)
    first = create(sandbox)
    clock.advance(10)
    second = create(sandbox)
    assert first["result"]["created"] == first["created"] - 3600
    assert first["result"]["filename"] != f"{first['id']}.csv"
    assert second["result"] == first["result"]
    assert contents(sandbox, second["result"]).status_code == 200


def test_part_of_a_file_can_be_had(sandbox: StripeSandbox) -> None:
    """From a byte, to a byte, or the last ones, if the file is still the same."""
    sandbox.configure(transition=AtOnce())
    file = create(sandbox)["result"]
    whole = contents(sandbox, file)
    size, etag = len(whole.content), whole.headers["ETag"]
    assert whole.headers["Accept-Ranges"] == "bytes"
    for asked, start, stop in (
        ("bytes=10-", 10, size),
        ("bytes=10-19", 10, 20),
        (f"bytes=10-{size * 2}", 10, size),
        ("bytes=-7", size - 7, size),
        (f"bytes=-{size * 2}", 0, size),
    ):
        part = contents(sandbox, file, Range=asked, If_Range=etag)
        assert part.status_code == 206
        assert part.content == whole.content[start:stop]
        assert part.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
        assert part.headers["ETag"] == etag
    for headers in (
        {"Range": "bytes=10-", "If_Range": '"other"'},
        {"Range": "bytes=-"},
        {"Range": "bytes=1-2,4-5"},
        {"Range": "bytes=5-2"},
        {"Range": f"bytes=0-{'9' * 5000}"},
    ):
        response = contents(sandbox, file, **headers)
        assert (response.status_code, response.content) == (200, whole.content)
    beyond = contents(sandbox, file, Range=f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
