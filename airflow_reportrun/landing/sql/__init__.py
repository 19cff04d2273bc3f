"""A report in a table of a database, each interval once (extra ``sql``); ``docs/sql.md`` describes the table."""

from airflow_reportrun.reporting.errors import ConfigurationError

try:
    import pyarrow  # noqa: F401 - looked for once, for all modules here
    import sqlalchemy  # noqa: F401
except ImportError as error:
    raise ConfigurationError(
        f"A table needs SQLAlchemy and pyarrow ({error}): pip install sqlalchemy pyarrow"
    ) from None
