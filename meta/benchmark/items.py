"""New items from the first few users who had them: who comes next?

A tenth of the items is held out, the next tenth is for early stopping, the rest is for training; users are the training
users of the split. Query: users after an item's 10th, at every k; the first ten are hidden at every k.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.table import Table

from meta.baselines import fit_popularity, fit_recency
from meta.benchmark.folds import Split
from meta.benchmark.lines import SEED, Line, above
from meta.benchmark.section import Findings
from meta.config import TrainingConfig
from meta.dataset import Dataset, subset
from meta.episodes import episodes
from meta.measures import CUTOFF, auc, bootstrap_mean, ndcg_at, top_rows
from meta.protocol import Unadapted
from meta.scorer import Scorer
from meta.splits import folds
from meta.tasks import item_tasks
from meta.training import as_scorer, train

KS = (0, 1, 3, 5, 10)
LEAST_EVENTS = 20
"""Of a held-out item"""
LEARNED, CONTENT, ACTIVITY, LATELY = "fewstep", "content only", "activity", "recent activity"
RECIPE = TrainingConfig(support_sizes=KS, long_support_sizes=(20,), fixed_query_begin=KS[-1])
Measured = Mapping[str, np.ndarray]
"""By scorer (n_items, 2, len(KS)): AUC over all users, and nDCG@10"""


def measure(split: Split, config: TrainingConfig = RECIPE) -> Measured:
    """The learner, its start from the content alone, and how active users are, on the held-out items of a split."""
    tasks = item_tasks(split.known)
    parts = folds(tasks.n_users, seed=SEED)
    rest = np.setdiff1d(np.arange(tasks.n_users), parts[split.fold])
    stopping = np.flatnonzero(np.isin(rest, parts[(split.fold + 1) % len(parts)]))
    known, held_out = subset(tasks, rest), subset(tasks, np.sort(parts[split.fold]))
    learned = as_scorer(train(known, config, seed=SEED, validation=stopping))
    scorers = {
        LEARNED: learned,
        CONTENT: Unadapted(learned, CONTENT),
        ACTIVITY: fit_popularity(known),
        LATELY: fit_recency(known),
    }
    return {name: _measured(scorer, held_out) for name, scorer in scorers.items()}


def _measured(scorer: Scorer, held_out: Dataset) -> np.ndarray:
    rows = np.flatnonzero(held_out.lengths >= LEAST_EVENTS)
    found = np.empty((len(rows), 2, len(KS)))
    begin = np.full(len(rows), KS[-1])
    for column, k in enumerate(KS):
        asked = episodes(held_out, rows, np.full(len(rows), k), query_begin=begin)
        scores = scorer.score(asked.supports)
        found[:, 0, column] = auc(scores, asked.targets, ~asked.hidden)
        lists = top_rows(scores, CUTOFF, excluded=asked.hidden, seed=SEED)
        found[:, 1, column] = ndcg_at(lists, asked.targets)
    return found


def findings(parts: Sequence[Measured]) -> Findings:
    """A table for either measure, and lines at every k >= 1."""
    pooled = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    tables = [_table(f"{name} of an item's later users", pooled, at) for at, name in enumerate(("AUC", "nDCG@10"))]
    return Findings(tables, judge(pooled))


def judge(pooled: Measured) -> list[Line]:
    """Adapted against its content alone and against how active users are."""
    return [
        above(f"new items, k={k}: AUC minus {other}", (pooled[LEARNED] - pooled[other])[:, 0, column])
        for column, k in enumerate(KS)
        for other in (CONTENT, ACTIVITY)
        if k
    ]


def _table(title: str, pooled: Measured, at: int) -> Table:
    table = Table("", *(f"k={k}" for k in KS), title=f"{title}, {len(pooled[LEARNED])} items")
    for name, values in pooled.items():
        means = (bootstrap_mean(values[:, at, column], seed=SEED) for column in range(len(KS)))
        table.add_row(name, *(f"{each.mean:.3f} +-{(each.high - each.low) / 2:.3f}" for each in means))
    return table
