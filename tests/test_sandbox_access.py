"""Who may see what: keys and their permissions, live and test data, connected accounts, versions, limits."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from airflow_reportrun.sandbox import (
    PERMISSIONS,
    AtOnce,
    KeyExpired,
    LockTimeout,
    ManualClock,
    RateLimits,
    Slow,
    StripeSandbox,
)

MARCH_1 = 1_772_323_200
DAY = 86_400
FORM = {
    "report_type": "balance.summary.1",
    "parameters[interval_start]": str(MARCH_1),
    "parameters[interval_end]": str(MARCH_1 + DAY),
}
RUNS = "/v1/reporting/report_runs"
TYPES = "/v1/reporting/report_types"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def sandbox(stripe_sandbox: StripeSandbox, clock: ManualClock) -> StripeSandbox:
    stripe_sandbox.configure(clock=clock, transition=AtOnce())
    stripe_sandbox.add_key("sk_live_sandbox")
    return stripe_sandbox


def call(
    sandbox: StripeSandbox,
    path: str,
    key: str = "sk_test_sandbox",
    data: Mapping[str, str] | None = None,
    **headers: str,
) -> requests.Response:
    method = "GET" if data is None else "POST"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.request(method, sandbox.url + path, data=data, auth=(key, ""), headers=named, timeout=10)


def error(response: requests.Response) -> dict[str, Any]:
    found: dict[str, Any] = response.json()["error"]
    return found


# Permissions

NEEDED = {
    "create": PERMISSIONS[0],
    "retrieve": PERMISSIONS[0],
    "list": PERMISSIONS[0],
    "list_types": PERMISSIONS[0],
    "retrieve_type": PERMISSIONS[0],
    "retrieve_file": PERMISSIONS[1],
    "contents": PERMISSIONS[1],
    "list_events": PERMISSIONS[2],
    "retrieve_event": PERMISSIONS[2],
    "retrieve_account": PERMISSIONS[3],
}


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_restricted_key_may_do_what_it_has_the_permission_for(sandbox: StripeSandbox, permission: str) -> None:
    """Everything else is refused, with the permission that would help."""
    run = call(sandbox, RUNS, data=FORM).json()
    event = call(sandbox, "/v1/events").json()["data"][0]["id"]
    sandbox.add_key("rk_test_reader", {permission})
    file = run["result"]["id"]
    paths = {
        "retrieve": f"{RUNS}/{run['id']}",
        "list": RUNS,
        "list_types": TYPES,
        "retrieve_type": f"{TYPES}/balance.summary.1",
        "retrieve_file": f"/v1/files/{file}",
        "contents": f"/v1/files/{file}/contents",
        "list_events": "/v1/events",
        "retrieve_event": f"/v1/events/{event}",
        "retrieve_account": "/v1/account",
    }
    responses = {name: call(sandbox, path, "rk_test_reader") for name, path in paths.items()}
    responses["create"] = call(sandbox, RUNS, "rk_test_reader", FORM)
    for name, needed in NEEDED.items():
        if needed == permission:
            assert responses[name].status_code == 200, name
        else:
            assert responses[name].status_code == 403, name
            assert f"Having the 'rak_{needed}' permission" in error(responses[name])["message"]
            assert "reader" not in error(responses[name])["message"]


def test_permission_that_does_not_exist_is_refused(sandbox: StripeSandbox) -> None:
    """A typing error shows at once."""
    with pytest.raises(ValueError, match="files_read is no permission here; report_runs"):
        sandbox.add_key("rk_test_reader", {"files_read"})


def test_added_key_is_forgotten_by_a_reset(sandbox: StripeSandbox) -> None:
    """The constructor's stay."""
    sandbox.reset()
    assert call(sandbox, TYPES, "sk_live_sandbox").status_code == 401
    with StripeSandbox(keys={"sk_live_other": None}) as other:
        other.reset()
        assert call(other, TYPES, "sk_live_other").status_code == 200


# Live and test data


def test_live_and_test_data_do_not_meet(sandbox: StripeSandbox) -> None:
    """A run of one mode is missing in the other, and Stripe says where it is."""
    test, live = call(sandbox, RUNS, data=FORM).json(), call(sandbox, RUNS, "sk_live_sandbox", FORM).json()
    assert (test["livemode"], live["livemode"]) == (False, True)
    assert [run["id"] for run in call(sandbox, RUNS).json()["data"]] == [test["id"]]
    assert [run["id"] for run in call(sandbox, RUNS, "sk_live_sandbox").json()["data"]] == [live["id"]]
    missing = call(sandbox, f"{RUNS}/{live['id']}")
    assert missing.status_code == 404
    assert "a similar object exists in live mode, but a test mode key was used" in error(missing)["message"]
    missing = call(sandbox, f"{RUNS}/{test['id']}", "sk_live_sandbox")
    assert "a similar object exists in test mode, but a live mode key was used" in error(missing)["message"]
    assert call(sandbox, f"/v1/files/{test['result']['id']}", "sk_live_sandbox").status_code == 404
    assert call(sandbox, TYPES, "sk_live_sandbox").json()["data"][0]["livemode"] is True


