"""MAML per event as a research script serves it: autograd in torch, one user at a time, inside a plain Faust agent.

The script's ways are kept: the learned module is copied for each user, the inner steps adapt the copy by autograd, and
the copy scores the catalog. Two networks: a lean one, which has nothing but vectors and is adapted whole, and the one
of MeLU (Lee et al., KDD 2019) and those that build on it, of which the decision layers are adapted.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterator
from time import time
from typing import Any, NamedTuple
from zlib import crc32

import torch

from stream.bench.lane import Lane
from stream.bench.variants.plain import ANSWER_ITEMS, answer, create_app, serve

INNER_STEPS = 3
INNER_RATE = 0.1
WINDOW = 32
HIDDEN = 64
"""Width of both decision layers, as published."""
PROFILES = 64
"""Users are known by their profile alone, as in MeLU: here one of so many."""
_DISLIKED = ("dislike", "skip")


def maml(lane: Lane) -> None:
    """Per event: decode JSON, extend the support set in a table, adapt by autograd, rank the catalog, send a list."""
    _serve(lane, TwoTower)


def melu(lane: Lane) -> None:
    """The same with decision layers."""
    _serve(lane, DecisionLayers)


class Support(NamedTuple):
    """A user's profile (1,), and of each event the item's row and whether it was liked, 1 or 0: both (k,)."""

    profile: torch.Tensor
    items: torch.Tensor
    liked: torch.Tensor


class TwoTower(torch.nn.Module):
    """A user vector (d,) beside item vectors (n_items, d): the meta-learned initialization, all of it adapted."""

    def __init__(self, n_items: int, d: int) -> None:
        super().__init__()
        self.items = torch.nn.Embedding(n_items, d)
        self.user = torch.nn.Parameter(torch.randn(d))

    def adapted_parameters(self) -> Iterator[torch.nn.Parameter]:
        """What the inner steps change."""
        return self.parameters()

    def loss(self, support: Support) -> torch.Tensor:
        """Softmax loss of the items of the support set among all."""
        scores = self.scores(support)
        return torch.nn.functional.cross_entropy(scores.expand(len(support.items), -1), support.items)

    def scores(self, _: Support) -> torch.Tensor:
        """Of all items (n_items,)."""
        scores: torch.Tensor = self.items.weight @ self.user
        return scores


class DecisionLayers(torch.nn.Module):
    """User and item embeddings side by side, two hidden layers and an output; the layers are adapted, no embedding."""

    def __init__(self, n_items: int, d: int) -> None:
        super().__init__()
        self.items = torch.nn.Embedding(n_items, d).requires_grad_(False)
        self.users = torch.nn.Embedding(PROFILES, d).requires_grad_(False)
        self.decision = torch.nn.Sequential(
            torch.nn.Linear(2 * d, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, HIDDEN), torch.nn.ReLU(),
            torch.nn.Linear(HIDDEN, 1),
        )  # fmt: skip

    def adapted_parameters(self) -> Iterator[torch.nn.Parameter]:
        """What the inner steps change."""
        return self.decision.parameters()

    def loss(self, support: Support) -> torch.Tensor:
        """Squared error of the support set."""
        predicted = self._predict(support.profile, self.items(support.items))
        return torch.nn.functional.mse_loss(predicted, support.liked)

    def scores(self, support: Support) -> torch.Tensor:
        """Of all items (n_items,)."""
        return self._predict(support.profile, self.items.weight)

    def _predict(self, profile: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """For item vectors (n, d): (n,)."""
        user = self.users(profile).expand(len(items), -1)
        predicted: torch.Tensor = self.decision(torch.cat([user, items], dim=1))
        return predicted.squeeze(1)


Network = TwoTower | DecisionLayers


def adapted(learned: Network, support: Support) -> Network:
    """A copy after gradient steps on the loss of the support set."""
    learner = copy.deepcopy(learned)
    parameters = list(learner.adapted_parameters())
    for _ in range(INNER_STEPS):
        gradients = torch.autograd.grad(learner.loss(support), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=INNER_RATE)
    return learner


def _serve(lane: Lane, network: Callable[[int, int], Network]) -> None:
    torch.set_num_threads(1)  # its best: the matrices are small, and a second thread would wait for the broker's core
    asyncio.run(serve(lambda: _create(lane, network)))


def _create(lane: Lane, network: Callable[[int, int], Network]) -> Any:
    app = create_app(lane)
    source = app.topic(lane.source, key_type=str, value_serializer="json")
    lists = app.topic(lane.lists, key_type=str, value_serializer="json")
    histories = app.Table("histories", default=list, partitions=lane.partitions)
    torch.manual_seed(0)
    learned = network(lane.n_items, lane.d)
    rows: dict[str, int] = {}  # numbered as they come: which vector an item has makes no difference to the cost

    async def recommend(stream: AsyncIterator[Any]) -> None:
        async for event in stream.events():  # type: ignore[attr-defined]
            began = time()
            user = event.value["user_id"]
            row = rows.setdefault(event.value["item_id"], len(rows) % lane.n_items)
            liked = float(event.value["event_type"] not in _DISLIKED)
            history = [*histories[user], (row, liked)][-WINDOW:]
            histories[user] = history
            support = _support(user, history)
            learner = adapted(learned, support)
            with torch.no_grad():
                scores = learner.scores(support)
            best = torch.topk(scores, min(ANSWER_ITEMS, lane.n_items))
            ranked = [
                (f"item-{i}", score) for i, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            ]
            await lists.send(key=user, value=answer(event, began, ranked, support_size=len(history)))

    app.agent(source, name="recommend")(recommend)
    return app


def _support(user: str, history: list[tuple[int, float]]) -> Support:
    items, liked = zip(*history, strict=True)
    return Support(torch.tensor([crc32(user.encode()) % PROFILES]), torch.tensor(items), torch.tensor(liked))
