"""A connection's bytes: what an Airflow connection says, requests within limits, and where the key may go."""
