"""``make bench``: run all benchmarks and print their tables."""

from __future__ import annotations

from benchmarks import downloads, imports

imports.main()
downloads.main()
