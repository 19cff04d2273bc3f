"""The report types: what each one takes, refuses and has for a header."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests

from airflow_reportrun.sandbox import AtOnce, ManualClock, StripeSandbox
from airflow_reportrun.sandbox.business import DAY, Books
from airflow_reportrun.sandbox.catalogue import CATALOGUE, Availability, ReportType
from airflow_reportrun.sandbox.errors import ApiError
from airflow_reportrun.sandbox.parameters import RunParameters, RunRequest, check_availability
from airflow_reportrun.sandbox.reports import write_report
from airflow_reportrun.sandbox.state import CONNECTED_ACCOUNTS

OPENED = 1_640_995_200
MARCH_1 = 1_772_323_200
MARCH_2 = MARCH_1 + DAY
NOON = MARCH_2 + 12 * 3600
BOOKS = Books(OPENED, connected=("acct_baker", "acct_florist"))

Form = dict[str, str]


@pytest.fixture
def sandbox(stripe_sandbox: StripeSandbox) -> StripeSandbox:
    stripe_sandbox.configure(clock=ManualClock(NOON), transition=AtOnce())
    return stripe_sandbox


@pytest.fixture(scope="module")
def live_sandbox() -> Iterator[StripeSandbox]:
    with StripeSandbox(api_key="sk_live_sandbox", clock=ManualClock(NOON), transition=AtOnce()) as sandbox:
        yield sandbox


def get(sandbox: StripeSandbox, path: str) -> requests.Response:
    return requests.get(f"{sandbox.url}/v1/{path}", auth=(sandbox.api_key, ""), timeout=10)


def create(sandbox: StripeSandbox, report_type: str, parameters: Form) -> requests.Response:
    form = {"report_type": report_type} | {f"parameters[{name}]": value for name, value in parameters.items()}
    url = f"{sandbox.url}/v1/reporting/report_runs"
    return requests.post(url, data=form, auth=(sandbox.api_key, ""), timeout=10)


def run(sandbox: StripeSandbox, report_type: str, parameters: Form) -> str:
    created = create(sandbox, report_type, parameters)
    assert created.status_code == 200, created.text
    contents = requests.get(created.json()["result"]["url"], auth=(sandbox.api_key, ""), timeout=10)
    return contents.content.decode()


def rows_of(sandbox: StripeSandbox, report_type: str, parameters: Form) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(run(sandbox, report_type, parameters))))


def header(columns: tuple[str, ...] | list[str]) -> str:
    return ",".join(f'"{name}"' for name in columns) + "\n"


def required(report_type: ReportType) -> Form:
    """Values for what a type requires; the payout is one of the platform's."""
    values = {
        "interval_start": str(MARCH_1),
        "interval_end": str(MARCH_2),
        "payout": next(BOOKS.own.payouts(MARCH_1, MARCH_2)).id,
    }
    return {name: values[name] for name in report_type.required}


def checked(report_type: ReportType) -> RunParameters:
    """The same, as a run has them."""
    account = "acct_baker" if "connected_account" in report_type.required else None
    return RunParameters(
        MARCH_1 if "interval_start" in report_type.required else None,
        MARCH_2 if "interval_end" in report_type.required else None,
        connected_accounts=frozenset({account} if account else ()),
        payout=next(BOOKS.of(account).payouts(MARCH_1, MARCH_2)).id if "payout" in report_type.required else None,
    )


def report(report_type: ReportType, wanted: RunParameters) -> str:
    return b"".join(write_report(BOOKS, report_type, wanted)).decode()


def error(response: requests.Response) -> dict[str, Any]:
    found: dict[str, Any] = response.json()["error"]
    return found


all_types = pytest.mark.parametrize("report_type", CATALOGUE.values(), ids=CATALOGUE)


@all_types
def test_each_type_has_its_default_columns_for_a_header(report_type: ReportType) -> None:
    """What the type requires is enough, and a day has rows."""
    text = report(report_type, checked(report_type))

    assert text.startswith(header(report_type.default_columns))
    assert text.count("\n") > 1


