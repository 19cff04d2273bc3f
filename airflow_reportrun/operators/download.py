"""The operator that fetches the file of a report run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_reportrun.outcomes import (
    airflow_errors,
    fetch,
    given_options,
    require_rendered,
    result,
    set_retry_policy,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class StripeReportDownloadOperator(BaseOperator):
    """Download the file of a succeeded report run.

    The file is streamed, its size is checked against what Stripe says, and it appears in place at once and
    complete, readable by its owner alone. Creates no report run. Returns what
    :class:`StripeReportRunOperator` returns, ``request_id`` aside.

    :param report_run_id: ``frr_…``. (templated)
    :param destination: absolute path on the worker. After the templates, ``{report_type}``, ``{report_run_id}``
        and, where the run has them, ``{interval_start}`` and ``{interval_end}`` are filled in, in the schedule's
        time zone and with any format of ``datetime``. (templated)
    :param stripe_conn_id: Airflow connection of type ``stripe``. (templated)
    :param stripe_account: account to act as: the one that the run was created for. (templated)
    """

    template_fields: Sequence[str] = ("report_run_id", "destination", "stripe_conn_id", "stripe_account")
    ui_color = "#e7e5ff"

    def __init__(
        self,
        *,
        report_run_id: str,
        destination: str,
        stripe_conn_id: str = "stripe_default",
        stripe_account: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        set_retry_policy(self)
        self.report_run_id = report_run_id
        self.destination = destination
        self.stripe_conn_id = stripe_conn_id
        self.stripe_account = stripe_account
        self._given = given_options(self)

    def execute(self, context: Context) -> dict[str, Any]:
        """Download; see the class."""
        from airflow_reportrun.hooks import StripeReportingHook
        from airflow_reportrun.intervals import timezone
        from airflow_reportrun.landing.destination import resolve_destination

        with airflow_errors():
            require_rendered(self, self._given)
            hook = StripeReportingHook(self.stripe_conn_id, stripe_account=self.stripe_account)
            run = hook.retrieve_report_run(self.report_run_id)
            bounds = {
                name: datetime.fromtimestamp(run.parameters[name], timezone(context))
                for name in ("interval_start", "interval_end")
                if name in run.parameters
            }
            path = resolve_destination(
                self.destination, {"report_type": run.report_type, "report_run_id": run.id, **bounds}
            )
            return result(run, landed=fetch(hook, run, path))
