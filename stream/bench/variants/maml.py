"""MAML per event as a research script serves it: autograd in torch, one user at a time, inside a plain Faust agent.

The script's ways are kept: the learned module is copied for each user, and the inner steps adapt all of the copy.
"""

import asyncio
import copy
from collections.abc import AsyncIterator
from time import time
from typing import Any

import torch

from stream.bench.lane import Lane
from stream.bench.variants.plain import ANSWER_ITEMS, answer, create_app, serve

INNER_STEPS = 3
INNER_RATE = 0.1
WINDOW = 32


def maml(lane: Lane) -> None:
    """Per event: decode JSON, extend the support set in a table, adapt by autograd, rank the catalog, send a list."""
    torch.set_num_threads(1)  # its best: the matrices are small, and a second thread would wait for the broker's core
    asyncio.run(serve(lambda: _create(lane)))


class TwoTower(torch.nn.Module):
    """A user vector (d,) beside item vectors (n_items, d): the meta-learned initialization."""

    def __init__(self, n_items: int, d: int) -> None:
        super().__init__()
        self.items = torch.nn.Embedding(n_items, d)
        self.user = torch.nn.Parameter(torch.randn(d))

    def forward(self) -> torch.Tensor:
        """Scores of all items (n_items,)."""
        scores: torch.Tensor = self.items.weight @ self.user
        return scores


def adapted(learned: TwoTower, support: torch.Tensor) -> TwoTower:
    """A copy after gradient steps on the softmax loss of the support rows (k,)."""
    learner = copy.deepcopy(learned)
    for _ in range(INNER_STEPS):
        loss = torch.nn.functional.cross_entropy(learner().expand(len(support), -1), support)
        gradients = torch.autograd.grad(loss, list(learner.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(learner.parameters(), gradients, strict=True):
                parameter.sub_(gradient, alpha=INNER_RATE)
    return learner


def _create(lane: Lane) -> Any:
    app = create_app(lane)
    source = app.topic(lane.source, key_type=str, value_serializer="json")
    lists = app.topic(lane.lists, key_type=str, value_serializer="json")
    histories = app.Table("histories", default=list, partitions=lane.partitions)
    torch.manual_seed(0)
    learned = TwoTower(lane.n_items, lane.d)
    rows: dict[str, int] = {}  # numbered as they come: which vector an item has makes no difference to the cost

    async def recommend(stream: AsyncIterator[Any]) -> None:
        async for event in stream.events():  # type: ignore[attr-defined]
            began = time()
            user = event.value["user_id"]
            row = rows.setdefault(event.value["item_id"], len(rows) % lane.n_items)
            history = [*histories[user], row][-WINDOW:]
            histories[user] = history
            learner = adapted(learned, torch.tensor(history))
            with torch.no_grad():
                scores = learner()
            best = torch.topk(scores, min(ANSWER_ITEMS, lane.n_items))
            ranked = [
                (f"item-{i}", score) for i, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            ]
            await lists.send(key=user, value=answer(event, began, ranked, support_size=len(history)))

    app.agent(source, name="recommend")(recommend)
    return app
