"""What Airflow's UI shows of this package, in a browser: take Chromium, and the package playwright."""
