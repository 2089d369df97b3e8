"""MAML per event as a research script serves it: autograd in torch, one user at a time, inside a plain Faust agent."""

import asyncio
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


def adapt(items: torch.Tensor, start: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
    """The user vector (d,) after gradient steps on the softmax loss of the support rows (k,) over `items` (n, d)."""
    user = start.clone().requires_grad_(True)
    for _ in range(INNER_STEPS):
        scores = (items @ user).expand(len(support), -1)
        loss = torch.nn.functional.cross_entropy(scores, support)
        (gradient,) = torch.autograd.grad(loss, user)
        user = user - INNER_RATE * gradient
    return user.detach()


def _create(lane: Lane) -> Any:
    app = create_app(lane)
    source = app.topic(lane.source, key_type=str, value_serializer="json")
    lists = app.topic(lane.lists, key_type=str, value_serializer="json")
    histories = app.Table("histories", default=list, partitions=lane.partitions)
    generator = torch.Generator().manual_seed(0)
    items = torch.randn(lane.n_items, lane.d, generator=generator)
    start = torch.randn(lane.d, generator=generator)
    rows: dict[str, int] = {}  # numbered as they come: which vector an item has makes no difference to the cost

    async def recommend(stream: AsyncIterator[Any]) -> None:
        async for event in stream.events():  # type: ignore[attr-defined]
            began = time()
            user = event.value["user_id"]
            row = rows.setdefault(event.value["item_id"], len(rows) % lane.n_items)
            history = [*histories[user], row][-WINDOW:]
            histories[user] = history
            scores = items @ adapt(items, start, torch.tensor(history))
            best = torch.topk(scores, min(ANSWER_ITEMS, lane.n_items))
            ranked = [
                (f"item-{i}", score) for i, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            ]
            await lists.send(key=user, value=answer(event, began, ranked, support_size=len(history)))

    app.agent(source, name="recommend")(recommend)
    return app
