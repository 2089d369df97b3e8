"""Which items of a large catalog stand for all of it in a softmax, and which serve as negatives."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Sample(NamedTuple):
    """Catalog rows, with repetition, that stand for all of the catalog in a sum of exponentials."""

    rows: Tensor
    """(m,) int64"""
    log_weights: Tensor
    """(m,) float32: minus the log of how often the row was to be expected among the m"""


class Proposal(NamedTuple):
    """A distribution over the catalog to draw from: half the items' shares of the events, half uniform, so that no
    item's importance weight is large."""

    shares: np.ndarray
    """(n_items,) float64, sums to 1"""

    def draw(self, n: int, rng: np.random.Generator) -> Sample:
        """n rows with replacement, and minus the log of the expected number of each: a sum of exponentials over the
        sample, each lifted by that, is unbiased for the sum over the catalog (the logQ correction of Bengio and
        Senecal, Adaptive importance sampling to accelerate training of a neural probabilistic language model, 2008)."""
        rows = rng.choice(len(self.shares), n, p=self.shares)
        return Sample(torch.from_numpy(rows), torch.from_numpy(-np.log(n * self.shares[rows])).float())


def proposal(counts: np.ndarray) -> Proposal:
    """The proposal for items with so many events (n_items,)."""
    return Proposal((counts / max(1.0, counts.sum()) + 1.0 / len(counts)) / (2.0 if counts.any() else 1.0))


class Columns(NamedTuple):
    """The part of the catalog over which a batch's outer loss is taken: m items for b tasks."""

    rows: Tensor | None
    """(m,) int64, None for the whole catalog in order"""
    log_weights: Tensor
    """(m,) to be added to a score in a sum of exponentials; 0 where an item stands for itself"""
    targets: Tensor
    """(b, m) bool"""
    excluded: Tensor
    """(b, m) bool: what the user had before, and what stands in another column"""

    def to(self, device: torch.device) -> "Columns":
        """The same on a device."""
        rows = None if self.rows is None else self.rows.to(device)
        return Columns(rows, self.log_weights.to(device), self.targets.to(device), self.excluded.to(device))


def whole_catalog(targets: np.ndarray, hidden: np.ndarray) -> Columns:
    """Every item stands for itself; both arguments (b, n_items) bool."""
    return Columns(None, torch.zeros(targets.shape[1]), torch.from_numpy(targets), torch.from_numpy(hidden))


def sampled_catalog(targets: np.ndarray, hidden: np.ndarray, sample: Sample) -> Columns:
    """The targets of the batch, each exact and for its own tasks only, and a sample that stands for all other items."""
    wanted = np.flatnonzero(targets.any(axis=0))
    drawn = sample.rows.numpy()
    own = targets[:, wanted]
    return Columns(
        torch.cat([torch.from_numpy(wanted), sample.rows]),
        torch.cat([torch.zeros(len(wanted)), sample.log_weights]),
        torch.from_numpy(np.concatenate([own, np.zeros((len(own), len(drawn)), dtype=bool)], axis=1)),
        torch.from_numpy(np.concatenate([~own, (targets | hidden)[:, drawn]], axis=1)),
    )
