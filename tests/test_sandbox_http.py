"""What only shows on the wire: forms, headers, idempotency, contents, refusals."""

from __future__ import annotations

import base64
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_reportrun.sandbox import (
    AfterReads,
    AtOnce,
    DataLate,
    Dropped,
    ManualClock,
    RateLimited,
    ServerError,
    Slow,
    StripeSandbox,
)
from tests.until import until

if TYPE_CHECKING:
    from pathlib import Path

MARCH_1 = 1_772_323_200
MARCH_2 = 1_772_409_600
NOON = MARCH_2 + 12 * 3600
SUMMARY = {
    "report_type": "balance.summary.1",
    "parameters[interval_start]": str(MARCH_1),
    "parameters[interval_end]": str(MARCH_2),
}
ITEMIZED = {**SUMMARY, "report_type": "balance_change_from_activity.itemized.3"}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def sandbox(stripe_sandbox: StripeSandbox, clock: ManualClock) -> StripeSandbox:
    stripe_sandbox.configure(clock=clock)
    return stripe_sandbox


def create(
    sandbox: StripeSandbox, form: dict[str, str] | str = SUMMARY, key: str | None = None, **headers: str
) -> requests.Response:
    headers |= {"Authorization": f"Bearer {sandbox.api_key}"}
    headers |= {"Content-Type": "application/x-www-form-urlencoded"}
    headers |= {"Idempotency-Key": key} if key else {}
    return requests.post(f"{sandbox.url}/v1/reporting/report_runs", data=form, headers=headers, timeout=10)


def get(sandbox: StripeSandbox, path: str) -> requests.Response:
    return requests.get(sandbox.url + path, auth=(sandbox.api_key, ""), timeout=10, allow_redirects=False)


def error(response: requests.Response) -> dict[str, Any]:
    found: dict[str, Any] = response.json()["error"]
    return found


def result_of(sandbox: StripeSandbox, form: dict[str, str]) -> dict[str, Any]:
    sandbox.configure(transition=AtOnce())
    result: dict[str, Any] = create(sandbox, form).json()["result"]
    return result


# Forms


@pytest.mark.parametrize(
    "columns",
    [
        "parameters[columns][]=created&parameters[columns][]=net",
        "parameters[columns][0]=created&parameters[columns][1]=net",
        "parameters%5Bcolumns%5D%5B1%5D=net&parameters%5Bcolumns%5D%5B0%5D=created",
    ],
)
def test_arrays_come_in_both_spellings(sandbox: StripeSandbox, columns: str) -> None:
    """Brackets may be empty, numbered and percent-encoded; numbers order the array."""
    interval = f"parameters[interval_start]={MARCH_1}&parameters[interval_end]={MARCH_2}"

    response = create(sandbox, f"report_type={ITEMIZED['report_type']}&{interval}&{columns}")

    assert response.json()["parameters"]["columns"] == ["created", "net"]


