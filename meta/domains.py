"""The chain from the common start through a domain to a user: a domain's start is adapted by the inner loop as well.

The tasks of a domain are what users did in it, whoever they are. Where they end up, less where they began, is in the
mean the domain's offset; a user starts from the offsets of the domains of the support set, each by its share of the
events. So the start stays linear in them: an event adds its domain's offset over the number of events.
"""

from collections.abc import Sequence

import numpy as np
import torch

from meta.dataset import Dataset, keep_events
from meta.inner import adapt, as_support, start_without_events
from meta.scorer import Scorer
from meta.supports import Supports, windows
from meta.training import Trained, as_scorer, prior_at

LEAST_EVENTS = 3
"""Events in the domain that a user needs, for the domain to learn from"""
MOST_EVENTS = 20
"""Of a user in the domain, the newest"""
MOST_USERS = 500


def domain_offset(trained: Trained, known: Dataset, items: np.ndarray, *, seed: int) -> np.ndarray:
    """The offset (width,) of the domain of `items` (n_items,) bool by what a sample of users did there.

    0 where nobody did anything.
    """
    inside = keep_events(known, items[known.item])
    users = np.flatnonzero(inside.lengths >= LEAST_EVENTS)
    if not len(users):
        return np.zeros(trained.items["item_vectors"].shape[1], dtype=np.float32)
    users = np.sort(np.random.default_rng(seed).permutation(users)[:MOST_USERS])
    supports = windows(inside, users, 0, inside.lengths[users], width=MOST_EVENTS)
    support = as_support(supports)
    _, within = prior_at(trained, supports.now_ms)
    reached = adapt(support, within, theta=trained.theta, items=trained.items).user_vector
    return np.asarray((reached - start_without_events(support, trained.theta)).mean(0).numpy())


def through_domains(trained: Trained, domains: Sequence[np.ndarray], offsets: np.ndarray) -> Scorer:
    """Scores users from a start in their domains; `domains` (n_domains, n_items) bool, `offsets` (n_domains, width).

    The shares of the domains in the support set enter as features of the user, whose weights are the offsets.
    """
    weights = torch.from_numpy(offsets).to(trained.theta["start"])
    if "user_weights" in trained.theta:
        weights = torch.cat([trained.theta["user_weights"], weights])
    chained = as_scorer(trained._replace(theta=trained.theta | {"user_weights": weights}))
    return _Chained(chained, np.stack(domains))


class _Chained:
    """A scorer that is told the shares of the domains."""

    name = "through its domain"

    def __init__(self, scorer: Scorer, domains: np.ndarray) -> None:
        self._scorer, self._domains = scorer, domains

    def score(self, supports: Supports) -> np.ndarray:
        known = supports.support_mask > 0
        shares = (self._domains[:, supports.support_items] & known).sum(axis=2) / np.maximum(known.sum(axis=1), 1)
        features = np.concatenate([supports.user_features, shares.T.astype(np.float32)], axis=1)
        return self._scorer.score(supports._replace(user_features=features))
