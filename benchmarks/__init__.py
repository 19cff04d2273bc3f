"""What the documentation claims, measured: each figure beside what it is compared with, in the same run.

A figure by itself says more about the machine than about us; a ratio of two that were taken in turns holds from
one machine to the next. ``python -m benchmarks`` runs all subjects, ``python -m benchmarks calls sandbox`` some.
"""
