"""Stripe's financial reports in Airflow: one report run for every data interval, created exactly once."""

__version__ = "0.1.0"
