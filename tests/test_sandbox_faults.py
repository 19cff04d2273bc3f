"""What goes wrong on request."""

from __future__ import annotations

import time

import pytest
import requests

from airflow_reportrun.sandbox import (
    AfterReads,
    AtOnce,
    CutBody,
    Dropped,
    EndsAtOnce,
    Fault,
    IgnoresRange,
    KeyInUse,
    OtherRange,
    RateLimited,
    Redirected,
    RunFails,
    RunNeverEnds,
    ServerError,
    ShortContents,
    Slow,
    StripeSandbox,
    Unavailable,
    UnknownStatus,
    WrongSize,
)

FORM = {
    "report_type": "balance.summary.1",
    "parameters[interval_start]": "1772323200",
    "parameters[interval_end]": "1772409600",
}


@pytest.fixture
def sandbox(stripe_sandbox: StripeSandbox) -> StripeSandbox:
    stripe_sandbox.configure(transition=AtOnce())
    return stripe_sandbox


def create(sandbox: StripeSandbox) -> requests.Response:
    return requests.post(
        f"{sandbox.url}/v1/reporting/report_runs", data=FORM, auth=(sandbox.api_key, ""), timeout=10
    )


def get(sandbox: StripeSandbox, url: str, api_key: str | None = None) -> requests.Response:
    return requests.get(url, auth=(api_key or sandbox.api_key, ""), timeout=10, allow_redirects=False)


def test_fault_happens_so_many_times(sandbox: StripeSandbox) -> None:
    """Then the sandbox behaves again."""
    sandbox.inject(Unavailable(), times=2)

    assert [create(sandbox).status_code for _ in range(3)] == [503, 503, 200]


def test_fault_waits_for_its_operation(sandbox: StripeSandbox) -> None:
    """Other endpoints go on working."""
    sandbox.inject(RateLimited(), on="list_types")

    assert create(sandbox).status_code == 200
    assert get(sandbox, f"{sandbox.url}/v1/reporting/report_types").status_code == 429
    assert get(sandbox, f"{sandbox.url}/v1/reporting/report_types").status_code == 200


def test_fault_matches_a_method_and_a_path(sandbox: StripeSandbox) -> None:
    """`*` stands for any text."""
    url = create(sandbox).json()["result"]["url"]
    sandbox.inject(ServerError(), on="GET /v1/files/*")

    assert create(sandbox).status_code == 200
    assert [get(sandbox, url).status_code for _ in range(2)] == [500, 200]


def test_wrong_key_uses_up_no_fault(sandbox: StripeSandbox) -> None:
    """Faults are for requests that are let in."""
    sandbox.inject(Unavailable(), on="list")
    url = f"{sandbox.url}/v1/reporting/report_runs"

    statuses = [get(sandbox, url, key).status_code for key in ("sk_test_other", sandbox.api_key)]

    assert statuses == [401, 503]


def test_run_fault_waits_for_a_run(sandbox: StripeSandbox) -> None:
    """A create that is refused leaves it for the next."""
    sandbox.inject(RunFails("No."))
    sandbox.inject(RateLimited())

    answers = [create(sandbox) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [429, 200]
    assert answers[1].json()["error"] == "No."


@pytest.mark.parametrize(
    ("fault", "status"), [(RunNeverEnds(), "pending"), (UnknownStatus("archived"), "archived")]
)
def test_run_does_not_succeed(sandbox: StripeSandbox, fault: RunNeverEnds | UnknownStatus, status: str) -> None:
    """It stays pending, or ends in a status nobody knows, and has no result."""
    sandbox.inject(fault)

    run = create(sandbox).json()
    later = get(sandbox, f"{sandbox.url}/v1/reporting/report_runs/{run['id']}").json()

    assert (later["status"], later["result"], later["succeeded_at"]) == (status, None, None)


def test_slow_answer_takes_its_seconds(sandbox: StripeSandbox) -> None:
    """Real seconds, not the sandbox's."""
    sandbox.inject(Slow(0.2), on="list")
    began = time.monotonic()

    response = get(sandbox, f"{sandbox.url}/v1/reporting/report_runs")

    assert response.status_code == 200
    assert time.monotonic() - began >= 0.2


def test_client_that_gives_up_leaves_a_run(sandbox: StripeSandbox) -> None:
    """A slow create has happened before it is answered."""
    sandbox.inject(Slow(60))

    with pytest.raises(requests.ReadTimeout):
        requests.post(
            f"{sandbox.url}/v1/reporting/report_runs", data=FORM, auth=(sandbox.api_key, ""), timeout=0.1
        )

    deadline = time.monotonic() + 5
    while not sandbox.report_runs and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(sandbox.report_runs) == 1


def test_short_contents_show_in_the_size_only(sandbox: StripeSandbox) -> None:
    """The download is complete as far as HTTP can tell."""
    file = create(sandbox).json()["result"]
    sandbox.inject(ShortContents(100))

    short, whole = get(sandbox, file["url"]), get(sandbox, file["url"])

    assert short.headers["Content-Length"] == "100"
    assert len(short.content) == 100 < file["size"] == len(whole.content)


def test_download_breaks_off_in_the_middle(sandbox: StripeSandbox) -> None:
    """The connection closes before all the bytes that were promised came."""
    file = create(sandbox).json()["result"]
    sandbox.inject(CutBody(after=100), on="contents")

    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="100 bytes read"):
        get(sandbox, file["url"])

    assert sandbox.requests_to("contents")[0].status == 200


