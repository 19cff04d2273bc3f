"""What a landed file can be: the CSV that Stripe wrote, compressed, or typed Parquet."""

from collections.abc import Mapping

FORMATS = ("csv", "csv.gz", "parquet")
"""What a file can be: the bytes that Stripe wrote, the same compressed, or typed columns."""

OPTIONS: Mapping[str, tuple[str, str]] = {
    "naming": ("stripe", "snake_case"),
    "metadata": ("columns", "json"),
    "schema": ("evolve", "freeze"),
}
"""What can be asked for of columns with types, the default first; `contract` says what it means."""
