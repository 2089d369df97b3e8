"""The outer loop: learn the initialization, the step sizes and the item vectors from many users' tasks."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from meta.baselines import FittedScorer
from meta.config import TrainingConfig
from meta.dataset import Dataset, subset
from meta.distributed import ALONE, Crew, average_gradients, device, told, weighed
from meta.episodes import draw
from meta.inner import Tensors, adapt, as_support
from meta.known import known_of
from meta.model import Initialization, detached
from meta.outer import Batch, columns_of, outer_loss
from meta.prior import popularity
from meta.priors import Priors
from meta.recency import PopularityTable, popularity_table
from meta.sampling import Proposal
from meta.scorer import Scorer
from meta.supports import Supports
from meta.ties import with_ties_shuffled
from meta.unseen import place_unseen
from meta.validation import validate, validation_tasks
from schemas.errors import DataError

_OVERFITTED = 0.03
"""Share of the best measure that the last epoch may fall behind it before its number of epochs is distrusted."""

Progress = Callable[[int, float | None], None]
"""Called after each epoch with its number from 1 on, and the validation measure where it was taken."""


_MOST_VALIDATION_USERS = 5000
"""More would not tell more about when to stop."""
_MOST_VALIDATION_CELLS = 20_000_000
"""Users times items: bounds the memory of a validation."""


class Trained(NamedTuple):
    """What is exported: the served tensors of the best epoch, and how they came about."""

    theta: Tensors
    items: Tensors
    """`item_vectors` (n_items, width) and `prior` (T, n_items); `item_keys` (n_items, d), `sample_vectors` and
    `sample_prior` where there are such"""
    prior_times: np.ndarray
    """(T,) int64, epoch ms"""
    best_epoch: int
    best_measure: float
    """On the validation users, mean over both kinds of tasks and the support sizes: nDCG@10, or minus the mean absolute
    error of ratings"""
    last_measure: float
    """The same after the last epoch"""
    training_users: np.ndarray
    validation_users: np.ndarray
    rating_range: tuple[float, float] | None
    """Smallest and largest rating of the training users, where ratings are what is learned"""
    parameters: Tensors
    """The learned parameters as they are stored: what a warm start takes up"""


def split_users(dataset: Dataset, share: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the training users and of the validation users: a seeded share of those with a query to ask.

    Raises DataError where fewer than two users have at least two events.
    """
    able = np.flatnonzero(dataset.lengths >= 2)
    if len(able) < 2:
        raise DataError(f"{len(able)} users have two events or more; two such users are the least to learn from")
    most = min(_MOST_VALIDATION_USERS, max(1, _MOST_VALIDATION_CELLS // dataset.n_items))
    count = min(max(1, round(share * len(able))), len(able) - 1, most)
    if dataset.shuffled:  # the last ones will do, and ranges of users need no copy of their events
        first = int(able[-count])
        return np.arange(first), np.arange(first, dataset.n_users)
    shuffled = np.random.default_rng(seed).permutation(able)
    return np.sort(shuffled[count:]), np.sort(shuffled[:count])


def train(
    dataset: Dataset,
    config: TrainingConfig,
    *,
    seed: int,
    validation: np.ndarray | None = None,
    progress: Progress | None = None,
    members: Crew = ALONE,
    warm_start: Callable[[Initialization], None] | None = None,
) -> Trained:
    """Run the outer loop; equal arguments give equal tensors on one machine with one number of threads.

    `validation` are the rows of the validation users; if None they are a seeded share. Without any such user the last
    epoch counts as the best. Where there are other `members`, each is to be called with the same arguments, and all of
    them end with the same tensors. `warm_start` may set the parameters of the model before the first step.
    Raises DataError where the interactions are too few to learn from.
    """
    if validation is None:
        training, validation = split_users(dataset, config.validation_share, seed=seed)
    else:
        training = np.setdiff1d(np.flatnonzero(dataset.lengths >= 2), validation)
    return _fit(
        dataset,
        training,
        validation,
        config,
        seed=seed,
        progress=progress,
        members=members,
        warm_start=warm_start,
    )


def refit(
    trained: Trained,
    dataset: Dataset,
    config: TrainingConfig,
    *,
    seed: int,
    progress: Progress | None = None,
    members: Crew = ALONE,
) -> Trained:
    """Run the outer loop again, over the validation users as well and to its last epoch; measures and users stay those
    of `trained`. It is `trained` itself where the configuration says so, where the epochs are too many for this data,
    and where users are too many for a task of each in every epoch: a few more would teach nothing."""
    overfits = trained.last_measure < trained.best_measure - _OVERFITTED * abs(trained.best_measure)
    bounded = len(trained.training_users) * config.epochs > config.most_steps * config.batch_users
    if not config.refit or overfits or bounded:
        return trained
    everybody = np.union1d(trained.training_users, trained.validation_users)
    again = _fit(dataset, everybody, everybody[:0], config, seed=seed, progress=progress, members=members)
    return again._replace(
        best_epoch=trained.best_epoch,
        best_measure=trained.best_measure,
        last_measure=trained.last_measure,
        training_users=trained.training_users,
        validation_users=trained.validation_users,
    )


def _fit(
    dataset: Dataset,
    training: np.ndarray,
    validation: np.ndarray,
    config: TrainingConfig,
    *,
    seed: int,
    progress: Progress | None,
    members: Crew,
    warm_start: Callable[[Initialization], None] | None = None,
) -> Trained:
    """Run the outer loop over `training` users; the best epoch by `validation` users, the last without any."""
    learning, checking = subset(dataset, training), subset(dataset, validation)
    table = _table(learning, config)
    known, proposal = known_of(dataset, learning, config, rng=np.random.default_rng(seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + members.rank)  # dropout draws from the global generator
        model = Initialization(config, known, generator=torch.Generator().manual_seed(seed))
        if warm_start is not None:
            warm_start(model)
        model = model.to(device())
        measures = _outer_loop(
            model, Priors(model, table), learning, checking, config, proposal, seed, members=members, progress=progress
        )
    with torch.no_grad():
        items = detached(model.items() | Priors(model, table).tables())
        if not config.objective.rating:  # what is not seen has the prior of its attributes there
            seen = popularity(learning, relevant=True) > 0
            items = place_unseen(items, model.content.cpu(), seen, d=config.d)
        theta, parameters = detached(model.theta()), detached(dict(model.named_parameters()))
    scale = None
    if config.objective.rating:
        scale = float(np.nanmin(learning.rating)), float(np.nanmax(learning.rating))
    return Trained(theta, items, table.times, *measures, training, validation, scale, parameters)


def _table(learning: Dataset, config: TrainingConfig) -> PopularityTable:
    """What the prior is made of; that of ratings holds at all times, and needs one row."""
    rows = 1 if config.objective.rating else config.prior_rows
    return popularity_table(learning, taus_days=config.taus_days, max_rows=rows)


def _outer_loop(
    model: Initialization,
    priors: Priors,
    learning: Dataset,
    checking: Dataset,
    config: TrainingConfig,
    proposal: Proposal,
    seed: int,
    *,
    members: Crew,
    progress: Progress | None,
) -> tuple[int, float, float]:
    """Train in place, leave the parameters of the best epoch in the model; gives it, its measure, and the last one."""
    optimizer = _optimizer(model, config)
    batches = max(1, min(-(-learning.n_users // config.batch_users), config.most_steps // config.epochs))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs * batches)
    # All processes deal the users alike; what each makes of its share is its own. The order of ties has a generator
    # apart: where no events share a time, shuffling those that do changes nothing.
    order, rng = np.random.default_rng(seed), np.random.default_rng((seed, members.rank))
    of_ties = rng.spawn(1)[0]
    best, state, measure = (0, -np.inf), model.state_dict(), -np.inf
    for epoch in range(1, config.epochs + 1):
        dealt = order.permutation(learning.n_users)[: batches * config.batch_users]
        for users in np.array_split(dealt, batches):
            events = with_ties_shuffled(subset(learning, users[members.rank :: members.size]), of_ties)
            tasks = draw(events, np.arange(events.n_users), config, rng, over=(epoch - 1) / config.epochs)
            columns, now = columns_of(tasks, config, proposal, rng).to(priors.device), tasks.supports.now_ms
            optimizer.zero_grad()
            prior = priors.at(now, columns.rows)
            inside = prior if model.sample is None and columns.rows is None else priors.inside(now)
            loss = outer_loss(model, Batch(tasks, columns, prior, inside), config)
            torch.autograd.backward(weighed(loss, tasks.targets.sum(), members))
            average_gradients(model.parameters(), members)
            optimizer.step()
            schedule.step()
        looks = epoch % config.validate_every == 0 or epoch == config.epochs
        if looks:
            measure = _validated(model, priors, checking, config, members)
            if measure >= best[1]:
                best, state = (epoch, measure), copy.deepcopy(model.state_dict())
        if progress is not None:
            progress(epoch, measure if looks and checking.n_users else None)
    model.load_state_dict(state)
    return *best, measure


def _validated(
    model: Initialization, priors: Priors, checking: Dataset, config: TrainingConfig, members: Crew
) -> float:
    measure = validate(model, priors, validation_tasks(checking, config)) if members.leads else 0.0
    return told(measure, members, at=priors.device)


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


def as_scorer(trained: Trained) -> Scorer:
    """The trained initialization as a scorer, in torch: what its export will score; ratings are kept to their scale."""

    def scores(supports: Supports) -> np.ndarray:
        prior, inside = prior_at(trained, supports.now_ms)
        adapted = adapt(as_support(supports), inside, theta=trained.theta, items=trained.items)
        found = (adapted.user_vector @ trained.items["item_vectors"].T + prior).numpy()
        return found if trained.rating_range is None else found.clip(*trained.rating_range)

    return FittedScorer("fewstep", scores)


def prior_at(trained: Trained, now_ms: np.ndarray) -> tuple[Tensor, Tensor]:
    """z (b, n_items) at the given times (b,), and z (b, rows) as the inner loop takes it."""
    row = torch.from_numpy(np.maximum(np.searchsorted(trained.prior_times, now_ms, side="right") - 1, 0))
    prior = trained.items["prior"][row]
    return prior, trained.items["sample_prior"][row] if "sample_prior" in trained.items else prior
