"""The commands of ``airflow reportrun``; before Airflow 3.2 they are ``python -m airflow_reportrun``."""