@pytest.mark.parametrize(
    ("change", "message", "param", "code"),
    [
        ({"parameters[foo]": "1"}, "Received unknown parameter: parameters[foo]", "parameters[foo]",
         "parameter_unknown"),
        ({"foo": "1", "bar": "2"}, "Received unknown parameters: foo, bar", "foo", "parameter_unknown"),
        ({"report_type": None}, "Missing required param: report_type.", "report_type", "parameter_missing"),
        ({"parameters[interval_end]": None}, "Missing required param: parameters[interval_end].",
         "parameters[interval_end]", "parameter_missing"),
        ({"parameters[interval_end]": "2026-03-02"}, "Invalid integer: 2026-03-02",
         "parameters[interval_end]", "parameter_invalid_integer"),
        ({"parameters[currency]": ""}, "You passed an empty string for 'parameters[currency]'.*",
         "parameters[currency]", "parameter_invalid_empty"),
        ({"parameters[columns]": "created"}, "Invalid array", "parameters[columns]", None),
        ({"parameters": "1"}, "Invalid object", "parameters", None),
        ({"0": "1"}, "Received unknown parameter: 0", "0", "parameter_unknown"),
        ({"parameters[payout]": "po_1"}, ".* does not support the parameter `payout`.", "parameters.payout",
         None),
        ({"parameters[reporting_category]": "fee"}, ".* does not support the parameter .*",
         "parameters.reporting_category", None),
        ({"parameters[columns][]": "nett"}, ".* does not have the following columns: nett",
         "parameters.columns", None),
        ({"parameters[timezone]": "Mars/Olympus"}, "Invalid timezone: Mars/Olympus .*",
         "parameters[timezone]", None),
        ({"parameters[timezone]": "../../etc/hosts"}, "Invalid timezone: .*", "parameters[timezone]", None),
        ({"parameters[currency]": "euro"}, "Invalid currency: euro", "parameters[currency]", None),
        ({"parameters[interval_end]": str(MARCH_1)}, "`interval_start` must be before `interval_end`; .*",
         "parameters.interval_start", None),
        ({"parameters[interval_start]": "1640995199"},
         "Data for the report type balance.summary.1 is only available starting at 2022-01-01 00:00:00 UTC; "
         "you requested `interval_start` = 2021-12-31 23:59:59 UTC.", "parameters.interval_start", None),
        ({"parameters[interval_end]": str(MARCH_2 + 1)},
         "Data for the report type balance.summary.1 is only available through 2026-03-02 00:00:00 UTC; "
         "you requested `interval_end` = 2026-03-02 00:00:01 UTC.", "parameters.interval_end", None),
        ({"parameters[interval_end]": "1772409600000"}, ".* = 1772409600000 seconds after 1970-01-01 .*",
         "parameters.interval_end", None),
    ],
)  # fmt: skip
def test_create_refuses_what_stripe_refuses(
    sandbox: StripeSandbox, change: dict[str, str | None], message: str, param: str, code: str | None
) -> None:
    """A refused create names the parameter, and begins no run."""
    form = {name: value for name, value in {**SUMMARY, **change}.items() if value is not None}

    response = create(sandbox, form)

    assert response.status_code == 400
    assert error(response)["type"] == "invalid_request_error"
    assert re.fullmatch(message.replace("[", r"\["), error(response)["message"])
    assert error(response)["param"] == param
    assert error(response).get("code") == code
    assert sandbox.report_runs == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/reporting/report_runs/frr_no", "No such report run: 'frr_no'"),
        ("/v1/reporting/report_types/no.1", "No such report type: 'no.1'"),
        ("/v1/files/file_no", "No such file: 'file_no'"),
        ("/v1/files/file_no/contents", "No such file: 'file_no'"),
    ],
)
def test_unknown_ids_are_missing_resources(sandbox: StripeSandbox, path: str, message: str) -> None:
    """An id that names nothing is a 404 with a code."""
    response = get(sandbox, path)

    assert response.status_code == 404
    assert error(response)["message"] == message
    assert error(response)["code"] == "resource_missing"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("status=pending", "status"),
        ("created[before]=1", "created[before]"),
        ("starting_after=frr_no", "starting_after"),
        ("starting_after=frr_a&ending_before=frr_b", "ending_before"),
    ],
)
def test_list_refuses_bad_queries(sandbox: StripeSandbox, query: str, param: str) -> None:
    """Limits are 1 to 100, cursors exist, and there is no filter by status."""
    response = get(sandbox, f"/v1/reporting/report_runs?{query}")

    assert response.status_code == 400
    assert error(response)["param"] == param


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/x"), ("DELETE", "/v1/reporting/report_runs")])
def test_unknown_address_is_unrecognized(sandbox: StripeSandbox, method: str, path: str) -> None:
    """A wrong method is as unknown as a wrong path."""
    response = requests.request(method, sandbox.url + path, auth=(sandbox.api_key, ""), timeout=10)

    assert response.status_code == 404
    assert error(response)["message"].startswith(f"Unrecognized request URL ({method}: {path}). ")


