"""What the operators have in common that land a report which is finished already."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_reportrun.landing.formats import OPTIONS
from airflow_reportrun.lineage import LineageMixin
from airflow_reportrun.links import StripeRequestLink, push_request, request_xcoms_of
from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.tasks.failures import airflow_errors, set_retry_policy
from airflow_reportrun.tasks.options import is_template, require_known, require_rendered
from airflow_reportrun.tasks.outlets import key_of, record_landing, record_partition, require_partitions
from airflow_reportrun.tasks.results import GivenRun, result, whose
from airflow_reportrun.tasks.ui import Noted
from airflow_reportrun.waiting.events import describe

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.landing.contract import Contract, Metadata, Naming, Schema
    from airflow_reportrun.landing.report import Landed
    from airflow_reportrun.landing.tables import Table
    from airflow_reportrun.reporting.models import ReportRun
    from airflow_reportrun.tasks.options import Given


def require_kinds(column_types: object) -> None:
    """Refuse kinds that there are none of when the file is parsed, where no template can still change them."""
    from airflow_reportrun.landing.formats.columns import check_column_types

    if isinstance(column_types, Mapping):
        words = [word for pair in column_types.items() for word in pair]
        if all(isinstance(word, str) and not is_template(word) for word in words):
            check_column_types(column_types)


class LandingOperator(Noted, LineageMixin, BaseOperator):
    """Takes a report run that another task created; creates none, however often it is run again.

    :param report_run_id: ``frr_…``, or what :class:`StripeReportRunOperator` returned: ``run.output``.
    :param naming: what columns with types are called: ``stripe`` or ``snake_case``.
    :param metadata: ``columns``, or ``json`` for all metadata of a kind in one.
    :param schema: ``evolve``, or ``freeze`` to refuse what would change the columns that are there.
    :param partition_key: the partition of what lands, for the consumers of ``outlets``.
    :param stripe_conn_id: Airflow connection of type ``stripe``; by default the one that the run was created
        through, where what the task was given says so, else ``stripe_default``.
    :param stripe_account: account to act as; by default the one that the run was created for, likewise, else the
        connection's own.
    :param stripe_context: the same as a path of accounts, for keys of an organization.
    """

    template_fields: Sequence[str] = (
        *("report_run_id", "partition_key", *OPTIONS),
        *("stripe_conn_id", "stripe_account", "stripe_context"),
    )
    operator_extra_links = (StripeRequestLink(),)
    _given: Given
    _key: str | None = None

    def __init__(
        self,
        *,
        report_run_id: str | Mapping[str, Any],
        naming: Naming | str = "stripe",
        metadata: Metadata | str = "columns",
        schema: Schema | str = "evolve",
        partition_key: str | None = None,
        stripe_conn_id: str | None = None,
        stripe_account: str | None = None,
        stripe_context: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        set_retry_policy(self)
        require_partitions(self, partition_key)
        self.naming = naming
        self.metadata = metadata
        self.schema = schema
        for name, words in OPTIONS.items():
            require_known(name, getattr(self, name), words, templated=True)
        self.partition_key = partition_key
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
            push_request(self, context, request_xcoms_of(self.given_run))
            run, landed = self.land(context)
        self.tell_landing(landed)
        record_landing(self, context, landed)
        record_partition(self, context, self._key)
        return result(describe(run), whose(self.hook), request_id=self.given_run.request_id, landed=landed)

    @property
    def contract(self) -> Contract:
        """What is asked for of the columns.

        :raises ConfigurationError: when a template came to something else.
        """
        from airflow_reportrun.landing.contract import Contract

        return Contract(self.naming, self.metadata, self.schema)

    @cached_property
    def given_run(self) -> GivenRun:
        """The report run that the task was given.

        :raises ConfigurationError: when it was given none.
        """
        return GivenRun.of(self.report_run_id)

    @cached_property
    def hook(self) -> StripeReportingHook:
        """The hook that sees the run that this task was given."""
        return self.given_run.hook(self.stripe_conn_id, self.stripe_account, self.stripe_context)

    def report_run(self, context: Context) -> ReportRun:
        """Return the report run as it is now.

        :raises ConfigurationError: when its partition can't have the key that it is to have.
        """
        run = self.hook.retrieve_report_run(self.given_run.report_run_id)
        self.tell_run(describe(run), whose(self.hook))
        account = self.hook.settings.stripe_account
        self._key = key_of(self.partition_key, run.report_type, run.parameters, context, account, run.id)
        return run


class TableOperator(LandingOperator):
    """Lands a report in a table, of whatever kind.

    :param table: what it is called.
    :param column_types: kinds by column name where they are to be others than the package's.
    :param on_overlap: ``fail`` when landed rows are of other bounds and would count twice; ``replace`` the ones
        that the interval covers whole.
    """

    template_fields: Sequence[str] = (*LandingOperator.template_fields, "table", "column_types", "on_overlap")

    def __init__(
        self,
        *,
        table: str,
        column_types: Mapping[str, str] | None = None,
        on_overlap: Literal["fail", "replace"] = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_known("on_overlap", on_overlap, ("fail", "replace"), templated=True)
        require_kinds(column_types)
        self.table = table
        self.column_types = column_types
        self.on_overlap = on_overlap

    @abstractmethod
    def table_with(self, **options: Any) -> Table:
        """Return the table, to be landed in with these options."""

    def asked_table(self) -> Table:
        """Return the table, to be landed in as the options say.

        :raises ReportingError: when it can't be, or a template came to what no option can be.
        """
        if self.on_overlap not in ("fail", "replace"):  # a template came to it
            raise ConfigurationError(f"on_overlap is 'fail' or 'replace', not {self.on_overlap!r}.")
        if not isinstance(self.table, str):  # likewise
            raise ConfigurationError(f"table is a text, not {self.table!r:.100}.")
        return self.table_with(column_types=self.column_types, contract=self.contract, on_overlap=self.on_overlap)

    def land(self, context: Context) -> tuple[ReportRun, Landed]:
        """Land the file in the table."""
        from airflow_reportrun.landing.tables import land_in

        table = self.asked_table()
        run = self.report_run(context)
        return run, land_in(self.hook, run, table)