@all_types
def test_every_column_can_be_asked_for(report_type: ReportType) -> None:
    """All of them at once, in any order, metadata too."""
    metadata = [f"{word}_metadata[order_id]" for word in report_type.metadata]
    columns = (*metadata, *reversed(report_type.columns))

    text = report(report_type, replace(checked(report_type), columns=columns))

    assert all(report_type.has_column(name) for name in columns)
    assert text.startswith(header(columns))
    assert all(len(row) == len(columns) for row in csv.reader(io.StringIO(text)))


@pytest.mark.parametrize(
    "report_type",
    [
        report_type
        for report_type in CATALOGUE.values()
        if "interval_start" in report_type.required and not report_type.family.endswith("balance.summary")
    ],
    ids=lambda report_type: report_type.id,
)
def test_empty_report_is_a_header(report_type: ReportType) -> None:
    """An interval in which nothing happened brings the header alone."""
    midnight = RunParameters(MARCH_1, MARCH_1 + 1)

    assert report(report_type, midnight) == header(report_type.default_columns)


@all_types
def test_type_is_consistent(report_type: ReportType) -> None:
    """Defaults are columns, nothing is required and optional at once, and choices name fields."""
    assert set(report_type.default_columns) <= set(report_type.columns)
    assert len(set(report_type.columns)) == len(report_type.columns)
    assert not report_type.required & report_type.optional
    assert report_type.decided <= {"columns", "default_columns", "optional"}


@pytest.mark.parametrize(
    ("report_type", "has", "lacks"),
    [
        ("balance_change_from_activity.itemized.1", ["created_utc", "automatic_payout_effective_at", "is_link"],
         ["created", "card_address_city", "automatic_payout_effective_at_utc", "payment_metadata[key]"]),
        ("balance_change_from_activity.itemized.3", ["created", "created_utc", "payment_metadata[order_id]"],
         ["payment_metadata[]", "price_metadata[key]", "payment_metadata"]),
        ("payouts.itemized.1", ["effective_at_utc", "payout_reversed_at"], ["effective_at", "regulatory_tag"]),
        ("payouts.itemized.5", ["effective_at", "effective_at_utc", "regulatory_tag"], ["created"]),
        ("connected_account_payouts.itemized.3", ["connected_account"], []),
        ("connected_account_payouts.summary.1", ["count"], ["connected_account"]),
        ("tax.transactions.itemized.2", ["tax_transaction_metadata[a]"], ["payment_metadata[a]"]),
    ],
)  # fmt: skip
def test_versions_differ_in_their_columns(report_type: str, has: list[str], lacks: list[str]) -> None:
    """Types with a time zone have timestamps in it and in UTC; older ones in UTC alone."""
    found = CATALOGUE[report_type]

    assert [name for name in has if not found.has_column(name)] == []
    assert [name for name in lacks if found.has_column(name)] == []


def test_each_type_runs_over_http(live_sandbox: StripeSandbox) -> None:
    """Whatever a live key finds in the list can be run, and comes with the columns that the list promises."""
    listed = get(live_sandbox, "reporting/report_types").json()["data"]

    assert [entry["id"] for entry in listed] == list(CATALOGUE)
    for entry in listed:
        report_type = CATALOGUE[entry["id"]]
        if "connected_account" not in report_type.required:
            text = run(live_sandbox, report_type.id, required(report_type))
            assert text.startswith(header(entry["default_columns"]))


def test_test_keys_do_not_get_what_is_for_live_keys(sandbox: StripeSandbox, live_sandbox: StripeSandbox) -> None:
    """Such a type is not in their list, cannot be retrieved and cannot be run."""
    name = "all_fees.incurred_at.itemized.2"
    interval = {"interval_start": str(MARCH_1), "interval_end": str(MARCH_2)}
    listed = [entry["id"] for entry in get(sandbox, "reporting/report_types").json()["data"]]

    assert [name for name in CATALOGUE if name not in listed] == [
        "all_fees.balance_transaction_created.itemized.2",
        "all_fees.incurred_at.itemized.2",
        "all_fees.balance_transaction_created.summary.2",
    ]
    for refused in (get(sandbox, f"reporting/report_types/{name}"), create(sandbox, name, interval)):
        assert refused.status_code == 404
        assert error(refused) == {
            "message": "This report type is only available for live data and requires a live mode key.",
            "type": "invalid_request_error",
        }
    assert get(live_sandbox, f"reporting/report_types/{name}").json()["livemode"]


