"""Notices that a stream of measures has risen for good."""

from dataclasses import dataclass
from math import sqrt

SLACK = 0.1
"""In standard deviations: a rise of the mean by less is no drift."""
THRESHOLD = 80.0
"""Of the accumulated rise, in standard deviations: the mean has risen by x of them for 80 / (x - SLACK) values."""
LEARN_FIRST = 300
"""Values that tell what is usual before anything can be unusual."""


@dataclass(slots=True)
class PageHinkley:
    """The Page-Hinkley test for a rising mean (Page, Biometrika 41, 1954; Hinkley, Biometrika 58, 1971).

    Each value is compared with the mean and the deviation of all before it, its excess over SLACK is added up, and an
    alarm is raised when the sum lies THRESHOLD above its lowest point. After an alarm it learns anew. Deterministic.
    """

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    rise: float = 0.0
    """The sum less its lowest point."""

    def add(self, value: float) -> bool:
        """Take the next value; True where the stream has risen."""
        if self.n >= LEARN_FIRST:
            deviation = sqrt(self.squares / self.n)
            excess = (value - self.mean) / deviation if deviation > 0 else 0.0
            self.rise = max(0.0, self.rise + excess - SLACK)
            if self.rise > THRESHOLD:
                self.n, self.mean, self.squares, self.rise = 0, 0.0, 0.0, 0.0
                return True
        self.n += 1  # Welford's running mean and sum of squares
        delta = value - self.mean
        self.mean += delta / self.n
        self.squares += delta * (value - self.mean)
        return False
