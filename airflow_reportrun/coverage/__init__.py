"""Which intervals are landed and which are not: told by what lies in a store or a table, and by nothing else.

``lake`` and ``table`` read what is there, ``stripe`` asks what Stripe has. ``series`` decides what that means, by
the ``steps`` in which intervals follow each other, and ``backfills`` says which dates of a DAG fill the gaps.
"""
