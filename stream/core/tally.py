"""Sums of prequential observations over windows of event time, and what they say with intervals."""

from math import sqrt
from typing import NamedTuple

from stream.core.prequential import CUTOFF, Observation

WINDOW_MS = 3_600_000
WINDOWS = 168
"""A week of event time is kept, hour by hour."""
_Z = 1.96
"""Half width of a 95 % interval in standard errors."""


class Sums(NamedTuple):
    """What is added up. `gain` is the loss of the initialization less that after adaptation."""

    events: int = 0
    hits: int = 0
    reciprocal_ranks: float = 0.0
    loss: float = 0.0
    gain: float = 0.0
    gain_squares: float = 0.0

    def plus(self, other: "Sums") -> "Sums":
        """Both together."""
        return Sums(
            self.events + other.events,
            self.hits + other.hits,
            self.reciprocal_ranks + other.reciprocal_ranks,
            self.loss + other.loss,
            self.gain + other.gain,
            self.gain_squares + other.gain_squares,
        )


def sums_of(one: Observation) -> Sums:
    """The sums of a single observation."""
    gain = one.start_loss - one.loss
    return Sums(1, int(one.rank <= CUTOFF), 1 / one.rank, one.loss, gain, gain * gain)


class Tally:
    """The sums of one bundle, by the hour of event time; hours that are a week older than the newest are dropped."""

    def __init__(self) -> None:
        self._windows: dict[int, Sums] = {}

    def add(self, one: Observation) -> None:
        """Add an observation; one that is too old is left out."""
        window = one.time_ms // WINDOW_MS
        newest = max(self._windows, default=window)
        if window <= newest - WINDOWS:
            return
        self._windows[window] = self._windows.get(window, Sums()).plus(sums_of(one))
        if window > newest:
            self._windows = {at: sums for at, sums in self._windows.items() if at > window - WINDOWS}

    def windows(self) -> list[tuple[int, Sums]]:
        """(Begin in epoch ms, sums) of each hour with observations, oldest first."""
        return [(at * WINDOW_MS, sums) for at, sums in sorted(self._windows.copy().items())]

    def total(self) -> Sums:
        """The sums over all that is kept."""
        total = Sums()
        for sums in self._windows.copy().values():  # another thread may add
            total = total.plus(sums)
        return total


def summarize(total: Sums) -> dict[str, float]:
    """Means, and 95 % intervals of the hit rate (Wilson) and of the gain; empty without any event.

    Events of one user are not independent, so that the intervals are somewhat too narrow.
    """
    if not total.events:
        return {}
    n, gain = total.events, total.gain / total.events
    low, high = wilson(total.hits, n)
    spread = _Z * sqrt(max(0.0, total.gain_squares / n - gain * gain) / n)
    return {
        "events": float(n),
        "hit_rate": total.hits / n,
        "hit_rate_low": low,
        "hit_rate_high": high,
        "reciprocal_rank": total.reciprocal_ranks / n,
        "loss": total.loss / n,
        "gain": gain,
        "gain_low": gain - spread,
        "gain_high": gain + spread,
    }


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, J. Am. Stat. Assoc. 22, 1927), which keeps within [0, 1]."""
    share, scale = hits / n, 1 + _Z * _Z / n
    center = share + _Z * _Z / (2 * n)
    spread = _Z * sqrt(share * (1 - share) / n + _Z * _Z / (4 * n * n))
    return max(0.0, (center - spread) / scale), min(1.0, (center + spread) / scale)
