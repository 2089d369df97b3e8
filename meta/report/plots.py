"""Charts as inline SVG. Colors are CSS classes, so that a page can be light or dark; every mark has a `<title>`.

Lines differ in dash as well as in color, so that nobody has to tell colors apart.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 14, 46
N_COLORS = 8
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4", "12 4", "1 4", "6 2 1 2")


class Series(NamedTuple):
    """A line with a band: y, and the ends of its interval (equal to y where there is none)."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


class Axis(NamedTuple):
    """From values to pixels."""

    low: float
    high: float
    first: float
    last: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value."""
        low, high, value = (math.log10(v) if self.logarithmic else v for v in (self.low, self.high, value))
        return self.first + (value - low) / ((high - low) or 1.0) * (self.last - self.first)

    def ticks(self) -> list[float]:
        """Round values; on a logarithmic axis 1, 2 and 5 of each power of ten."""
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            ticks = [part * 10.0**power for power in powers for part in (1, 2, 5)]
            return [tick for tick in ticks if self.low <= tick <= self.high]
        step = 10 ** math.floor(math.log10((self.high - self.low) or 1.0))
        step *= next((part for part in (0.1, 0.2, 0.5, 1.0) if (self.high - self.low) / (step * part) <= 7), 1.0)
        count = math.floor(self.high / step + 1e-9)
        return [step * tick for tick in range(math.ceil(self.low / step - 1e-9), count + 1)]


def lines(series: Sequence[Series], *, label: str, x_label: str, y_label: str, even: bool = True) -> str:
    """A line chart with bands. With `even` the x values stand at equal distances: k = 0, 1, 2, 3, 5, 10, 20."""
    places = sorted({x for each in series for x in each.x})
    spots = {x: float(place) if even else x for place, x in enumerate(places)}
    values = [value for each in series for value in (*each.low, *each.high, *each.y)]
    margin = 0.05 * (max(values) - min(values) or 1.0)
    across = Axis(min(spots.values()), max(spots.values()), LEFT + 14, WIDTH - RIGHT - 14)
    up = Axis(min(values) - margin, max(values) + margin, HEIGHT - BOTTOM, TOP)
    x_ticks = {f"{x:g}": across.at(spot) for x, spot in spots.items()} if even else _named(across)
    parts = [_frame(x_ticks, _named(up), x_label=x_label, y_label=y_label)]
    for index, each in enumerate(series):
        at = [across.at(spots[x]) for x in each.x]
        edge = [*zip(at, map(up.at, each.low), strict=True), *reversed([*zip(at, map(up.at, each.high), strict=True)])]
        parts.append(f'<polygon class="band c{index % N_COLORS}" points="{_points(edge)}"/>')
        line = _points(zip(at, map(up.at, each.y), strict=True))
        dash = DASHES[index % len(DASHES)]
        parts.append(f'<polyline class="line c{index % N_COLORS}" stroke-dasharray="{dash}" points="{line}"/>')
        for x, y, low, high in zip(each.x, each.y, each.low, each.high, strict=True):
            title = f"{each.name}, {x_label} {x:g}: {y:.3f}" + (f" [{low:.3f} to {high:.3f}]" if low < high else "")
            parts.append(_dot(across.at(spots[x]), up.at(y), 3, index, title))
    return _svg(parts, label) + legend([each.name for each in series])


def diagonal(points: Sequence[tuple[float, float, int]], *, label: str, x_label: str, y_label: str) -> str:
    """Points (x, y, n) on logarithmic axes beside the line on which both are equal; what is 0 is left out."""
    kept = [point for point in points if point[0] > 0 and point[1] > 0]
    if not kept:
        return "<p>Nothing to show: no query item in any bin.</p>"
    values = [value for x, y, _ in kept for value in (x, y)]
    low, high = min(values) / 1.5, max(values) * 1.5
    across = Axis(low, high, LEFT + 14, WIDTH - RIGHT - 14, logarithmic=True)
    up = Axis(low, high, HEIGHT - BOTTOM, TOP, logarithmic=True)
    parts = [_frame(_named(across), _named(up), x_label=x_label, y_label=y_label)]
    ends = ((across.at(value), up.at(value)) for value in (low, high))
    parts.append(f'<polyline class="even" points="{_points(ends)}"/>')
    parts.append(f'<polyline class="line c0" points="{_points((across.at(x), up.at(y)) for x, y, _ in kept)}"/>')
    for x, y, n in kept:
        parts.append(_dot(across.at(x), up.at(y), 4, 0, f"expected {x:.4f}, observed {y:.4f}, {n} candidates"))
    return _svg(parts, label)


def dots(points: Sequence[tuple[float, float, str, str]], groups: Sequence[str], *, label: str) -> str:
    """A map of points (x, y, title, group) without axes; what is in none of the groups is gray."""
    index_of: Mapping[str, int] = {group: index for index, group in enumerate(groups)}
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    across, up = Axis(min(xs), max(xs), 14, WIDTH - 14), Axis(min(ys), max(ys), HEIGHT + 100, 14)
    # Gray first, so that the named groups lie on top.
    drawn = sorted(points, key=lambda point: point[3] in index_of)
    parts = [_dot(across.at(x), up.at(y), 3.2, index_of.get(group), title) for x, y, title, group in drawn]
    return _svg(parts, label, height=HEIGHT + 114) + legend(groups, dashed=False)


def legend(names: Sequence[str], *, dashed: bool = True) -> str:
    """What the colors and dashes mean."""
    entries = []
    for index, name in enumerate(names):
        color = f"c{index % N_COLORS}"
        dash = DASHES[index % len(DASHES)]
        line = f'<line class="line {color}" stroke-dasharray="{dash}" x1="1" y1="7" x2="33" y2="7"/>'
        mark = line if dashed else f'<circle class="dot {color}" cx="17" cy="7" r="5"/>'
        entries.append(f'<li><svg class="key" viewBox="0 0 34 14" aria-hidden="true">{mark}</svg>{escape(name)}</li>')
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _frame(x_ticks: Mapping[str, float], y_ticks: Mapping[str, float], *, x_label: str, y_label: str) -> str:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [f'<line class="axis" x1="{LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}"/>']
    for name, y in y_ticks.items():
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{name}</text>')
    for name, x in x_ticks.items():
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{name}</text>')
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
    middle = (TOP + bottom) / 2
    parts.append(f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>')
    return "".join(parts)


def _named(axis: Axis) -> dict[str, float]:
    return {f"{tick:.10g}": axis.at(tick) for tick in axis.ticks()}


def _dot(x: float, y: float, radius: float, color: int | None, title: str) -> str:
    name = "none" if color is None else f"c{color % N_COLORS}"
    return f'<circle class="dot {name}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{escape(title)}</title></circle>'


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _svg(parts: Sequence[str], label: str, *, height: int = HEIGHT) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
