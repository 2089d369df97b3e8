"""What can be evaluated: anything that scores the catalog for support sets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from meta.supports import Supports


class Scorer(Protocol):
    """Scores every item for every support set; higher is better."""

    @property
    def name(self) -> str:
        """The name under which its measures are reported."""
        ...

    def score(self, supports: Supports) -> np.ndarray:
        """Scores (b, n_items) float32; masking what the user already has is the caller's business."""
        ...


@dataclass(frozen=True)
class FittedScorer:
    """A name and the function that scores."""

    name: str
    scores: Callable[[Supports], np.ndarray]

    def score(self, supports: Supports) -> np.ndarray:
        """Scores (b, n_items) float32."""
        return np.asarray(self.scores(supports), dtype=np.float32)
