import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from meta import corpus, movielens, splits, synthetic

EPOCH_MS = 1_700_000_000_000
WriteLines = Callable[[str, Iterable[object]], Path]


@pytest.fixture
def write_lines(tmp_path: Path) -> WriteLines:
    """Writes rows as JSON Lines below tmp_path; texts go as they are."""

    def write(name: str, rows: Iterable[object]) -> Path:
        path = tmp_path / name
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def event() -> Callable[..., dict[str, object]]:
    """One interaction at a time in days."""

    def make(user: str, item: str, day: float = 0, kind: str = "view", value: float | None = None) -> dict[str, object]:
        return {
            "user_id": user,
            "item_id": item,
            "event_type": kind,
            "timestamp": EPOCH_MS + round(day * 86_400_000),
            **({} if value is None else {"value": value}),
        }

    return make


@pytest.fixture(scope="session")
def movielens_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache into which MovieLens-100K was really fetched, once."""
    cache = tmp_path_factory.mktemp("cache")
    movielens.load(cache)
    return cache


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small synthetic world, two tenths of it held out."""
    out = tmp_path_factory.mktemp("made-up")
    world = synthetic.generate(synthetic.Sizes(users=250, items=120, events_per_user=45), seed=3)
    ids = [str(user.user_id) for user in world.users]
    corpus.write(world, out, held_out=splits.hold_out(ids, 2, seed=0))
    return out