# Keys and headers


@pytest.mark.parametrize(
    "authorization",
    ["Bearer sk_test_sandbox", "Basic " + base64.b64encode(b"sk_test_sandbox:").decode()],
)
def test_key_is_taken_as_bearer_and_as_user(sandbox: StripeSandbox, authorization: str) -> None:
    """The log shows the scheme, and of the key only its end."""
    response = requests.get(
        f"{sandbox.url}/v1/reporting/report_types", headers={"Authorization": authorization}, timeout=10
    )

    assert response.status_code == 200
    assert sandbox.requests[0].headers["authorization"].endswith(" sk_test_****dbox")


@pytest.mark.parametrize("authorization", [None, "Bearer ", "Basic !", "Digest x"])
def test_request_without_a_key_is_refused(sandbox: StripeSandbox, authorization: str | None) -> None:
    """No key is a 401 on the files host as well."""
    headers = {"Authorization": authorization} if authorization else {}

    response = requests.get(f"{sandbox.url}/v1/files/file_x/contents", headers=headers, timeout=10)

    assert response.status_code == 401
    assert error(response)["message"].startswith("You did not provide an API key.")


def test_every_response_has_its_own_request_id(sandbox: StripeSandbox) -> None:
    """Refusals and downloads too, and the log knows them."""
    file = result_of(sandbox, SUMMARY)
    answers = [
        get(sandbox, "/v1/reporting/report_types"),
        get(sandbox, "/v1/x"),
        requests.get(sandbox.url, timeout=10),
        requests.get(file["url"], auth=(sandbox.api_key, ""), timeout=10),
    ]

    ids = [answer.headers["Request-Id"] for answer in answers]

    assert len(set(ids)) == 4
    assert all(re.fullmatch("req_[A-Za-z0-9]{14}", request_id) for request_id in ids)
    assert [record.request_id for record in sandbox.requests[1:]] == ids


# Idempotency


def test_replay_shows_the_run_as_it_was(sandbox: StripeSandbox) -> None:
    """A replayed create answers `pending` although the run has ended."""
    sandbox.configure(transition=AfterReads(0))
    first = create(sandbox, key="k")
    now = get(sandbox, f"/v1/reporting/report_runs/{first.json()['id']}")

    replay = create(sandbox, key="k")

    assert now.json()["status"] == "succeeded"
    assert replay.json() == first.json()
    assert replay.json()["status"] == "pending"
    assert replay.headers["Idempotent-Replayed"] == "true"
    assert replay.headers["Original-Request"] == first.headers["Request-Id"]
    assert replay.headers["Request-Id"] != first.headers["Request-Id"]
    assert [record.replayed for record in sandbox.requests_to("create")] == [False, True]
    assert len(sandbox.report_runs) == 1


def test_first_post_under_a_key_says_so(sandbox: StripeSandbox) -> None:
    """It echoes the key, names itself as the original and asks not to be tried again."""
    response = create(sandbox, key="k")

    assert response.headers["Idempotency-Key"] == "k"
    assert response.headers["Original-Request"] == response.headers["Request-Id"]
    assert response.headers["Stripe-Should-Retry"] == "false"
    assert "Idempotent-Replayed" not in response.headers


def test_spelling_of_an_array_does_not_make_other_parameters(sandbox: StripeSandbox) -> None:
    """Keys compare decoded parameters."""
    first = create(sandbox, {**ITEMIZED, "parameters[columns][]": "net"}, key="k")

    replay = create(sandbox, {**ITEMIZED, "parameters[columns][0]": "net"}, key="k")

    assert replay.json() == first.json()


def test_keys_are_kept_for_a_day_and_by_account(sandbox: StripeSandbox, clock: ManualClock) -> None:
    """After 24 hours, or from another account, the same key creates another run."""
    ids = [create(sandbox, key="k").json()["id"]]
    ids.append(create(sandbox, key="k", **{"Stripe-Account": "acct_other"}).json()["id"])
    clock.advance(24 * 3600 - 1)
    assert create(sandbox, key="k").json()["id"] == ids[0]
    clock.advance(1)
    ids.append(create(sandbox, key="k").json()["id"])

    assert len(set(ids)) == 3


