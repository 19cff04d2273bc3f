"""Which tests a worker of pytest-xdist takes at a time: those of a file, or a piece of a long one."""

from __future__ import annotations

from collections import Counter
from typing import Any

from xdist.scheduler import LoadFileScheduling

PIECE = 40
"""Tests; of longer files, one worker would be left with one when all others have ended."""

WHOLE = {"tests/test_crashes.py"}
"""Files whose tests need each other."""


class PieceScheduling(LoadFileScheduling):  # type: ignore[misc]
    """``--dist=loadfile``, in pieces."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._tests: Counter[str] = Counter()
        self._pieces: dict[str, str] = {}

    def _split_scope(self, nodeid: str) -> str:
        if nodeid not in self._pieces:
            file = super()._split_scope(nodeid)
            self._pieces[nodeid] = file if file in WHOLE else f"{file} {self._tests[file] // PIECE}"
            self._tests[file] += 1
        return self._pieces[nodeid]
