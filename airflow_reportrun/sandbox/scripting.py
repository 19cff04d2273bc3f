"""Faults as text, for the command line and for other processes: ``RateLimited(reason='global-rate')*3@list``."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from . import faults, wire
from .faults import Fault

_TEXT = re.compile(r"(?P<name>\w+)(?P<arguments>\(.*\))?(\*(?P<times>\d+))?(@(?P<on>.+))?", re.DOTALL)

_FAULTS: dict[str, type[Fault]] = {
    name: value
    for module in (faults, wire)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, Fault) and not value.__subclasses__()
}


@dataclass(frozen=True, slots=True)
class Scripted:
    """What `StripeSandbox.inject` takes."""

    fault: Fault
    times: int
    on: str | None


def parse(text: str) -> Scripted:
    """Read a fault: its name, then its fields in brackets, ``*`` and how often, ``@`` and the operation.

    Only the name is needed; fields are Python literals. Raises ValueError for anything else.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None or match["name"] not in _FAULTS:
        raise ValueError(f"{text!r} is no fault; there are {', '.join(sorted(_FAULTS))}")
    try:
        call = ast.parse(f"f{match['arguments'] or '()'}", mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError("there is something behind the brackets")
        fields = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
        fault = _FAULTS[match["name"]](*map(ast.literal_eval, call.args), **fields)
    except (SyntaxError, ValueError, TypeError) as error:
        raise ValueError(f"{text!r} can't be read: {error}") from None
    return Scripted(fault, int(match["times"] or 1), match["on"])