def test_size_can_be_wrong(sandbox: StripeSandbox) -> None:
    """The File claims more than there is, wherever it is shown."""
    sandbox.inject(WrongSize(by=7))

    file = create(sandbox).json()["result"]

    assert len(get(sandbox, file["url"]).content) == file["size"] - 7
    assert get(sandbox, f"{sandbox.url}/v1/files/{file['id']}").json()["size"] == file["size"]


def test_contents_can_lead_elsewhere(sandbox: StripeSandbox) -> None:
    """The download answers with a redirect to another host."""
    file = create(sandbox).json()["result"]
    sandbox.inject(Redirected("https://elsewhere.example/report.csv"))

    response = get(sandbox, file["url"])

    assert response.status_code == 302
    assert response.headers["Location"] == "https://elsewhere.example/report.csv"


def test_dropped_connection_does_not_break_the_others(sandbox: StripeSandbox) -> None:
    """Only the connection of the request closes; a session kept alive goes on."""
    with requests.Session() as kept:
        kept.auth = (sandbox.api_key, "")
        kept.get(f"{sandbox.url}/v1/reporting/report_types", timeout=10)
        sandbox.inject(Dropped(), on="list")

        with pytest.raises(requests.ConnectionError):
            get(sandbox, f"{sandbox.url}/v1/reporting/report_runs")
        answer = kept.get(f"{sandbox.url}/v1/reporting/report_types", timeout=10)

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("fault", "on", "times", "message"),
    [
        (RunFails(), "retrieve", 1, "only 'create' begins"),
        (ShortContents(1), "create", 1, "happens to 'contents'"),
        (KeyInUse(), "retrieve", 1, "happens to 'create'"),
        (RateLimited(), "creates", 1, "neither an operation"),
        (RateLimited(), None, 0, "at least once"),
        (Slow(-1), None, 1, "seconds of Slow is a number from 0"),
    ],
)
def test_script_that_could_never_play_is_refused(
    sandbox: StripeSandbox,
    fault: Fault,
    on: str | None,
    times: int,
    message: str,
) -> None:
    """A typing error shows at once instead of as a fault that does not happen."""
    with pytest.raises(ValueError, match=message):
        sandbox.inject(fault, on=on, times=times)


def test_fault_lets_some_go_by(sandbox: StripeSandbox) -> None:
    """The third request is the one."""
    sandbox.inject(Unavailable(), skip=2)

    assert [create(sandbox).status_code for _ in range(4)] == [200, 200, 503, 200]


def test_chance_is_the_same_for_a_seed(sandbox: StripeSandbox) -> None:
    """A storm can be played again."""
    storms = []
    for seed in (1, 1, 2):
        sandbox.reset()
        sandbox.inject(Unavailable(), times=100, chance=0.5, seed=seed, on="list_types")
        url = f"{sandbox.url}/v1/reporting/report_types"
        storms.append([get(sandbox, url).status_code for _ in range(20)])

    assert storms[0] == storms[1] != storms[2]
    assert set(storms[0]) == {200, 503}


def test_fault_happens_to_any_operation(sandbox: StripeSandbox) -> None:
    """Whichever comes next."""
    sandbox.inject(Unavailable(), on="any")

    assert get(sandbox, f"{sandbox.url}/v1/events").status_code == 503
    assert create(sandbox).status_code == 200


def test_key_can_seem_to_be_in_use(sandbox: StripeSandbox) -> None:
    """Nothing was done, and the next request finds the key free."""
    sandbox.inject(KeyInUse())

    refused = create(sandbox)

    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_key_in_use")
    assert create(sandbox).status_code == 200
    assert len(sandbox.report_runs) == 1


def test_run_can_have_ended_when_it_is_created(sandbox: StripeSandbox) -> None:
    """Whatever the transition of the others."""
    sandbox.configure(transition=AfterReads(3))
    sandbox.inject(EndsAtOnce())

    assert [create(sandbox).json()["status"] for _ in range(2)] == ["succeeded", "pending"]


@pytest.mark.parametrize(("fault", "status", "start"), [(IgnoresRange(), 200, 0), (OtherRange(by=3), 206, 7)])
def test_part_of_a_file_is_another(
    sandbox: StripeSandbox, fault: IgnoresRange | OtherRange, status: int, start: int
) -> None:
    """The headers tell the truth about what comes."""
    file = create(sandbox).json()["result"]
    whole = get(sandbox, file["url"]).content
    sandbox.inject(fault)

    part = requests.get(file["url"], auth=(sandbox.api_key, ""), headers={"Range": "bytes=10-"}, timeout=10)

    assert (part.status_code, part.content) == (status, whole[start:])
    assert part.headers.get("Content-Range") == (f"bytes 7-{len(whole) - 1}/{len(whole)}" if start else None)


@pytest.mark.parametrize(
    ("change", "message"), [({"skip": -1}, "number of requests"), ({"chance": 0.0}, "above 0")]
)
def test_odds_that_are_none_are_refused(sandbox: StripeSandbox, change: dict[str, float], message: str) -> None:
    """As a script that could never play."""
    with pytest.raises(ValueError, match=message):
        sandbox.inject(Unavailable(), **change)  # type: ignore[arg-type]
