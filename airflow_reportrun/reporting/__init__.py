"""Stripe's Reporting API in typed values: no Airflow and no sockets in here."""
