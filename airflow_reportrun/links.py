"""The link from a task to what Stripe's Dashboard knows of its report run.

Stripe documents no address of a report run in the Dashboard. What there is of one is the request that created it,
in the log of requests: with its parameters, and what Stripe answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context, TaskInstanceKey

    from airflow_reportrun.tasks.results import GivenRun

REQUEST_XCOM_KEY = "stripe_request"

DASHBOARD = "https://dashboard.stripe.com"


def push_request(task: BaseOperator, context: Context, xcoms: Mapping[str, Any]) -> None:
    """Let the link of a task lead to a request from now on.

    The process of a deferrable task soon ends, and Airflow 3 writes the address down itself.

    :param xcoms: see :func:`request_xcoms`.
    """
    soon_ends = getattr(task, "deferrable", False)
    note_request(task, xcoms.get(REQUEST_XCOM_KEY, {}))
    for key, value in xcoms.items():
        if key == REQUEST_XCOM_KEY or not soon_ends:
            context["ti"].xcom_push(key=key, value=value)


def note_request(task: BaseOperator, request: Mapping[str, Any]) -> None:
    """Let Airflow 3 write down the address when the process of a try ends, without asking for what was pushed.

    :param request: see :func:`request_of`; empty where none is known, of which Airflow would log an error.
    """
    task._stripe_request = dict(request)


def request_xcoms(request_id: str | None, *, livemode: bool | None, stripe_account: str | None) -> dict[str, Any]:
    """Return what the UI reads of the link, by the XCom's key; nothing where no request is known.

    Airflow 3 itself writes the address down only when the process of a try ends, which may wait for hours.

    :param request_id: ``req_…``.
    :param livemode: None where that is not known.
    :param stripe_account: whose log has the request, None for the account of the key.
    """
    if not request_id:
        return {}
    request = request_of(request_id, livemode, stripe_account)
    link = StripeRequestLink()
    airflow_3s = getattr(link, "xcom_key", None)
    return {REQUEST_XCOM_KEY: request, **({airflow_3s: link.address_of(request)} if airflow_3s else {})}


def request_of(request_id: str, livemode: bool | None, stripe_account: str | None) -> dict[str, Any]:
    """Return what the link knows of a request; see :func:`request_xcoms`."""
    return {"request_id": request_id, "livemode": livemode, "stripe_account": stripe_account}


def request_xcoms_of(given: GivenRun) -> dict[str, Any]:
    """Return the same of a report run that another task created."""
    return request_xcoms(given.request_id, livemode=given.livemode, stripe_account=given.stripe_account)


class StripeRequestLink(BaseOperatorLink):
    """Leads to the request that created the report run, or was refused, in the logs of Stripe's Dashboard."""

    name = "Stripe request log"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, empty while nothing was submitted."""
        if (noted := getattr(operator, "_stripe_request", None)) is not None:
            return self.address_of(noted)
        from airflow.providers.common.compat.sdk import XCom

        return self.address_of(XCom.get_value(ti_key=ti_key, key=REQUEST_XCOM_KEY))

    def address_of(self, request: Any) -> str:
        """Return the address for what tasks push of a request: that of ``request_log_url`` in Stripe's errors.

        The account comes before the mode (https://docs.stripe.com/stripe-apps/deep-links). Without one it is the
        account that is open in the browser.
        """
        if not isinstance(request, dict) or not request.get("request_id"):
            return ""
        account = request.get("stripe_account")
        place = [quote(str(account), safe="")] if account else []
        place += [] if request.get("livemode") else ["test"]
        return "/".join([DASHBOARD, *place, f"workbench/logs?object={quote(str(request['request_id']), safe='')}"])
