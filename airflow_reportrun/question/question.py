"""What a task asks Stripe for, as one value: which report, about which span of time, and where its file goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_reportrun.reporting.errors import OTHER_SHAPE, ConfigurationError
from airflow_reportrun.reporting.models import in_utc
from airflow_reportrun.reporting.parameters import ReportParameters, form_encode
from airflow_reportrun.reporting.report_type_ids import ParameterShape

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from pendulum import DateTime

    from airflow_reportrun.question.intervals import IntervalUnit
    from airflow_reportrun.wire.connection import ConnectionSettings


@dataclass(frozen=True)
class Question:
    """A report that can be asked for, and where its file goes.

    :param report_type: such as ``balance.summary.1``.
    :param shape: what it takes of an interval.
    :param bounds: the interval, or its end alone, by Stripe's names, in the schedule's time zone.
    :param parameters: all that is sent.
    :param destination: absolute path or URL, None where nothing is to be downloaded.
    """

    report_type: str
    shape: ParameterShape
    bounds: Mapping[str, DateTime]
    parameters: ReportParameters
    destination: str | None

    @classmethod
    def of(
        cls,
        report_type: str,
        shape: ParameterShape,
        bounds: Mapping[str, DateTime],
        parameters: ReportParameters,
        *,
        destination: str | None,
        stripe_account: str | None,
    ) -> Question:
        """Return a question whose destination is filled in.

        :param destination: with placeholders, see :mod:`airflow_reportrun.landing.destination`.
        :param stripe_account: the account that is acted as.
        :raises ConfigurationError: when no file can go there.
        """
        if destination is not None:
            from airflow_reportrun.landing.destination import is_compressed, placeholders, resolve_destination

            values = placeholders(report_type, parameters.as_dict(), bounds, stripe_account=stripe_account)
            compressed = is_compressed(parameters.as_dict())
            destination = resolve_destination(destination, values, compressed=compressed)
        return cls(report_type, shape, bounds, parameters, destination)

    @classmethod
    def asked_before(
        cls, context: Context, report_type: str, parameters: Mapping[str, Any], **where: Any
    ) -> Question:
        """Return what a report run was asked for with, whatever a task's options say now.

        :param parameters: by Stripe's names.
        :param where: as for :meth:`of`.
        """
        from airflow_reportrun.question.intervals import instant, timezone

        zone = timezone(context)
        bounds = {
            name: instant(name, parameters[name]).in_timezone(zone)
            for name in ("interval_start", "interval_end")
            if parameters.get(name) is not None
        }
        shape = {0: ParameterShape.PAYOUT, 1: ParameterShape.INTERVAL_END, 2: ParameterShape.INTERVAL}[len(bounds)]
        return cls.of(report_type, shape, bounds, ReportParameters.from_dict(parameters), **where)

    def differences(self, before: Question, *, may_be_clipped: bool) -> str:
        """Return in words how what was asked before differs from this, empty where it doesn't.

        :param may_be_clipped: it may begin later.
        """
        other, wanted = (
            {"report_type": it.report_type, **dict(form_encode(it.parameters.as_dict()))} for it in (before, self)
        )
        if may_be_clipped and before.shape is self.shape is ParameterShape.INTERVAL:
            wanted["interval_start"] = max(wanted["interval_start"], other["interval_start"], key=int)
        for said in (other, wanted):
            said.update({name: in_utc(int(said[name])) for name in said if name.startswith("interval_")})
        different = (name for name in sorted(other | wanted) if other.get(name) != wanted.get(name))
        return ", ".join(f"{name} is {other.get(name)} and not {wanted.get(name)}" for name in different)

    def require_free(self, settings: ConnectionSettings, *, overwrite: bool = False) -> None:
        """Refuse a destination that is another report's or somebody else's, while no report is created for it.

        :param overwrite: a file without a manifest of ours may be replaced.
        :raises LandingConflictError: see above.
        """
        from airflow_reportrun.landing.manifest import Subject
        from airflow_reportrun.landing.publication import require_free
        from airflow_reportrun.landing.stores import place_of

        if self.destination is None:
            return
        subject = Subject.of(
            self.report_type,
            self.parameters.as_dict(),
            livemode=bool(settings.livemode),
            stripe_account=settings.stripe_account,
        )
        require_free(place_of(self.destination), subject, overwrite=overwrite, any_mode=settings.livemode is None)


def bounds_of(
    context: Context,
    shape: ParameterShape,
    *,
    interval_start: object,
    interval_end: object,
    interval: IntervalUnit | None,
    quiet: bool = False,
) -> dict[str, DateTime]:
    """Return what a report type takes of the interval, by Stripe's names, in the schedule's time zone.

    :param interval_start: see :func:`~airflow_reportrun.question.intervals.resolve`, as the others.
    """
    from airflow_reportrun.question.intervals import instant, resolve, timezone

    given = {"interval_start": interval_start, "interval_end": interval_end}
    if shape is ParameterShape.INTERVAL:
        found = resolve(context, **given, interval=interval, quiet=quiet)
        return {"interval_start": found.start, "interval_end": found.end}
    if shape is ParameterShape.PAYOUT and interval is not None:
        raise ConfigurationError(f"This report type takes payout; leave out interval. {OTHER_SHAPE}")
    zone = timezone(context)
    bounds = {name: instant(name, value).in_timezone(zone) for name, value in given.items() if value is not None}
    if shape is ParameterShape.INTERVAL_END and not bounds:
        return {"interval_end": resolve(context, interval=interval, quiet=quiet).end}
    return bounds