def test_key_in_flight_is_a_conflict(sandbox: StripeSandbox) -> None:
    """While the first request is on its way the key is in use, although the run exists."""
    sandbox.inject(Slow(1))
    slow = threading.Thread(target=create, args=(sandbox,), kwargs={"key": "k"})
    slow.start()
    until(lambda: sandbox.report_runs)

    conflict = create(sandbox, key="k")
    slow.join()
    replay = create(sandbox, key="k")

    assert conflict.status_code == 409
    assert error(conflict)["code"] == "idempotency_key_in_use"
    assert replay.headers["Idempotent-Replayed"] == "true"
    assert len(sandbox.report_runs) == 1


def test_executed_refusal_is_kept(sandbox: StripeSandbox, clock: ManualClock) -> None:
    """An interval beyond the data stays refused under its key, even when the data has come."""
    form = {**SUMMARY, "parameters[interval_end]": str(MARCH_2 + 3600)}
    first = create(sandbox, form, key="k")
    clock.advance(12 * 3600)

    replay = create(sandbox, form, key="k")

    assert (first.status_code, replay.status_code) == (400, 400)
    assert replay.headers["Idempotent-Replayed"] == "true"
    assert create(sandbox, form, key="k2").status_code == 200


def test_refusal_before_execution_is_not_kept(sandbox: StripeSandbox) -> None:
    """The key is free for the corrected request."""
    assert create(sandbox, {**SUMMARY, "parameters[foo]": "1"}, key="k").status_code == 400

    assert create(sandbox, key="k").status_code == 200


def test_rate_limit_is_not_kept(sandbox: StripeSandbox) -> None:
    """The key is free for the next try."""
    sandbox.inject(RateLimited("endpoint-rate"))

    limited = create(sandbox, key="k")

    assert limited.status_code == 429
    assert limited.headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    assert create(sandbox, key="k").status_code == 200


@pytest.mark.parametrize("committed", [False, True])
def test_server_error_is_kept(sandbox: StripeSandbox, committed: bool) -> None:
    """The 500 comes back under its key, whether or not the run exists."""
    sandbox.inject(ServerError(committed=committed))

    statuses = [create(sandbox, key="k").status_code for _ in range(2)]

    assert statuses == [500, 500]
    assert len(sandbox.report_runs) == committed
    assert create(sandbox, key="k2").status_code == 200


@pytest.mark.parametrize("committed", [False, True])
def test_dropped_connection_leaves_the_client_in_doubt(sandbox: StripeSandbox, committed: bool) -> None:
    """Another request with the same key finds the run or creates it: there is one either way."""
    sandbox.inject(Dropped(committed=committed))

    with pytest.raises(requests.ConnectionError):
        create(sandbox, key="k")
    runs_before = len(sandbox.report_runs)
    retry = create(sandbox, key="k")

    assert runs_before == committed
    assert retry.headers.get("Idempotent-Replayed") == ("true" if committed else None)
    assert [record.status for record in sandbox.requests] == [None, 200]
    assert len(sandbox.report_runs) == 1


def test_key_longer_than_255_characters_is_refused(sandbox: StripeSandbox) -> None:
    """255 characters are fine."""
    assert create(sandbox, key="k" * 255).status_code == 200
    assert create(sandbox, key="k" * 256).status_code == 400


# Contents


