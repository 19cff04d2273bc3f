"""Tables and pictures in the docs that the tests compute: held, or written with ``WRITE_DOCS=1``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def hold(path: Path, name: str, markdown: str) -> None:
    """Assert that a page has this text, and nothing else, between ``<!-- name -->`` and ``<!-- /name -->``.

    With ``WRITE_DOCS=1`` in the environment the text is put there instead.
    """
    page = path.read_text(encoding="utf-8")
    opening, closing = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    markers = re.escape(opening) + "(.*?)" + re.escape(closing)
    found = re.findall(markers, page, re.DOTALL)
    assert len(found) == 1, f"{path.name} has {len(found)} places between {opening.strip()} and {closing}, not one"
    wanted = f"\n{markdown.strip()}\n\n"
    if os.environ.get("WRITE_DOCS") == "1":
        path.write_text(page.replace(opening + found[0] + closing, opening + wanted + closing), encoding="utf-8")
    else:
        assert found[0] == wanted, f"{path.name} is not what the tests compute: WRITE_DOCS=1 writes it"


def hold_file(path: Path, contents: str) -> None:
    """Assert that a file has these contents; with ``WRITE_DOCS=1`` in the environment it is written instead."""
    if os.environ.get("WRITE_DOCS") == "1":
        path.write_text(contents, encoding="utf-8")
    else:
        assert path.read_text(encoding="utf-8") == contents, (
            f"{path.name} is not what the tests compute: WRITE_DOCS=1 writes it"
        )
