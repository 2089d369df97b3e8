import pytest

from meta import dataset, splits
from meta.dataset import Dataset


@pytest.fixture
def tastes(write_lines, event) -> Dataset:
    """Thirty users who like a to h and thirty who like p to w, each in an order of their own; x is for all."""
    names = "abcdefghpqrstuvwx"
    items = write_lines("items.jsonl", [{"item_id": name} for name in names])
    rows = []
    for user in range(60):
        liked = names[:8] if user < 30 else names[8:16]
        order = [liked[(user + 3 * n) % 8] for n in range(7)]
        rows += [event(f"u{user:02d}", item, user + n / 10) for n, item in enumerate(order)]
        rows += [event(f"u{user:02d}", "x", user + 0.9)]
    return dataset.load(write_lines("events.jsonl", rows), items)


@pytest.fixture(scope="session")
def rated(movielens_cache, tmp_path_factory) -> tuple[Dataset, Dataset]:
    """Ratings of MovieLens-100K: a third of the training users, and one fold that is held out."""
    import numpy as np

    from meta import corpus, movielens
    from meta.rating_protocol import rated_only

    out = tmp_path_factory.mktemp("rated")
    corpus.write(movielens.load(movielens_cache), out)
    loaded = rated_only(dataset.load(out / "interactions.jsonl", out / "items.jsonl", out / "users.jsonl"))
    parts = splits.folds(loaded.n_users, seed=0)
    return dataset.subset(loaded, np.sort(np.concatenate(parts[4:7]))), dataset.subset(loaded, np.sort(parts[1]))
