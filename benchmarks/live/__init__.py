"""A live Airflow on PostgreSQL that measures: what its processes import, and the tasks that it waits for."""
