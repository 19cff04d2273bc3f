"""The link from a task to what Stripe's Dashboard knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context, TaskInstanceKey

REQUEST_XCOM_KEY = "stripe_request"


def push_request(context: Context, request_id: str | None, *, livemode: bool) -> None:
    """Let the link of a task lead to the request that created its report run, where that is known."""
    for key, value in request_xcom(request_id, livemode=livemode).items():
        context["ti"].xcom_push(key=key, value=value)


def request_xcom(request_id: str | None, *, livemode: bool) -> dict[str, Any]:
    """Return what the link reads, by the XCom's key; nothing where no request is known."""
    return {REQUEST_XCOM_KEY: {"request_id": request_id, "livemode": livemode}} if request_id else {}


class StripeRequestLink(BaseOperatorLink):
    """Leads to the request that created the report run, in the logs of Stripe's Dashboard."""

    name = "Stripe request log"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, empty while nothing was submitted."""
        from airflow.providers.common.compat.sdk import XCom

        return self.address_of(XCom.get_value(ti_key=ti_key, key=REQUEST_XCOM_KEY))

    def address_of(self, request: Any) -> str:
        """Return the address for what tasks push of a request."""
        if not isinstance(request, dict) or not request.get("request_id"):
            return ""
        mode = "" if request.get("livemode") else "test/"
        return f"https://dashboard.stripe.com/{mode}logs/{request['request_id']}"