def test_contents_are_csv_of_known_length(sandbox: StripeSandbox) -> None:
    """Every cell that is not null is quoted, and every line ends in a newline."""
    file = result_of(sandbox, {**ITEMIZED, "parameters[columns][0]": "net", "parameters[columns][1]": "trace_id"})

    response = requests.get(file["url"], auth=(sandbox.api_key, ""), timeout=10)

    lines = response.text.splitlines(keepends=True)
    assert response.headers["Content-Type"] == "text/csv"
    assert int(response.headers["Content-Length"]) == file["size"] == len(response.content)
    assert lines[0] == '"net","trace_id"\n'
    assert all(re.fullmatch(r'"-?\d+\.\d\d",\n', line) for line in lines[1:])


def test_file_on_disk_stands_in_for_reports(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """Its bytes are what the runs that end from then on bring."""
    path = tmp_path / "big.csv"
    path.write_bytes(bytes(range(256)) * 4096)
    sandbox.serve_file(path)

    file = result_of(sandbox, ITEMIZED)

    assert file["size"] == 1024 * 1024
    assert requests.get(file["url"], auth=(sandbox.api_key, ""), timeout=10).content == path.read_bytes()


def test_missing_file_cannot_be_served(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """The mistake shows where it is made."""
    with pytest.raises(FileNotFoundError, match="no file to serve"):
        sandbox.serve_file(tmp_path / "none.csv")


def test_fault_of_the_server_strikes_a_replay_too(sandbox: StripeSandbox) -> None:
    """The key keeps what it kept before."""
    first = create(sandbox, key="k").json()
    sandbox.inject(ServerError())

    struck, again = create(sandbox, key="k"), create(sandbox, key="k")

    assert struck.status_code == 500
    assert again.json()["id"] == first["id"]


def test_late_data_is_a_refusal_whatever_the_report_type_says(sandbox: StripeSandbox) -> None:
    """Kept under its key, as every refusal of an interval."""
    sandbox.inject(DataLate())

    late = create(sandbox, key="k")

    assert error(late)["param"] == "parameters.interval_end"
    assert create(sandbox, key="k").headers["Idempotent-Replayed"] == "true"
    assert create(sandbox, key="l").status_code == 200


@pytest.mark.parametrize("authorization", ["Basic \xff", "Digest abc"])
def test_credentials_that_can_not_be_read_are_none(sandbox: StripeSandbox, authorization: str) -> None:
    """A 401 that says how to send a key."""
    headers = {"Authorization": authorization.encode("latin-1")}
    response = requests.get(f"{sandbox.url}/v1/reporting/report_types", headers=headers, timeout=10)

    assert response.status_code == 401
    assert "You did not provide an API key" in error(response)["message"]


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ("a" + "[b]" * 3000 + "=1", 400),
        ({**SUMMARY, "parameters[interval_start]": "-999999999999999999"}, 400),
    ],
)
def test_odd_forms_are_refused_like_others(sandbox: StripeSandbox, form: Any, status: int) -> None:
    """However deep, and however far back."""
    assert create(sandbox, form).status_code == status


def test_numbered_and_unnumbered_items_of_an_array_do_not_meet(sandbox: StripeSandbox) -> None:
    """One without a number comes behind those that have one."""
    interval = f"parameters[interval_start]={MARCH_1}&parameters[interval_end]={MARCH_2}"
    columns = "parameters[columns][1]=net&parameters[columns][]=created"

    response = create(sandbox, f"report_type={ITEMIZED['report_type']}&{interval}&{columns}")

    assert response.json()["parameters"]["columns"] == ["net", "created"]


def test_an_answer_is_dated_by_the_sandboxs_clock(stripe_sandbox: StripeSandbox) -> None:
    """As Stripe's is by the clock that its objects go by."""
    stripe_sandbox.configure(clock=lambda: 1714521600.0)
    for path in ("/v1/reporting/report_runs", "/v1/nowhere"):
        answer = requests.get(stripe_sandbox.url + path, auth=(stripe_sandbox.api_key, ""), timeout=10)
        assert answer.headers["Date"] == "Wed, 01 May 2024 00:00:00 GMT"
    stripe_sandbox.configure(clock=lambda: 1e15)
    assert "Date" not in requests.get(stripe_sandbox.url, timeout=10).headers
