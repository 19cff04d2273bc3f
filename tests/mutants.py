"""What became of the mutants: a row for each module, and the names of those that no test has noticed.

``python -m tests.mutants`` says it after ``mutmut run``; ``mutmut show NAME`` shows one of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

LEAST = 0.9
"""The part of a module's mutants that tests have to notice."""

KILLED = (1, 3, 24, 36, 152, 255, -24)
"""By a test that failed, by an error of pytest, or by a time that is many times that of the tests without it."""


def main(folder: Path) -> int:
    """Print the table, and return the exit status."""
    few = False
    alive: list[str] = []
    print(f"{'module':45} mutants  killed")
    for path in sorted(folder.glob("airflow_reportrun/**/*.py.meta")):
        found: dict[str, int | None] = json.loads(path.read_text())["exit_code_by_key"]
        codes = {name: code for name, code in found.items() if code is not None}  # which was not asked for
        if not codes:
            continue
        alive += [f"{name} (exit code {code})" for name, code in codes.items() if code not in KILLED]
        killed = sum(code in KILLED for code in codes.values())
        few |= killed < LEAST * len(codes)
        module = str(path.relative_to(folder)).removesuffix(".meta")
        print(f"{module:45} {len(codes):7} {killed:7} {killed / len(codes):6.1%}")
    print("", *alive, sep="\n")
    return few


if __name__ == "__main__":
    sys.exit(main(Path("mutants")))
