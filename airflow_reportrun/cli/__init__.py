"""The commands of ``airflow reportrun``; on Airflow 2 they are ``python -m airflow_reportrun``."""
