from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import XCom

from airflow_reportrun.links import StripeRequestLink


@pytest.mark.parametrize(
    ("pushed", "address"),
    [
        ({"request_id": "req_1", "livemode": True}, "https://dashboard.stripe.com/logs/req_1"),
        ({"request_id": "req_1", "livemode": False}, "https://dashboard.stripe.com/test/logs/req_1"),
        ({"request_id": None, "livemode": False}, ""),
        (None, ""),
    ],
)
def test_leads_to_the_request_log(monkeypatch: pytest.MonkeyPatch, pushed: Any, address: str) -> None:
    """Live and test mode have logs of their own; without a request there is nothing to lead to."""
    monkeypatch.setattr(XCom, "get_value", lambda **which: pushed)
    assert StripeRequestLink().get_link(None, ti_key=None) == address  # type: ignore[arg-type]
