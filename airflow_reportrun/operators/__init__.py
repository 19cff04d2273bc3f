"""Operators: a report run for the interval of a DAG run, and its file."""

from airflow_reportrun.operators.delta import StripeReportToDeltaOperator
from airflow_reportrun.operators.download import StripeReportDownloadOperator
from airflow_reportrun.operators.iceberg import StripeReportToIcebergOperator
from airflow_reportrun.operators.run import StripeReportRunOperator
from airflow_reportrun.operators.sql import StripeReportToSqlOperator

__all__ = [
    "StripeReportDownloadOperator",
    "StripeReportRunOperator",
    "StripeReportToDeltaOperator",
    "StripeReportToIcebergOperator",
    "StripeReportToSqlOperator",
]