@pytest.mark.parametrize(
    ("report_type", "parameters", "message", "param", "code"),
    [
        ("ending_balance_reconciliation.itemized.4", {"interval_start": MARCH_1, "interval_end": MARCH_2},
         ".* does not support the parameter `interval_start`.", "parameters.interval_start", None),
        ("ending_balance_reconciliation.itemized.4", {}, "Missing required param: parameters[interval_end].",
         "parameters[interval_end]", "parameter_missing"),
        ("ending_balance_reconciliation.itemized.4", {"interval_end": MARCH_2 + 1},
         ".* is only available through 2026-03-02 00:00:00 UTC; you requested `interval_end` = .*",
         "parameters.interval_end", None),
        ("ending_balance_reconciliation.itemized.4", {"interval_end": OPENED - 1},
         ".* is only available starting at 2022-01-01 00:00:00 UTC; you requested `interval_end` = .*",
         "parameters.interval_end", None),
        ("payout_reconciliation.by_id.itemized.4", {"interval_end": MARCH_2, "payout": "po_1"},
         ".* does not support the parameter `interval_end`.", "parameters.interval_end", None),
        ("payout_reconciliation.by_id.itemized.4", {}, "Missing required param: parameters[payout].",
         "parameters[payout]", "parameter_missing"),
        ("payout_reconciliation.by_id.itemized.4", {"payout": "po_1"}, "No such payout: 'po_1'",
         "parameters.payout", "resource_missing"),
        ("connected_account_payout_reconciliation.by_id.itemized.4", {"payout": "po_1"},
         "Missing required param: parameters[connected_account].", "parameters[connected_account]",
         "parameter_missing"),
        ("connected_account_payouts.itemized.3",
         {"interval_start": MARCH_1, "interval_end": MARCH_2, "connected_account": "acct_nobody"},
         "No such connected account: 'acct_nobody'", "parameters.connected_account", "resource_missing"),
        ("connected_account_payouts.itemized.3",
         {"interval_start": MARCH_1, "interval_end": MARCH_2, "connected_accounts][": "acct_nobody"},
         "No such connected account: 'acct_nobody'", "parameters.connected_account", "resource_missing"),
        ("payouts.itemized.1", {"interval_start": MARCH_1, "interval_end": MARCH_2, "timezone": "Asia/Tokyo"},
         ".* does not support the parameter `timezone`.", "parameters.timezone", None),
        ("payouts.itemized.5", {"interval_start": MARCH_1, "interval_end": MARCH_2, "currency][": "eur"},
         "Invalid string", "parameters[currency]", None),
        ("payouts.itemized.5", {"interval_start": MARCH_1, "interval_end": MARCH_2, "decimal_separator": ";"},
         "Invalid decimal separator: ;; .*", "parameters[decimal_separator]", None),
    ],
)  # fmt: skip
def test_create_refuses_what_the_type_does_not_take(
    sandbox: StripeSandbox,
    report_type: str,
    parameters: dict[str, Any],
    message: str,
    param: str,
    code: str | None,
) -> None:
    """An interval, its end alone or a payout: each type takes one of the three and says what else is wrong."""
    sandbox.configure(connected_accounts=["acct_baker"])
    response = create(sandbox, report_type, parameters)

    assert response.status_code == 400
    assert re.fullmatch(message.replace("[", r"\["), error(response)["message"])
    assert (error(response)["param"], error(response).get("code")) == (param, code)
    assert sandbox.report_runs == []


def test_unknown_type_is_not_found(sandbox: StripeSandbox) -> None:
    """Also where the id is a parameter, as a type for live keys isn't."""
    refused = create(sandbox, "payouts.itemized.99", {})

    assert refused.status_code == 404
    assert (error(refused)["param"], error(refused)["code"]) == ("report_type", "resource_missing")


def test_payout_of_one_report_is_the_parameter_of_another(sandbox: StripeSandbox) -> None:
    """A payout found in `payouts.itemized` can be reconciled by its id."""
    interval = {"interval_start": str(MARCH_1), "interval_end": str(MARCH_2), "currency": "usd"}
    (payout,) = csv.DictReader(io.StringIO(run(sandbox, "payouts.itemized.5", interval)))

    text = run(sandbox, "payout_reconciliation.by_id.itemized.4", {"payout": payout["payout_id"]})

    cents = [int(row["net"].replace(".", "")) for row in csv.DictReader(io.StringIO(text))]
    assert sum(cents) == -int(payout["net"].replace(".", ""))


