"""A report in an Iceberg table, each interval once (extra ``iceberg``): see ``docs/iceberg.md``."""

from airflow_reportrun.reporting.errors import ConfigurationError

try:
    import pyarrow  # noqa: F401 - looked for once, for all modules here
    import pyiceberg.io.fileformat  # noqa: F401
except ImportError as error:
    raise ConfigurationError(
        f"An Iceberg table needs pyiceberg 0.12 and pyarrow ({error}): "
        "pip install 'airflow-provider-reportrun[iceberg]'"
    ) from None
