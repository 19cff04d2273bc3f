"""The link from a task to what Stripe's Dashboard knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context, TaskInstanceKey

REQUEST_XCOM_KEY = "stripe_request"


def push_request(context: Context, request_id: str | None, *, livemode: bool) -> None:
    """Let the link of a task lead to the request that created its report run, where that is known."""
    if request_id:
        context["ti"].xcom_push(key=REQUEST_XCOM_KEY, value={"request_id": request_id, "livemode": livemode})


class StripeRequestLink(BaseOperatorLink):
    """Leads to the request that created the report run, in the logs of Stripe's Dashboard."""

    name = "Stripe request log"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, empty while nothing was submitted."""
        from airflow.providers.common.compat.sdk import XCom

        request = XCom.get_value(ti_key=ti_key, key=REQUEST_XCOM_KEY)
        if not isinstance(request, dict) or not request.get("request_id"):
            return ""
        mode = "" if request.get("livemode") else "test/"
        return f"https://dashboard.stripe.com/{mode}logs/{request['request_id']}"
