from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import Asset

from airflow_reportrun.assets import create_asset
from tests.versions import AIRFLOW_2

URI = "stripe://acct_1Nq/reporting/balance.summary.1"


@pytest.mark.parametrize(
    "written",
    [URI, "STRIPE://acct_1Nq/Reporting/Balance.Summary.1/", "stripe://acct_1Nq//reporting/balance.summary.1"],
)
def test_a_report_has_one_uri(written: str) -> None:
    """However a DAG file spells it, so that two files mean one asset."""
    assert Asset(uri=written).uri == URI


def test_the_account_of_a_key_is_known_by_its_connection() -> None:
    """Nothing else tells whose key it is."""
    assert create_asset(account="stripe_default", report_type="balance.summary.1").uri == (
        "stripe://stripe_default/reporting/balance.summary.1"
    )


def test_an_asset_is_made_of_its_parts() -> None:
    """As Airflow does it, which knows the function by the provider's info."""
    asset = create_asset(account="acct_1Nq", report_type="balance.summary.1", extra={"books": "eu"})
    assert (asset.uri, asset.extra) == (URI, {"books": "eu"})


@pytest.mark.parametrize(
    ("uri", "wrong"),
    [
        ("stripe:///reporting/balance.summary.1", "neither an account"),
        ("stripe://acct_/reporting/balance.summary.1", "neither an account"),
        ("stripe://acct_1:443/reporting/balance.summary.1", "neither an account"),
        ("stripe://acct_1/acct_2/reporting/balance.summary.1", "no /reporting/"),
        ("stripe://acct_1/balance.summary.1", "no /reporting/"),
        ("stripe://acct_1/reporting/", "no /reporting/"),
        ("stripe://acct_1/reporting/balance", "no /reporting/"),
        ("stripe://acct_1/reporting/balance.summary.1/2026", "no /reporting/"),
        ("stripe://acct_1/reporting/balance.summary.1?currency=eur", "nothing follows"),
    ],
)
def test_what_is_no_report_is_refused(uri: str, wrong: str) -> None:
    """When the DAG file is parsed, with the form that is meant."""
    words = rf"stripe://<account>/reporting/<report_type>.*{wrong}"
    # Airflow 2 only warns.
    with pytest.warns(UserWarning, match=words) if AIRFLOW_2 else pytest.raises(ValueError, match=words):
        Asset(uri=uri)


@pytest.mark.parametrize("account", ["acct_1/acct_2", "", "acct_1/../x"])
def test_an_account_that_can_be_none_is_refused(account: str) -> None:
    """Of a context the last account is the report's."""
    with pytest.raises(ValueError, match="neither an account"):
        create_asset(account=account, report_type="balance.summary.1")
