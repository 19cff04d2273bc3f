"""What OpenLineage is told of a task: what it read, what it wrote, and of which time.

Airflow's provider of OpenLineage asks, and brings what is imported here. All of it was found out while the task
ran: nothing is asked of Stripe.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_reportrun.landing.report import Landed

FACET = "stripe_reportRun"
"""The name of our own facet of a task's run."""


class LineageMixin:
    """Answers Airflow's provider of OpenLineage.

    A deferred task is asked at its start once more when it goes on, with the same run of OpenLineage's.
    """

    _told_report: tuple[str, str] | None = None
    _told_run: Mapping[str, Any] | None = None
    _landed: Landed | None = None

    def tell_report(self, report_type: str, whose_it_is: Mapping[str, Any]) -> None:
        """Note which report the task is about, for whoever asks.

        :param whose_it_is: see :func:`~airflow_reportrun.tasks.results.whose`.
        """
        self._told_report = whose_it_is["stripe_account"] or whose_it_is["stripe_conn_id"], report_type

    def tell_run(self, run: Mapping[str, Any], whose_it_is: Mapping[str, Any]) -> None:
        """Note which report run the task is about.

        :param run: as :func:`~airflow_reportrun.waiting.events.describe` shows it.
        """
        if isinstance(run.get("report_type"), str):  # what a trigger brings may be damaged
            self._told_run = run
            self.tell_report(run["report_type"], whose_it_is)

    def tell_landing(self, landed: Landed) -> None:
        """Note what the task has landed."""
        self._landed = landed

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Return nothing: which report run it will be, and whose, is known only later."""
        return _operator_lineage()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return the report that was read, the file or table that was written, and the report run."""
        if self._told_report is None:
            return _operator_lineage()
        return _lineage(task_instance, *self._told_report, self._told_run, self._landed)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return the same, as far as it was known; the error is in the facet ``errorMessage`` of Airflow's own."""
        return self.get_openlineage_facets_on_complete(task_instance)


def _operator_lineage(**parts: Any) -> OperatorLineage[Any, Any]:
    from airflow.providers.openlineage.extractors import OperatorLineage

    return OperatorLineage(**parts)


def _lineage(
    task_instance: Any, account: str, report_type: str, run: Mapping[str, Any] | None, landed: Landed | None
) -> OperatorLineage[Any, Any]:
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset

    from airflow_reportrun.assets import dataset_name, report_uri

    namespace, name = dataset_name(report_uri(account, report_type))
    run_facets = _run_facets(task_instance, namespace, account, run, landed) if run else {}
    outputs = []
    if landed:
        statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=landed.manifest.rows, size=landed.manifest.size
        )
        where, what = landed.dataset()
        facets = _schema_facet(landed)
        outputs = [OutputDataset(where, what, facets=facets, outputFacets={"outputStatistics": statistics})]
    inputs = [InputDataset(namespace, name)]
    return _operator_lineage(inputs=inputs, outputs=outputs, run_facets=run_facets)


def _run_facets(
    task_instance: Any, namespace: str, account: str, run: Mapping[str, Any], landed: Landed | None
) -> dict[str, Any]:
    from openlineage.client.facet_v2 import external_query_run, nominal_time_run

    from airflow_reportrun.landing.manifest import iso

    start, end = iso(run.get("interval_start")), iso(run.get("interval_end"))
    return {
        "externalQuery": external_query_run.ExternalQueryRunFacet(
            externalQueryId=run["report_run_id"], source=namespace
        ),
        # Airflow's own takes its place where the DAG run has a data interval, be it an empty one.
        **({"nominalTime": nominal_time_run.NominalTimeRunFacet(start, end)} if start and end else {}),
        FACET: _facet_class()(
            airflowRunId=task_instance.run_id,
            mapIndex=task_instance.map_index,
            tryNumber=task_instance.try_number,
            reportRunId=run["report_run_id"],
            reportType=run["report_type"],
            status=run["status"],
            livemode=run["livemode"],
            account=account,
            intervalStart=start,
            intervalEnd=end,
            landedReportRunId=landed.manifest.report_run_id if landed else None,
            landedFileSha256=landed.manifest.file_sha256 if landed else None,
        ),
    }


def _schema_facet(landed: Landed) -> dict[str, Any]:
    """Return the columns of what landed as they are called there, with types where its format has types."""
    from openlineage.client.facet_v2 import schema_dataset

    from airflow_reportrun.landing.contract import Contract
    from airflow_reportrun.landing.formats.columns import columns_of

    if not landed.manifest.columns:
        return {}
    it = landed.manifest
    contract = Contract(it.naming, it.metadata)
    kept = contract.kept(columns_of(it.columns or (), it.column_types, it.report_type))
    types = [column.declared if it.column_types else None for column in kept]
    fields = [
        schema_dataset.SchemaDatasetFacetFields(contract.name(column.name), kind)
        for column, kind in zip(kept, types, strict=True)
    ]
    return {"schema": schema_dataset.SchemaDatasetFacet(fields)}


@cache
def _facet_class() -> Any:
    """Return the class of our own facet; its base comes with OpenLineage's client."""
    from attrs import define
    from openlineage.client.facet_v2 import RunFacet

    @define(kw_only=True)
    class StripeReportRunRunFacet(RunFacet):  # type: ignore[misc, unused-ignore]
        airflowRunId: str  # noqa: N815 - OpenLineage's style
        mapIndex: int | None  # noqa: N815
        tryNumber: int  # noqa: N815
        reportRunId: str  # noqa: N815
        reportType: str  # noqa: N815
        status: str
        livemode: bool
        account: str
        intervalStart: str | None  # noqa: N815
        intervalEnd: str | None  # noqa: N815
        landedReportRunId: str | None  # noqa: N815
        landedFileSha256: str | None  # noqa: N815

    return StripeReportRunRunFacet
