"""The outer loop: learn the initialization, the step sizes and the item vectors from many users' tasks."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from meta.baselines import FittedScorer
from meta.config import TrainingConfig
from meta.content import content_matrix
from meta.dataset import Dataset, subset
from meta.episodes import Episodes, draw, episodes
from meta.inner import Support, Tensors, adapt
from meta.measures import CUTOFF, ndcg_at, top_rows
from meta.model import Initialization, detached
from meta.recency import PopularityTable, popularity_table
from meta.scorer import Scorer
from meta.supports import Supports
from schemas.errors import DataError

_TIES_SEED = 0
_NO_CANDIDATE = -1e9
"""Score of a hidden item in the loss; infinity would give NaN for a user who had the whole catalog."""

Progress = Callable[[int, float | None], None]
"""Called after each epoch with its number from 1 on, and the validation measure where it was taken."""


class Trained(NamedTuple):
    """What is exported: the served tensors of the best epoch, and how they came about."""

    theta: Tensors
    items: Tensors
    """`item_vectors`, `item_keys` (n_items, d) and `prior` (T, n_items)"""
    prior_times: np.ndarray
    """(T,) int64, epoch ms"""
    best_epoch: int
    best_ndcg: float
    """nDCG@10 on the validation users, mean over both kinds of tasks and the support sizes"""
    training_users: np.ndarray
    validation_users: np.ndarray


def split_users(dataset: Dataset, share: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the training users and of the validation users: a seeded share of those with a query to ask.

    Raises DataError where fewer than two users have at least two events.
    """
    able = np.flatnonzero(dataset.lengths >= 2)
    if len(able) < 2:
        raise DataError(f"{len(able)} users have two events or more; two such users are the least to learn from")
    shuffled = np.random.default_rng(seed).permutation(able)
    count = min(max(1, round(share * len(able))), len(able) - 1)
    return np.sort(shuffled[count:]), np.sort(shuffled[:count])


