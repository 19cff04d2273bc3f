"""What the operators have in common that land a report which is finished already."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.tasks.failures import airflow_errors, set_retry_policy
from airflow_reportrun.tasks.options import require_rendered
from airflow_reportrun.tasks.results import record_landing, result

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.landing.report import Landed
    from airflow_reportrun.reporting.models import ReportRun


class LandingOperator(BaseOperator):
    """Takes a report run that another task created; creates none, however often it is run again.

    :param report_run_id: ``frr_…``, or what :class:`StripeReportRunOperator` returned: ``run.output``.
    :param stripe_conn_id: Airflow connection of type ``stripe``.
    :param stripe_account: account to act as: the one that the run was created for.
    :param stripe_context: the same as a path of accounts, for keys of an organization.
    """

    _given: list[str]

    def __init__(
        self,
        *,
        report_run_id: str | Mapping[str, Any],
        stripe_conn_id: str = "stripe_default",
        stripe_account: str | None = None,
        stripe_context: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        set_retry_policy(self)
        self.report_run_id = report_run_id
        self.stripe_conn_id = stripe_conn_id
        self.stripe_account = stripe_account
        self.stripe_context = stripe_context

    @abstractmethod
    def land(self, context: Context) -> tuple[ReportRun, Landed]:
        """Land the file of the report run, and return both."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Land the file, and tell the task's outlets; see the class."""
        with airflow_errors():
            require_rendered(self, self._given)
            run, landed = self.land(context)
        record_landing(self, context, landed)
        return result(run, landed=landed)

    @cached_property
    def hook(self) -> StripeReportingHook:
        """The hook of this task."""
        from airflow_reportrun.hooks import StripeReportingHook

        return StripeReportingHook(
            self.stripe_conn_id, stripe_account=self.stripe_account, stripe_context=self.stripe_context
        )

    def report_run(self) -> ReportRun:
        """Return the report run as it is now.

        :raises ConfigurationError: when none was given.
        """
        given = self.report_run_id
        if isinstance(given, Mapping):
            given = given.get("report_run_id", given)
        if not isinstance(given, str) or not given.startswith("frr_"):
            raise ConfigurationError(
                "report_run_id is the id of a report run, or what StripeReportRunOperator returned, not "
                f"{given!r:.100}. In a template: {{{{ ti.xcom_pull('the_task', key='report_run_id') }}}}"
            )
        return self.hook.retrieve_report_run(given)
