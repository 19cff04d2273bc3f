"""Pictures of intervals in the docs, drawn to scale from instants: SVG that is read on light and on dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape

WIDTH, LEFT, LANE, BAR = 760, 10, 26, 20


@dataclass(frozen=True)
class Line:
    """A line of a picture: a title, and bars of what is reported on, or points where there is nothing.

    :param bars: from, to, and what is written there; bars that overlap are drawn below each other.
    """

    title: str
    bars: Sequence[tuple[datetime, datetime, str]] = ()
    points: Sequence[tuple[datetime, str]] = ()


@dataclass
class _Drawing:
    begin: datetime
    end: datetime
    parts: list[str] = field(default_factory=list)
    y: int = 34

    def x(self, moment: datetime) -> float:
        share = (moment - self.begin) / (self.end - self.begin)
        return round(LEFT + share * (WIDTH - 2 * LEFT), 1)

    def text(self, x: float, y: int, words: str, *, of: str = "words", anchor: str = "start") -> None:
        self.parts.append(f'<text class="{of}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>')

    def line(self, line: Line) -> None:
        self.text(LEFT, self.y + 14, line.title)
        lanes: list[datetime] = []
        for start, end, words in line.bars:
            lane = next((n for n, free in enumerate(lanes) if free <= start), len(lanes))
            lanes[lane : lane + 1] = [end]
            x, y = self.x(start), self.y + 22 + lane * LANE
            width = round(self.x(end) - x, 1)
            self.parts.append(f'<rect class="bar" x="{x}" y="{y}" width="{width}" height="{BAR}" rx="2"/>')
            self.text(round(x + width / 2, 1), y + 14, words, of="inside", anchor="middle")
        for moment, words in line.points:
            x, y = self.x(moment), self.y + 32
            self.parts.append(f'<path class="point" d="M{x} {y - 8}l8 8l-8 8l-8 -8z"/>')
            self.text(x, self.y + 14, words, of="axis", anchor="middle")
        self.y += 34 + LANE * max(len(lanes), 1)


def timeline(
    about: str, ends: tuple[datetime, datetime], ticks: Sequence[tuple[datetime, str]], lines: Sequence[Line]
) -> str:
    """Return an SVG of lines between two ends, below an axis on which ticks are written."""
    drawing, axis = _Drawing(*ends), _Drawing(*ends)
    for line in lines:
        drawing.line(line)
    for moment, words in ticks:
        x = axis.x(moment)
        axis.text(x, 16, words, of="axis", anchor="middle")
        axis.parts.append(f'<path class="tick" d="M{x} 22V{drawing.y}"/>')
    style = (
        "text{font:13px sans-serif;fill:#7b8190}.axis{font-size:11px}.inside{fill:#fff;font-size:12px}"
        ".bar{fill:#5160c4;stroke:#8f9be8}.point{fill:#d9822b}.tick{stroke:#9aa0ad;stroke-dasharray:2 3}"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {drawing.y + 6}" role="img">',
            f"<title>{escape(about)}</title>",
            f"<style>{style}</style>",
            *axis.parts,
            *drawing.parts,
            "</svg>\n",
        ]
    )
