"""The page in Airflow's UI that shows which intervals are landed, and how its server comes to know it.

``report_tasks`` finds who lands what, in the DAGs that Airflow has stored. ``shelves`` reads what is landed there
and asks Stripe, by ``readings``, in threads that nobody waits long for. ``dag_runs`` says what is under way and
what failed. ``shown`` puts them together, and ``server`` answers, behind Airflow's own authentication. No DAG file
is run, and nothing is written.
"""
