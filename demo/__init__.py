"""``make demo``: a week of Stripe reports, backfilled by a real Airflow, and the proof that each came once."""