def test_payout_is_unknown_until_the_data_has_it() -> None:
    """It begins to exist when it is created, a day before it arrives."""
    report_type = CATALOGUE["payout_reconciliation.by_id.itemized.4"]
    payout = next(BOOKS.own.payouts(MARCH_1, MARCH_2))
    request = RunRequest(report_type, {}, RunParameters(payout=payout.id))

    check_availability(request, Availability(OPENED, payout.created), BOOKS)
    with pytest.raises(ApiError, match="No such payout"):
        check_availability(request, Availability(OPENED, payout.created - 1), BOOKS)


def test_connected_accounts_are_reported_on_together_and_alone(sandbox: StripeSandbox) -> None:
    """All of the platform's, those that are named, or the account that a request acts for."""
    interval = {"interval_start": str(MARCH_1), "interval_end": str(MARCH_2)}
    sandbox.configure(connected_accounts=["acct_baker", "acct_florist"])
    kind = "connected_account_balance_change_from_activity.itemized.3"

    together = rows_of(sandbox, kind, interval)
    alone = rows_of(sandbox, kind, {**interval, "connected_account": "acct_baker"})
    both = rows_of(
        sandbox, kind, {**interval, "connected_accounts][0": "acct_florist", "connected_accounts][1": "acct_baker"}
    )

    assert {row["connected_account"] for row in together} == {"acct_baker", "acct_florist"}
    assert alone == [row for row in together if row["connected_account"] == "acct_baker"] != []
    assert both == together


def test_connected_account_does_not_see_the_others(sandbox: StripeSandbox) -> None:
    """Only the platform reports on its accounts."""
    form = {"report_type": "connected_account_balance.summary.1", "parameters[connected_account]": "acct_two"}
    form |= {"parameters[interval_start]": str(MARCH_1), "parameters[interval_end]": str(MARCH_2)}
    url = f"{sandbox.url}/v1/reporting/report_runs"

    answers = [
        requests.post(url, data=form, auth=(sandbox.api_key, ""), headers=headers, timeout=10)
        for headers in ({}, {"Stripe-Account": "acct_one"})
    ]

    assert [answer.status_code for answer in answers] == [200, 400]
    assert error(answers[1])["param"] == "parameters.connected_account"


def test_any_account_has_a_business_where_none_are_named(sandbox: StripeSandbox) -> None:
    """And three have one when nobody is asked for."""
    interval = {"interval_start": str(MARCH_1), "interval_end": str(MARCH_2)}
    kind = "connected_account_balance_change_from_activity.itemized.3"

    assert {row["connected_account"] for row in rows_of(sandbox, kind, interval)} == set(CONNECTED_ACCOUNTS)
    named = rows_of(sandbox, kind, {**interval, "connected_account": "acct_any"})
    assert {row["connected_account"] for row in named} == {"acct_any"}


def test_decimal_separator_may_be_a_comma(sandbox: StripeSandbox) -> None:
    """Amounts change, and nothing else."""
    interval = {"interval_start": str(MARCH_1), "interval_end": str(MARCH_2)}

    point = csv.DictReader(io.StringIO(run(sandbox, "payouts.itemized.5", interval)))
    comma = csv.DictReader(io.StringIO(run(sandbox, "payouts.itemized.5", {**interval, "decimal_separator": ","})))

    amounts = ("gross", "fee", "net")
    assert list(comma) == [row | {name: row[name].replace(".", ",") for name in amounts} for row in point] != []


def test_lists_and_echo(sandbox: StripeSandbox) -> None:
    """What was sent comes back typed: numbers, texts and arrays."""
    sent = {"interval_end": str(MARCH_2), "columns][": "net", "decimal_separator": ",", "currency": "eur"}

    body = create(sandbox, "ending_balance_reconciliation.itemized.4", sent).json()

    assert body["parameters"] == {
        "interval_end": MARCH_2,
        "columns": ["net"],
        "decimal_separator": ",",
        "currency": "eur",
    }
