"""What the worker serves is what the evaluation measured: one bundle, two ways to the same lists."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meta import corpus, dataset, splits, synthetic, training
from meta.bundle import describe_data, write_bundle
from meta.config import TrainingConfig
from meta.served import load_served
from meta.supports import first_events
from schemas import Role
from stream.core.records import Record
from stream.core.step import Step
from stream.engine.bundle import load_bundle
from stream.settings import Settings

MODEL, LENGTH, USERS = "skew", 10, 40


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Canonical files and a bundle trained on them for a moment."""
    from datetime import UTC, datetime

    folder = tmp_path_factory.mktemp("skew")
    made = synthetic.generate(synthetic.Sizes(users=200, items=120, events_per_user=25.0), seed=3)
    held_out = splits.hold_out([user.user_id or "" for user in made.users], 3, seed=3)
    corpus.write(made, folder, held_out=held_out)
    learned = dataset.load(folder / "interactions.jsonl", folder / "items.jsonl", folder / "users.jsonl")
    config = TrainingConfig(epochs=3)
    write_bundle(
        str(folder / "models"), MODEL, trained=training.train(learned, config, seed=1), dataset=learned, config=config,
        seed=1, measures={}, data=describe_data(learned), created=datetime(2026, 1, 31, tzinfo=UTC),
    )  # fmt: skip
    return folder


def streamed(folder: Path, users: list[str], k: int) -> dict[str, dict[str, Any]]:
    """The last list of each user after the profile, and the first k events, have gone through the worker's step."""
    settings = Settings.load(lists={"length": LENGTH})
    step = Step(load_bundle(str(folder / "models"), MODEL), settings)
    histories: dict[str, list[bytes]] = {user: [] for user in users}
    for line in (folder / "held-out.jsonl").read_bytes().splitlines():
        user = json.loads(line)["user_id"]
        if user in histories:
            histories[user].append(line)
    profiles = [json.loads(line) for line in (folder / "users.jsonl").read_bytes().splitlines()]
    inputs = [(Role.USERS, p["user_id"], json.dumps(p).encode()) for p in profiles if p["user_id"] in histories]
    inputs += [(Role.INTERACTIONS, user, line) for user in users for line in histories[user][:k]]
    if k == 0:
        asked = {user: json.loads(histories[user][0])["timestamp"] for user in users}
        inputs += [(Role.REQUESTS, user, json.dumps({"timestamp": at}).encode()) for user, at in asked.items()]
    records = [
        Record(role, role.value, 0, offset, 2_000_000_000_000, user.encode(), value)
        for offset, (role, user, value) in enumerate(inputs)
    ]
    outcome = step(records, lambda partition, key: None, clock_ms=0)
    assert outcome.dead_letters == []
    return {(message.key or b"").decode(): json.loads(message.value or b"") for message in outcome.recommendations}


@pytest.mark.parametrize("k", [0, 1, 5])
def test_published_lists_are_the_lists_that_were_evaluated(world: Path, k: int) -> None:
    served = load_served(str(world / "models"), MODEL)
    held_out = dataset.load(
        world / "held-out.jsonl", world / "items.jsonl", world / "users.jsonl", like=served.manifest,
        item_ids=served.item_ids,
    )  # fmt: skip
    rows = np.flatnonzero(held_out.lengths > 5)[:USERS]
    assert len(rows) == USERS
    supports = first_events(held_out, rows, k, width=32)
    scores = served.score(supports)
    scores[np.repeat(np.arange(USERS), k), supports.support_items[:, :k].ravel()] = -np.inf
    published = streamed(world, [held_out.user_ids[row] for row in rows], k)
    for row, user in enumerate(held_out.user_ids[row] for row in rows):
        items = published[user]["items"]
        best = np.argsort(-scores[row], kind="stable")[:LENGTH]
        np.testing.assert_allclose([item["score"] for item in items], scores[row][best], rtol=2e-4, atol=2e-4)
        offered = [scores[row][held_out.item_ids.index(item["item_id"])] for item in items]
        np.testing.assert_allclose(offered, scores[row][best], rtol=2e-4, atol=2e-4)
        assert published[user]["support_size"] == k
