"""The operator that lands the file of a report run in a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_reportrun.landing.formats import FORMATS
from airflow_reportrun.operators.finished import LandingOperator, require_kinds
from airflow_reportrun.tasks.options import (
    given_options,
    is_quotable,
    is_template,
    is_written,
    path_option,
    require_known,
    truth,
)

if TYPE_CHECKING:
    from os import PathLike

    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

    from airflow_reportrun.landing.report import Landed
    from airflow_reportrun.reporting.models import ReportRun


class StripeReportDownloadOperator(LandingOperator):
    """Land the file of a succeeded report run: in any store, as CSV or as typed Parquet.

    The file is streamed and checked on its way, and appears in its place at once and complete; then a manifest
    says what it is (``docs/landing.md``). What is there already is not transferred again. Creates no
    report run. Returns what :class:`StripeReportRunOperator` returns.

    :param report_run_id: ``frr_…``, or what :class:`StripeReportRunOperator` returned: ``run.output``. (templated)
    :param destination: absolute path on the worker, or a URL such as ``s3://conn_id@bucket/key``, whose
        connection has to exist; or a ``Path`` or ``ObjectStoragePath``. After the templates,
        ``{report_type}``, ``{report_run_id}``, ``{stripe_account}`` and what the run was asked for with, such as
        ``{currency}``, are filled in, and ``{interval_start}`` and ``{interval_end}``, in the schedule's time zone
        and with any format of ``datetime``. With a ``/`` at its end it is the root of the default layout
        ``report_type=…/interval_start=…/interval_end=…/report.csv``, in UTC. (templated)
    :param format: ``csv``, the bytes that Stripe wrote; ``csv.gz``; or ``parquet``, with types (extra
        ``parquet``). (templated)
    :param column_types: for ``parquet``: kinds by column name where they are to be others than the package's,
        such as ``{"fee": "money(6)"}``. (templated)
    :param naming: for ``parquet``: what the columns are called: ``stripe``, or ``snake_case`` for engines that
        refuse brackets and fold case: ``payment_metadata__order_id``. (templated)
    :param metadata: likewise: ``columns``, or ``json`` for all of ``payment_metadata[…]`` in one column,
        ``payment_metadata``. (templated)
    :param schema: likewise, in the default layout: ``evolve``, or ``freeze`` to refuse a report with columns that
        what is landed below the root lacks, or has of another type. (templated)
    :param overwrite: True lets the report take the place of a file that is there without a manifest of ours, which
        is refused else. (templated)
    :param partition_key: the partition of what lands, for the consumers of the assets in ``outlets`` (Airflow
        ≥ 3.3): with the placeholders of a destination, such as ``{interval_start:%Y-%m-%d}``. (templated)
    :param stripe_conn_id: Airflow connection of type ``stripe``; by default the one that the run was created
        through, where what the task was given says so, else ``stripe_default``. (templated)
    :param stripe_account: account to act as; by default the one that the run was created for, likewise, else the
        connection's own. (templated)
    :param stripe_context: the same as a path of accounts, for keys of an organization. (templated)
    """

    template_fields: Sequence[str] = (
        *LandingOperator.template_fields,
        *("destination", "format", "column_types", "overwrite"),
    )
    note = (
        "Lands the file of a report run at Stripe, checked and whole, or not at all. Creates no report run, and"
        " does not transfer again what is landed already."
    )

    def __init__(
        self,
        *,
        destination: str | PathLike[str] | ObjectStoragePath,
        format: str = "csv",
        column_types: Mapping[str, str] | None = None,
        overwrite: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_known("format", format, FORMATS, templated=True)
        require_kinds(column_types)
        self.destination = path_option(destination)
        self.format = format
        self.column_types = column_types
        self.overwrite = overwrite
        if isinstance(overwrite, str) and not is_template(overwrite):
            truth("overwrite", overwrite)
        if format == "parquet":
            from airflow_reportrun.landing.names import require_packages

            require_packages("Parquet", "airflow-provider-reportrun[parquet]", "pyarrow")
        if is_quotable(self.destination):
            from airflow_reportrun.landing.destination import check_written

            check_written(self.destination, format if is_written(format) else None)
        self._given = given_options(self, may_be_empty=("overwrite",))

    def land(self, context: Context) -> tuple[ReportRun, Landed]:
        """Land the file in its store."""
        from airflow_reportrun.landing.destination import is_compressed, placeholders, resolve_destination
        from airflow_reportrun.landing.lake import BOUNDS
        from airflow_reportrun.landing.report import check_format, land_report
        from airflow_reportrun.landing.stores import place_of
        from airflow_reportrun.question.intervals import timezone

        check_format(self.format, self.column_types, self.contract)
        overwrite = truth("overwrite", self.overwrite)
        run = self.report_run(context)
        zone = timezone(context)
        bounds = {
            name: datetime.fromtimestamp(run.parameters[name], zone) for name in BOUNDS if name in run.parameters
        }
        account = self.hook.settings.stripe_account
        values = placeholders(
            run.report_type, run.parameters, bounds, stripe_account=account, report_run_id=run.id
        )
        path = resolve_destination(self.destination, values, self.format, compressed=is_compressed(run.parameters))
        return run, land_report(
            self.hook,
            run,
            place_of(path),
            format=self.format,
            column_types=self.column_types,
            contract=self.contract,
            overwrite=overwrite,
        )