def train(
    dataset: Dataset,
    config: TrainingConfig,
    *,
    seed: int,
    validation: np.ndarray | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Run the outer loop; equal arguments give equal tensors on one machine with one number of threads.

    `validation` are the rows of the validation users; without it they are a seeded share.
    Raises DataError where the interactions are too few to learn from.
    """
    if validation is None:
        training, validation = split_users(dataset, config.validation_share, seed=seed)
    else:
        training = np.setdiff1d(np.flatnonzero(dataset.lengths >= 2), validation)
    learning, checking = subset(dataset, training), subset(dataset, validation)
    table = popularity_table(learning, taus_days=config.taus_days, max_rows=config.prior_rows)
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout draws from the global generator
        model = Initialization(
            config,
            torch.from_numpy(content_matrix(dataset.items)),
            n_user_features=dataset.user_matrix.shape[1],
            n_kinds=len(dataset.kinds),
            generator=torch.Generator().manual_seed(seed),
        )
        best = _outer_loop(model, _Priors(model, table), learning, checking, config, rng, progress)
    with torch.no_grad():
        items = detached(model.items() | {"prior": _Priors(model, table).all()})
        return Trained(detached(model.theta()), items, table.times, *best, training, validation)


class _Priors:
    """The model's prior at the times of the table."""

    def __init__(self, model: Initialization, table: PopularityTable) -> None:
        self.model, self.table = model, table
        self.log_popularity, self.log_recent = (
            torch.from_numpy(table.log_popularity),
            torch.from_numpy(table.log_recent),
        )

    def at(self, now_ms: np.ndarray) -> Tensor:
        """Rows (b, n_items) that hold at the given times."""
        return self.model.prior(self.log_popularity, self.log_recent[torch.from_numpy(self.table.row(now_ms))])

    def all(self) -> Tensor:
        """The whole table (T, n_items)."""
        return self.model.prior(self.log_popularity, self.log_recent)


def _outer_loop(
    model: Initialization,
    priors: _Priors,
    learning: Dataset,
    checking: Dataset,
    config: TrainingConfig,
    rng: np.random.Generator,
    progress: Progress | None,
) -> tuple[int, float]:
    """Train in place, leave the parameters of the best epoch in the model; returns (epoch, nDCG@10) of it."""
    optimizer = _optimizer(model, config)
    batches = -(-learning.n_users // config.batch_users)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs * batches)
    checks = validation_tasks(checking, config)
    best, state = (0, -1.0), model.state_dict()
    for epoch in range(1, config.epochs + 1):
        for users in np.array_split(rng.permutation(learning.n_users), batches):
            tasks = draw(learning, users, config, rng)
            optimizer.zero_grad()
            loss = outer_loss(model, priors.at(tasks.supports.now_ms), tasks, config)
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        measure = None
        if epoch % config.validate_every == 0 or epoch == config.epochs:
            measure = _validate(model, priors, checks)
            if measure >= best[1]:
                best, state = (epoch, measure), copy.deepcopy(model.state_dict())
        if progress is not None:
            progress(epoch, measure)
    model.load_state_dict(state)
    return best


def _optimizer(model: Initialization, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW with a weight decay and a learning rate for each kind of parameter."""
    groups: list[dict[str, Any]] = [
        {"params": model.embeddings(), "weight_decay": config.weight_decay},
        {"params": [model.user_weights], "weight_decay": config.user_weight_decay},
        {"params": model.inner_parameters(), "lr": config.learning_rate * config.inner_rate_factor},
    ]
    grouped = {id(parameter) for group in groups for parameter in group["params"]}
    groups.append({"params": [parameter for parameter in model.parameters() if id(parameter) not in grouped]})
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=0.0)


def outer_loss(model: Initialization, prior: Tensor, tasks: Episodes, config: TrainingConfig) -> Tensor:
    """Negative log-likelihood per query item: softmax over the whole catalog less the hidden items.

    In a share of the loss the user's other query items are left out of the softmax too: a list may hold them all.
    Every query item of the batch weighs the same; a mean per user first would let users with one item dominate.
    """
    items = model.items()
    adapted = adapt(
        as_support(tasks.supports),
        prior,
        theta=model.theta(),
        items=items,
        first_order=config.first_order,
        dropout=config.dropout,
    )
    scores = functional.dropout(adapted.user_vector, config.dropout) @ items["item_vectors"].T + prior
    targets, hidden = torch.from_numpy(tasks.targets), torch.from_numpy(tasks.hidden)
    wanted = targets.to(scores.dtype)
    everything = torch.logsumexp(scores.masked_fill(hidden, _NO_CANDIDATE), dim=1)
    together = (wanted.sum(1) * everything).sum() - (wanted * scores).sum()
    others = torch.logsumexp(scores.masked_fill(hidden | targets, _NO_CANDIDATE), dim=1, keepdim=True)
    apart = (wanted * functional.softplus(others - scores)).sum()
    return torch.lerp(together, apart, config.apart_share) / wanted.sum().clamp(min=1.0)


def as_support(supports: Supports) -> Support:
    """The arrays as the tensors that the inner loop takes."""
    features = torch.from_numpy(supports.user_features) if supports.user_features.shape[1] else None
    return Support(
        torch.from_numpy(supports.support_items),
        torch.from_numpy(supports.support_mask),
        torch.from_numpy(supports.support_kind),
        features,
    )


def validation_tasks(checking: Dataset, config: TrainingConfig) -> list[Episodes]:
    """Tasks of both kinds at every support size, over the users with events enough."""
    begin = config.fixed_query_begin
    tasks = []
    for size in config.support_sizes:
        for query_begin in {min(size, begin), begin}:
            users = np.flatnonzero(checking.lengths > query_begin)
            k = np.full(len(users), min(size, begin))
            tasks.append(episodes(checking, users, k, query_begin=np.full(len(users), query_begin)))
    return [task for task in tasks if task.targets.any()]


def as_scorer(trained: Trained) -> Scorer:
    """The trained initialization as a scorer, in torch: what its export will score."""

    def scores(supports: Supports) -> np.ndarray:
        row = np.maximum(np.searchsorted(trained.prior_times, supports.now_ms, side="right") - 1, 0)
        prior = trained.items["prior"][torch.from_numpy(row)]
        adapted = adapt(as_support(supports), prior, theta=trained.theta, items=trained.items)
        return (adapted.user_vector @ trained.items["item_vectors"].T + prior).numpy()

    return FittedScorer("fewstep", scores)


def _validate(model: Initialization, priors: _Priors, checks: list[Episodes]) -> float:
    """nDCG@10, mean over the tasks of each check, then over the checks; 0 where no check has a query item."""
    values = []
    with torch.no_grad():
        theta, items = model.theta(), model.items()
        for tasks in checks:
            prior = priors.at(tasks.supports.now_ms)
            adapted = adapt(as_support(tasks.supports), prior, theta=theta, items=items)
            scores = adapted.user_vector @ items["item_vectors"].T + prior
            lists = top_rows(scores.numpy(), CUTOFF, excluded=tasks.hidden, seed=_TIES_SEED)
            values.append(np.nanmean(ndcg_at(lists, tasks.targets)))
    return float(np.mean(values)) if values else 0.0
