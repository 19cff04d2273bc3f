"""What `docs/backfills.md` says to load beforehand, for the tasks that are forks of what loaded it."""

import airflow_reportrun.hooks
import airflow_reportrun.submission.submit
import airflow_reportrun.triggers  # noqa: F401
