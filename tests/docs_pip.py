"""``pip install`` as the docs have it, without a network: looks whether what it names is there to be installed."""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def unknown(words: list[str]) -> list[str]:
    """Return what of a command can't be installed: an extra that is not ours, a package that is not pinned."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = set(setup["options.extras_require"])
    pinned = {
        line.partition("==")[0].lower()
        for path in ROOT.glob("constraints/*.txt")
        for line in path.read_text().splitlines()
    }
    wrong = []
    command, *rest = words
    if command != "install":
        wrong.append(command)
    while rest:
        word = rest.pop(0)
        if word in ("-c", "--constraint"):
            wrong += [path for path in [rest.pop(0)] if not (ROOT / path).exists()]
            continue
        name, _, extra = word.rstrip("]").partition("[")
        if name == ".":
            wrong += [it for it in filter(None, extra.split(",")) if it not in extras]
        elif re.split("[<>=!]", name)[0].lower() not in pinned:
            wrong.append(word)
    return wrong


if __name__ == "__main__":
    if not_there := unknown(sys.argv[1:]):
        sys.exit(f"pip can't install {', '.join(not_there)}")
