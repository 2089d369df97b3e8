"""The rates as one self-contained SVG: a bar for each median, on a logarithmic scale, with least and greatest."""

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10

from stream.bench.figures import DESCRIBED, WORKERS, Run, Variant, spread

_WIDTH, _LEFT, _RIGHT = 900, 290, 110
_ROW, _TOP, _BAR = 40, 56, 20
_OURS, _OTHERS, _INK = "#1f6feb", "#9aa4b2", "#24292f"


def as_svg(runs: Sequence[Run], title: str) -> str:
    """Events a second of each program that ran. Raises ValueError without runs."""
    rates = {
        variant: spread(run.events_per_s for run in runs if run.variant is variant)
        for variant in Variant
        if any(run.variant is variant for run in runs)
    }
    lowest = floor(log10(min(rate.low for rate in rates.values())))
    highest = max(lowest + 1, ceil(log10(max(rate.high for rate in rates.values()))))
    height = _TOP + _ROW * len(rates) + 34

    def x(rate: float) -> float:
        return _LEFT + (log10(rate) - lowest) / (highest - lowest) * (_WIDTH - _LEFT - _RIGHT)

    parts = [_text(20, 26, title, size=15)]
    for power in range(lowest, highest + 1):
        at = x(10**power)
        parts.append(f'<path d="M{at:.1f} {_TOP - 8}V{height - 28}" stroke="#d8dee4"/>')
        parts.append(_text(at, height - 10, f"{10**power:,}", anchor="middle"))
    for number, (variant, rate) in enumerate(rates.items()):
        top = _TOP + number * _ROW
        middle = top + _BAR / 2
        fill = _OURS if variant in WORKERS else _OTHERS
        width = x(rate.median) - _LEFT
        parts.append(_text(_LEFT - 10, middle + 4, DESCRIBED[variant], anchor="end"))
        parts.append(f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{fill}"/>')
        parts.append(f'<path d="M{x(rate.low):.1f} {middle}H{x(rate.high):.1f}" stroke="{_INK}" stroke-width="2"/>')
        parts.append(_text(max(x(rate.high), x(rate.median)) + 8, middle + 4, f"{rate.median:,.0f} events/s"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{_INK}">{escape(text)}</text>'
    )
