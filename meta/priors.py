"""The model's prior at the times of a batch, for all items or for some."""

import numpy as np
import torch
from torch import Tensor

from meta.model import Initialization
from meta.recency import PopularityTable


class Priors:
    """A model's prior over a table of popularity."""

    def __init__(self, model: Initialization, table: PopularityTable) -> None:
        self.model, self.table = model, table
        self.device = model.bias.device
        self.log_popularity, self.log_recent = (
            torch.from_numpy(table.log_popularity).to(self.device),
            torch.from_numpy(table.log_recent).to(self.device),
        )

    def at(self, now_ms: np.ndarray, rows: Tensor | None = None) -> Tensor:
        """z (b, m) at the given times (b,) of the items `rows` (m,), of all without."""
        return self._of(torch.from_numpy(self.table.row(now_ms)), rows)

    def inside(self, now_ms: np.ndarray) -> Tensor:
        """z (b, rows) for the inner loop: of the catalog, or of the model's sample of it, lifted by its weights."""
        sample = self.model.sample
        return self.at(now_ms) if sample is None else self.at(now_ms, sample.rows) + sample.log_weights.to(self.device)

    def tables(self) -> dict[str, Tensor]:
        """What is served: `prior` (T, n_items), and `sample_prior` (T, rows) where there is a sample."""
        times, sample = torch.arange(len(self.table.times)), self.model.sample
        served = {"prior": self._of(times, None)}
        if sample is not None:
            served["sample_prior"] = served["prior"][:, sample.rows] + sample.log_weights.to(self.device)
        return served

    def _of(self, times: Tensor, rows: Tensor | None) -> Tensor:
        if rows is None:
            return self.model.prior(self.log_popularity, self.log_recent[times])
        return self.model.prior(self.log_popularity[rows], self.log_recent[times][:, :, rows], rows=rows)
