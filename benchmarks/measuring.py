"""Runs in turns, medians, tables and records: what the subjects share."""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Generic, ParamSpec, TypedDict, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Figures = Mapping[str, float]
"""What one run of a contender gave, by the name of the measure."""

_SPAWN = multiprocessing.get_context("spawn")
_MIB = 1 << 20 if sys.platform == "darwin" else 1 << 10  # the unit of ru_maxrss is bytes there, KiB elsewhere


class Record(TypedDict):
    """A figure of ``build/bench.json``, which says of which ``subject`` it is, besides.

    ``against`` is the name of the record that ``ratio`` divides by; both are None for the baseline itself.
    """

    name: str
    value: float
    unit: str
    against: str | None
    ratio: float | None


@dataclass(frozen=True)
class Comparison:
    """The medians, or least times, of contenders that took turns; the first is the baseline of the others.

    ``units`` names the measures, in the order of the columns; a contender may lack one.
    """

    title: str
    units: Mapping[str, str]
    medians: Mapping[str, Figures]
    note: str = ""

    def records(self) -> list[Record]:
        """List the figures, each with what it is compared with."""
        return [
            {
                "name": self._name(contender, measure),
                "value": figures[measure],
                "unit": unit,
                "against": None if ratio is None else self._name(self._baseline, measure),
                "ratio": ratio,
            }
            for contender, figures in self.medians.items()
            for measure, unit in self.units.items()
            if measure in figures
            for ratio in [self._ratio(contender, measure)]
        ]

    def table(self) -> str:
        """Show a line a contender; each figure with its ratio to the baseline's."""
        head = [self.title, *(f"{measure} [{unit}]" for measure, unit in self.units.items())]
        lines = [
            [contender, *(self._cell(contender, measure) for measure in self.units)] for contender in self.medians
        ]
        widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
        aligned = [
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in (head, *lines)
        ]
        return "\n".join([aligned[0], "-" * len(aligned[0]), *aligned[1:], *([self.note] if self.note else [])])

    @property
    def _baseline(self) -> str:
        return next(iter(self.medians))

    def _name(self, contender: str, measure: str) -> str:
        return f"{self.title}: {contender}, {measure}"

    def _ratio(self, contender: str, measure: str) -> float | None:
        base = self.medians[self._baseline].get(measure)
        return None if contender == self._baseline or not base else self.medians[contender][measure] / base

    def _cell(self, contender: str, measure: str) -> str:
        value = self.medians[contender].get(measure)
        if value is None:
            return ""
        ratio = self._ratio(contender, measure)
        return f"{_short(value)} {'':>7}" if ratio is None else f"{_short(value)} {f'x {ratio:.2f}':>7}"


def compare(
    title: str,
    units: Mapping[str, str],
    contenders: Mapping[str, Callable[[], Figures]],
    *,
    runs: int,
    note: str = "",
    least: bool = False,
) -> Comparison:
    """Let the contenders take turns, ``runs`` times, so that what the machine does meanwhile meets them all.

    With ``least`` the least times count: for what is made slower by chance, and never faster.
    """
    taken: dict[str, list[Figures]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, contender in contenders.items():
            taken[name].append(contender())
    medians = {name: median(figures, least=least) for name, figures in taken.items()}
    how = f"The least times of {runs} runs." if least else f"Medians of {runs}."
    return Comparison(title, units, medians, " ".join(filter(None, (how, note))))


def median(taken: Sequence[Figures], *, least: bool = False) -> Figures:
    """Take the median of each measure by itself, or of the times the least."""
    return {
        measure: (min if least and measure in ("cpu", "wall") else statistics.median)(
            figures[measure] for figures in taken
        )
        for measure in taken[0]
    }


def cost(work: Callable[[], object], *, children: bool = False) -> Figures:
    """Do some work and tell its ``cpu`` and ``wall`` seconds, and by how many MiB the peak of ``memory`` rose.

    With ``children`` the CPU is that of the commands that the work runs, of whose memory nothing is known.
    """
    whose = resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF
    before, started = resource.getrusage(whose), time.perf_counter()
    work()
    wall, after = time.perf_counter() - started, resource.getrusage(whose)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    memory = {} if children else {"memory": (after.ru_maxrss - before.ru_maxrss) / _MIB}
    return {"cpu": cpu, "wall": wall, **memory}


def peak_memory() -> float:
    """Return the peak of this process's memory so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB


def command(*words: str) -> None:
    """Run a command to its end; what it says is heard only when it fails, in a RuntimeError."""
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{words[0]} failed: {done.stderr.strip()}")


def fresh(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a Python of its own, where nothing is loaded and no memory was used before."""
    with ProcessPoolExecutor(1, mp_context=_SPAWN) as pool:
        return pool.submit(function, *args, **kwargs).result()


class Server(Generic[T]):
    """A process that serves; ``facts`` is what it told of itself."""

    def __init__(self, facts: T, pipe: Connection) -> None:
        self.facts = facts
        self._pipe = pipe

    def usage(self) -> Figures:
        """Return the process's ``cpu`` seconds so far and the peak of its ``memory`` in MiB."""
        self._pipe.send("usage")
        used: Figures = self._pipe.recv()
        return used


@contextmanager
def serving(
    serve: Callable[P, AbstractContextManager[T]], *args: P.args, **kwargs: P.kwargs
) -> Iterator[Server[T]]:
    """Enter a server's context in a process of its own, so that clients are measured without it."""
    ours, theirs = multiprocessing.Pipe()
    process = _SPAWN.Process(target=_serve, args=(theirs, serve, args, kwargs))
    process.start()
    theirs.close()  # so that a server that fails to start ends the wait for it
    try:
        yield Server(ours.recv(), ours)
    finally:
        ours.close()
        process.join()


def _serve(
    pipe: Connection,
    serve: Callable[..., AbstractContextManager[object]],
    args: Sequence[object],
    kwargs: Mapping[str, object],
) -> None:
    with serve(*args, **kwargs) as facts:
        pipe.send(facts)
        while True:
            try:
                pipe.recv()
            except EOFError:
                return
            used = resource.getrusage(resource.RUSAGE_SELF)
            pipe.send({"cpu": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss / _MIB})


def _short(value: float) -> str:
    """Show three digits or more of a figure, as its size has it."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}" if abs(value) >= 1 else f"{value:.3f}"
