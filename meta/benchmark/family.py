"""Every member of the family: how long it trains, and what its adaptation is worth.

Trained on the users of eight folds; the query loss is that of the validation users, who also chose the epoch. The users
of the fold that is left are not touched. Adaptation is compared with the same model's unadapted start, and with a model
of the same kind that was trained without steps.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from rich.table import Table

from meta.algorithms import Algorithm, traits_of
from meta.benchmark.folds import Split
from meta.benchmark.lines import SEED, Line
from meta.benchmark.section import Findings
from meta.config import TrainingConfig
from meta.dataset import Dataset, subset
from meta.measures import Estimate
from meta.protocol import Unadapted
from meta.scorer import Scorer
from meta.training import as_scorer, train
from meta.validation import validation_tasks

MOST_SECONDS = 120.0
"""That a training may take on two cores"""


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
        return self.adapted < self.bound and self.seconds < MOST_SECONDS

    @property
    def bound(self) -> float:
        """The better of start and control."""
        return self.unadapted if self.control is None else min(self.unadapted, self.control)


def query_loss(scorer: Scorer, checking: Dataset, config: TrainingConfig) -> float:
    """Negative log-likelihood of a query item among what the user never had, mean over the checks with k >= 1."""
    found = []
    for tasks in validation_tasks(checking, config):
        if tasks.supports.support_mask.any():
            scores = np.where(tasks.hidden, -np.inf, scorer.score(tasks.supports))
            likely = torch.log_softmax(torch.from_numpy(scores), 1).numpy()
            found.append(-likely[tasks.targets].mean())
    return float(np.mean(found))


def measure_one(data: Dataset, config: TrainingConfig, *, validation: np.ndarray) -> Found:
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


def measure(split: Split) -> dict[Algorithm, Found]:
    """Each with the default recipe."""
    return {
        algorithm: measure_one(split.known, TrainingConfig(algorithm=algorithm), validation=split.stopping)
        for algorithm in Algorithm
    }


def findings(parts: Sequence[dict[Algorithm, Found]]) -> Findings:
    """A table, and a line for each member."""
    (found,) = parts
    title = "Nats per query item of the validation users, mean over k >= 1"
    table = Table("algorithm", "seconds", "adapted", "unadapted start", "trained without steps", title=title)
    for algorithm, one in found.items():
        losses = [one.adapted, one.unadapted, one.control]
        table.add_row(algorithm, f"{one.seconds:.0f}", *("-" if loss is None else f"{loss:.4f}" for loss in losses))
    return Findings([table], [judge(algorithm, one) for algorithm, one in found.items()])


def judge(algorithm: Algorithm, found: Found) -> Line:
    """What adaptation saves against the better of start and control; one number, so there is no interval."""
    saved = found.bound - found.adapted
    asked = f"family, {algorithm}: query loss that adaptation saves, in under {MOST_SECONDS:.0f} s"
    return Line(asked, Estimate(saved, saved, saved, 1), 0.0, found.holds)