def test_idempotency_keys_of_the_modes_do_not_meet(sandbox: StripeSandbox) -> None:
    """The same key begins a run in each."""
    ids = {
        call(sandbox, RUNS, key, FORM, Idempotency_Key="k").json()["id"]
        for key in ("sk_test_sandbox", "sk_live_sandbox")
    }
    assert len(ids) == 2


def test_expired_key_says_so(sandbox: StripeSandbox) -> None:
    """With a code of its own."""
    sandbox.inject(KeyExpired(), on="list_types")
    response = call(sandbox, TYPES)
    assert (response.status_code, error(response)["code"]) == (401, "api_key_expired")


# Accounts


def test_account_that_is_not_connected_is_refused(sandbox: StripeSandbox) -> None:
    """Where the connected ones are named; otherwise whatever looks like an account is one."""
    assert call(sandbox, TYPES, Stripe_Account="acct_any").status_code == 200
    assert call(sandbox, TYPES, Stripe_Account="any").status_code == 403
    sandbox.configure(connected_accounts=["acct_one"])
    assert call(sandbox, TYPES, Stripe_Account="acct_one").status_code == 200
    refused = call(sandbox, TYPES, Stripe_Account="acct_any")
    assert refused.status_code == 403
    assert error(refused)["code"] == "account_invalid"
    assert "'sk_test_****dbox' does not have access to account 'acct_any'" in error(refused)["message"]


def test_catalogue_can_be_empty(sandbox: StripeSandbox) -> None:
    """As a new account's is."""
    sandbox.configure(report_types=[])
    assert call(sandbox, TYPES).json()["data"] == []
    assert call(sandbox, f"{TYPES}/balance.summary.1").status_code == 404
    assert call(sandbox, RUNS, data=FORM).status_code == 404


# Versions


def test_version_is_echoed_or_refused(sandbox: StripeSandbox) -> None:
    """The account has one, which a request may override."""
    assert call(sandbox, TYPES).headers["Stripe-Version"] == "2026-10-28.endive"
    assert call(sandbox, TYPES, Stripe_Version="2024-06-20").headers["Stripe-Version"] == "2024-06-20"
    refused = call(sandbox, TYPES, Stripe_Version="latest")
    assert refused.status_code == 400
    assert error(refused)["message"] == "Invalid Stripe API version: latest"


# Limits


@pytest.mark.parametrize(
    ("limits", "key", "path", "allowed", "reason"),
    [
        (RateLimits(test=3), "sk_test_sandbox", TYPES, 3, "global-rate"),
        (RateLimits(live=4, test=1), "sk_live_sandbox", TYPES, 4, "global-rate"),
        (RateLimits(endpoint=2), "sk_test_sandbox", TYPES, 2, "endpoint-rate"),
        (RateLimits(files=2), "sk_test_sandbox", "/v1/files/file_1", 2, "resource-specific"),
    ],
)
def test_rate_limit_names_its_reason_and_ends_with_the_second(
    sandbox: StripeSandbox, clock: ManualClock, limits: RateLimits, key: str, path: str, allowed: int, reason: str
) -> None:
    """The second is one of the sandbox's clock."""
    sandbox.configure(rate_limits=limits)
    responses = [call(sandbox, path, key) for _ in range(allowed + 2)]
    assert [response.status_code == 429 for response in responses] == [False] * allowed + [True] * 2
    assert responses[-1].headers["Stripe-Rate-Limited-Reason"] == reason
    assert error(responses[-1])["code"] == "rate_limit"
    clock.advance(1)
    assert call(sandbox, path, key).status_code != 429


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (RateLimits(concurrent=1), "global-concurrency"),
        (RateLimits(endpoint_concurrent=1), "endpoint-concurrency"),
    ],
)
def test_requests_under_way_are_limited(sandbox: StripeSandbox, limits: RateLimits, reason: str) -> None:
    """The second is refused while the first lasts, and let in when it is over."""
    sandbox.configure(rate_limits=limits)
    sandbox.inject(Slow(1.0), on="list_types", times=3)
    with ThreadPoolExecutor(2) as pool:
        first, second = sorted(pool.map(lambda _: call(sandbox, TYPES), range(2)), key=lambda r: r.status_code)
    assert (first.status_code, second.status_code) == (200, 429)
    assert second.headers["Stripe-Rate-Limited-Reason"] == reason
    assert call(sandbox, TYPES).status_code == 200


def test_limited_request_leaves_the_fault_for_the_next(sandbox: StripeSandbox, clock: ManualClock) -> None:
    """It was not let in, so nothing happened to it."""
    sandbox.configure(rate_limits=RateLimits(test=1))
    call(sandbox, TYPES)
    sandbox.inject(LockTimeout(), on="list_types")
    assert error(call(sandbox, TYPES))["code"] == "rate_limit"
    clock.advance(1)
    assert error(call(sandbox, TYPES))["code"] == "lock_timeout"


def test_lock_time_out_is_a_429_of_another_kind(sandbox: StripeSandbox) -> None:
    """Neither a reason nor a request id."""
    sandbox.inject(LockTimeout(), on="list_types")
    response = call(sandbox, TYPES)
    assert (response.status_code, error(response)["code"]) == (429, "lock_timeout")
    assert not {"Stripe-Rate-Limited-Reason", "Request-Id"} & set(response.headers)
