"""What each task of the demo needs: its tasks are forks of the scheduler, which has loaded it for them.

Airflow imports a module of this name in each of its processes.
"""

# ruff: noqa: F401

import airflow.providers.sqlite.hooks.sqlite

import airflow_reportrun.hooks
import airflow_reportrun.landing.lakehouse.iceberg.catalogs
import airflow_reportrun.landing.lakehouse.iceberg.table
import airflow_reportrun.landing.lakehouse.report
import airflow_reportrun.landing.report
import airflow_reportrun.landing.sql.report
import airflow_reportrun.operators
import airflow_reportrun.submission.submit
