"""What a landed file can be: the CSV that Stripe wrote, compressed, or typed Parquet."""
