"""A report in a Delta table, each interval once (extra ``delta``): see ``docs/delta.md``."""

from airflow_reportrun.reporting.errors import ConfigurationError

try:
    import deltalake  # noqa: F401 - looked for once, for all modules here
    import pyarrow  # noqa: F401
except ImportError as error:
    raise ConfigurationError(
        f"A Delta table needs deltalake 1.6 and pyarrow ({error}): pip install 'airflow-provider-reportrun[delta]'"
    ) from None
