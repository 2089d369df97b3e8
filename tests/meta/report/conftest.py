from pathlib import Path
from typing import Any

import pytest

from meta import baselines, dataset, protocol, served
from meta.modes import Mode
from meta.report import figures


@pytest.fixture(scope="session")
def collected(made_up: Path, model_store: Path) -> dict[str, Any]:
    """The figures of the small model beside two other scorers."""
    bundle = served.load_served(str(model_store), "small")

    def load(name: str) -> dataset.Dataset:
        users = made_up / "users.jsonl"
        return dataset.load(
            made_up / name, made_up / "items.jsonl", users, like=bundle.manifest, item_ids=bundle.item_ids
        )

    train, held_out = load("interactions.jsonl"), load("held-out.jsonl")
    scorers = [bundle, protocol.Unadapted(bundle, "unadapted start"), *baselines.fit_all(train)[:2]]
    return figures.collect(bundle, scorers, held_out, train, mode=Mode.REST, seed=0)
