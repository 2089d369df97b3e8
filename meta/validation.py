"""How good a model is on its validation users, while it is being trained."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from meta.config import TrainingConfig
from meta.dataset import Dataset
from meta.episodes import Episodes, episodes
from meta.inner import adapt, as_support
from meta.measures import CUTOFF, ndcg_at, top_rows
from meta.model import Initialization
from meta.priors import Priors

_TIES_SEED = 0


def validation_tasks(checking: Dataset, config: TrainingConfig) -> Iterator[Episodes]:
    """Tasks of both kinds at every support size, over the users with events enough, made as they are asked for: they
    take much memory where the catalog is large."""
    begin, rated = config.fixed_query_begin, config.objective.rating
    for size in config.support_sizes:
        for query_begin in sorted({min(size, begin), begin}):
            users = np.flatnonzero(checking.lengths > query_begin)
            k = np.full(len(users), min(size, begin))
            begins = np.full(len(users), query_begin)
            tasks = episodes(checking, users, k, query_begin=begins, query_events=config.query_events, rated=rated)
            if tasks.targets.any():
                yield tasks


def validate(model: Initialization, priors: Priors, checks: Iterable[Episodes]) -> float:
    """Higher is better: nDCG@10, or minus the mean absolute error of ratings; mean over the tasks of each check, then
    over the checks; -1 where no check has a query item."""
    values = []
    with torch.no_grad():
        theta, items = model.theta(), model.items()
        for tasks in checks:
            now = tasks.supports.now_ms
            adapted = adapt(as_support(tasks.supports, at=priors.device), priors.inside(now), theta=theta, items=items)
            scores = (adapted.user_vector @ items["item_vectors"].T + priors.at(now)).cpu().numpy()
            values.append(_mean_ndcg(scores, tasks) if tasks.ratings is None else -_mean_error(scores, tasks))
    return float(np.mean(values)) if values else -1.0


def _mean_ndcg(scores: np.ndarray, tasks: Episodes) -> float:
    lists = top_rows(scores, CUTOFF, excluded=tasks.hidden, seed=_TIES_SEED)
    return float(np.nanmean(ndcg_at(lists, tasks.targets)))


def _mean_error(predicted: np.ndarray, tasks: Episodes) -> float:
    """Each user weighs the same, as in the measures."""
    asked = tasks.targets.any(axis=1)
    error = np.where(tasks.targets, np.abs(predicted - tasks.ratings), 0.0)[asked]
    return float((error.sum(axis=1) / tasks.targets[asked].sum(axis=1)).mean())
