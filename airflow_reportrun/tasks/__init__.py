"""Between a task and Airflow: its options, its failures, its results."""
