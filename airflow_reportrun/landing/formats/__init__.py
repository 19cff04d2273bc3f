"""What a landed file can be: the CSV that Stripe wrote, compressed, or typed Parquet."""

FORMATS = ("csv", "csv.gz", "parquet")
"""What a file can be: the bytes that Stripe wrote, the same compressed, or typed columns."""
