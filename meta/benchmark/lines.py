"""Lines of the acceptance: what is asked for, what was found, and whether it holds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rich.table import Table

from meta.measures import Estimate, bootstrap_mean

SEED = 0
"""Of the splits, the trainings, ties and the bootstrap"""


class Line(NamedTuple):
    """One line."""

    asked: str
    found: Estimate
    bound: float
    holds: bool


def reaches(asked: str, values: np.ndarray, level: float) -> Line:
    """The mean of one value per user reaches a level."""
    found = bootstrap_mean(values, seed=SEED)
    return Line(asked, found, level, found.mean >= level)


def above(asked: str, differences: np.ndarray, bound: float = 0.0) -> Line:
    """The interval of the mean of paired differences, one per user, is above a bound."""
    found = bootstrap_mean(differences, seed=SEED)
    return Line(asked, found, bound, found.low > bound)


def loses_nothing(asked: str, differences: np.ndarray) -> Line:
    """No loss can be told from none: the interval of the mean of paired differences, one per user, reaches 0."""
    found = bootstrap_mean(differences, seed=SEED)
    return Line(asked, found, 0.0, found.high >= 0)


def as_table(lines: Sequence[Line]) -> Table:
    """All lines, with how many hold above them."""
    title = f"{sum(line.holds for line in lines)} of {len(lines)} lines hold"
    table = Table("line", "found", "95 % interval", "asked", "", title=title)
    for asked, found, bound, holds in lines:
        interval = f"{found.low:+.3f} to {found.high:+.3f}"
        table.add_row(asked, f"{found.mean:+.3f}", interval, f"{bound:+.3f}", "holds" if holds else "DOES NOT HOLD")
    return table
