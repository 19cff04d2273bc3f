"""``make cluster``: Airflow as those have it who outgrew one machine."""
