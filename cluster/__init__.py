"""``make cluster``: Airflow as those have it who outgrew one machine; ``make chaos`` breaks it while it works."""
