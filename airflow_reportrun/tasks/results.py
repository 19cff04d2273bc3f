"""What a task returns of a report run, and how the next task reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.reporting.models import REPORT_RUN_IDS

if TYPE_CHECKING:
    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.landing.report import Landed
    from airflow_reportrun.wire.connection import ConnectionSettings


def result(
    run: Mapping[str, Any],
    whose_it_is: Mapping[str, Any],
    *,
    request_id: str | None = None,
    landed: Landed | None = None,
) -> dict[str, Any]:
    """Return what a task returns; see :class:`StripeReportRunOperator`.

    :param run: as :func:`~airflow_reportrun.waiting.events.describe` shows it.
    :param whose_it_is: see :func:`whose`.
    """
    return {
        **run,
        **whose_it_is,
        "request_id": request_id,
        "path": landed.path if landed else None,
        "sha256": landed.manifest.sha256 if landed else None,
        "rows": landed.manifest.rows if landed else None,
    }


WHOSE = ("stripe_conn_id", "stripe_account", "stripe_context")


def whose(hook: StripeReportingHook) -> dict[str, Any]:
    """Return what the next task needs to see a report run; no secret."""
    it = hook.settings
    return {
        "stripe_conn_id": hook.stripe_conn_id,
        "stripe_account": it.stripe_account,
        "stripe_context": it.stripe_context,
    }


def acting(hook: StripeReportingHook) -> dict[str, Any]:
    """Return by what the triggers know a connection and an account: the same, whether a task named it or not."""
    it = hook.settings
    return {
        "stripe_conn_id": hook.stripe_conn_id,
        "stripe_account": None if it.stripe_context else it.stripe_account,
        "stripe_context": it.stripe_context,
    }


def whose_before(resume: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the same as the task noted it before it was deferred; None where it did not, as earlier versions."""
    return {name: resume.get(name) for name in WHOSE} if resume.get("stripe_conn_id") else None


def found_run(run: Mapping[str, Any], whose_it_is: Mapping[str, Any], given: GivenRun) -> dict[str, Any]:
    """Return what a sensor returns of the run that it was given.

    :param run: as it succeeded.
    """
    return {**run, **whose_it_is, "request_id": given.request_id}


@dataclass(frozen=True)
class GivenRun:
    """What a task was given as ``report_run_id``.

    :param report_run_id: ``frr_…``.
    :param stripe_conn_id: the connection that it was created through, None where that is not said.
    :param stripe_account: the account that it was created for, None for that of the connection.
    :param stripe_context: the same as a path of accounts, where it was created with one.
    :param request_id: the request that created it, None where that is not said.
    :param livemode: of that request; False where that is not said.
    """

    report_run_id: str
    stripe_conn_id: str | None = None
    stripe_account: str | None = None
    stripe_context: str | None = None
    request_id: str | None = None
    livemode: bool = False

    @classmethod
    def of(cls, given: object) -> GivenRun:
        """Read the id of a report run, or what an operator or a sensor returned of one.

        :raises ConfigurationError: for anything else.
        """
        it: Mapping[str, Any] = given if isinstance(given, Mapping) else {"report_run_id": given}
        run_id, conn_id, account, context = (it.get(name) for name in ("report_run_id", *WHOSE))
        if not isinstance(run_id, str) or not run_id.startswith(REPORT_RUN_IDS):
            raise ConfigurationError(
                "report_run_id is the id of a report run, or what StripeReportRunOperator returned, not "
                f"{given!r:.100}. In a template: {{{{ ti.xcom_pull('the_task', key='report_run_id') }}}}"
            )
        if not all(isinstance(text, str | None) for text in (conn_id, account, context)):
            raise ConfigurationError(
                f"stripe_conn_id, stripe_account and stripe_context that come with {run_id:.100} are texts."
            )
        request_id = it.get("request_id")
        return cls(
            run_id,
            conn_id,
            account,
            context,
            request_id=request_id if isinstance(request_id, str) else None,
            livemode=it.get("livemode") is True,
        )

    def id_for(self, settings: ConnectionSettings) -> str:
        """Return the id, for a task that acts as it says itself.

        :raises ConfigurationError: when the run was created for somebody else.
        """
        whose = self.stripe_context or self.stripe_account
        if whose not in (None, settings.acting_as):
            mine = settings.acting_as or "the account of the key"
            raise ConfigurationError(
                f"Report run {self.report_run_id} was created for {whose}, and this task acts as {mine}: give it "
                "the same stripe_account or stripe_context."
            )
        return self.report_run_id

    def hook(
        self, stripe_conn_id: str | None, stripe_account: str | None, stripe_context: str | None
    ) -> StripeReportingHook:
        """Return the hook that sees the run.

        :param stripe_conn_id: what the task says, None where it says nothing.
        :param stripe_account: likewise; it and ``stripe_context`` take each other's place.
        """
        from airflow_reportrun.hooks import StripeReportingHook

        if stripe_conn_id is None:
            stripe_conn_id = self.stripe_conn_id or StripeReportingHook.default_conn_name
        if stripe_account is None and stripe_context is None:
            stripe_context = self.stripe_context
            stripe_account = None if stripe_context else self.stripe_account
        return StripeReportingHook(stripe_conn_id, stripe_account=stripe_account, stripe_context=stripe_context)
