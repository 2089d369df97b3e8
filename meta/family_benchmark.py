"""Every member of the family on MovieLens-100K: how long it trains, and what its adaptation is worth.

Run it with `python -m meta.family_benchmark`. Trained on the users of eight folds; the query loss is that of the
validation users, who also chose the epoch. The users of the fold that is left are not touched. Adaptation is compared
with the same model's unadapted start, and with a model of the same kind that was trained without steps.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from meta import splits
from meta.algorithms import Algorithm, traits_of
from meta.benchmark import SEED, load_movielens
from meta.config import TrainingConfig
from meta.dataset import Dataset, subset
from meta.protocol import Unadapted
from meta.scorer import Scorer
from meta.training import as_scorer, train
from meta.validation import validation_tasks

MOST_SECONDS = 120.0
"""That a training may take on two cores"""
FOLD = 0
"""Held out and left alone; the next one is for validation"""


class Found(NamedTuple):
    """One member: seconds of training, and nats per query item of the validation users, mean over k >= 1."""

    seconds: float
    adapted: float
    unadapted: float
    control: float | None
    """trained without steps; None for a member that takes none"""

    @property
    def holds(self) -> bool:
        """Whether adaptation pays against both, in the time allowed."""
        bound = min(self.unadapted, self.unadapted if self.control is None else self.control)
        return self.adapted < bound and self.seconds < MOST_SECONDS


def query_loss(scorer: Scorer, checking: Dataset, config: TrainingConfig) -> float:
    """Negative log-likelihood of a query item among what the user never had, mean over the checks with k >= 1."""
    found = []
    for tasks in validation_tasks(checking, config):
        if tasks.supports.support_mask.any():
            scores = np.where(tasks.hidden, -np.inf, scorer.score(tasks.supports))
            likely = torch.log_softmax(torch.from_numpy(scores), 1).numpy()
            found.append(-likely[tasks.targets].mean())
    return float(np.mean(found))


def measure(data: Dataset, config: TrainingConfig, *, validation: np.ndarray) -> Found:
    """Train one member, and its control, and take their query losses."""
    begin = time.monotonic()
    scorer = as_scorer(train(data, config, seed=SEED, validation=validation))
    seconds = time.monotonic() - begin
    checking, control = subset(data, validation), None
    if traits_of(config.algorithm).steps:
        without = config.model_copy(update={"inner_steps": 0})
        control = query_loss(as_scorer(train(data, without, seed=SEED, validation=validation)), checking, config)
    unadapted = query_loss(Unadapted(scorer, "unadapted"), checking, config)
    return Found(seconds, query_loss(scorer, checking, config), unadapted, control)


def measure_family(
    data: Dataset, algorithms: Sequence[Algorithm], *, tell: Callable[[str], None]
) -> dict[Algorithm, Found]:
    """Each with the default recipe."""
    parts = splits.folds(data.n_users, seed=SEED)
    rest = np.setdiff1d(np.arange(data.n_users), parts[FOLD])
    validation = np.flatnonzero(np.isin(rest, parts[FOLD + 1]))
    known, found = subset(data, rest), {}
    for algorithm in algorithms:
        tell(algorithm)
        found[algorithm] = measure(known, TrainingConfig(algorithm=algorithm), validation=validation)
    return found


def main() -> None:
    """Measure the whole family, some minutes, and print a table."""
    console = Console()
    with Console(stderr=True).status("reading MovieLens-100K") as status:
        found = measure_family(load_movielens(), list(Algorithm), tell=status.update)
    title = "Nats per query item of the validation users, mean over k >= 1"
    table = Table("algorithm", "seconds", "adapted", "unadapted start", "trained without steps", "", title=title)
    for algorithm, one in found.items():
        losses = [one.adapted, one.unadapted, one.control]
        cells = ["-" if loss is None else f"{loss:.4f}" for loss in losses]
        table.add_row(algorithm, f"{one.seconds:.0f}", *cells, "holds" if one.holds else "DOES NOT HOLD")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
