import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from meta import bundle, corpus, movielens, splits, synthetic
from meta.config import TrainingConfig
from meta.dataset import Dataset, load
from meta.training import Trained, train
from schemas import KafkaSettings, Role, topic_name
from stream.broker import Broker
from stream.clients.provision import create_topics
from stream.settings import Settings

EPOCH_MS = 1_700_000_000_000
WriteLines = Callable[[str, Iterable[object]], Path]
Send = Callable[..., None]


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


@pytest.fixture(scope="session")
def world(made_up: Path) -> Dataset:
    """The training users of that world."""
    return load(made_up / "interactions.jsonl", made_up / "items.jsonl", made_up / "users.jsonl")


@pytest.fixture(scope="session")
def trained(world: Dataset) -> Trained:
    """Trained on them for a moment."""
    return train(world, TrainingConfig(d=4, epochs=1), seed=0)


@pytest.fixture(scope="session")
def model_store(world: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with model `small`, version `v1`, trained for a moment on the synthetic world; not to be written to."""
    store = tmp_path_factory.mktemp("store")
    config = TrainingConfig(d=8, epochs=2, validate_every=1)
    bundle.write_bundle(
        str(store),
        "small",
        trained=train(world, config, seed=0),
        dataset=world,
        config=config,
        seed=0,
        measures={},
        data=bundle.describe_data(world),
        created=datetime(2026, 1, 31, 12, tzinfo=UTC),
        version="v1",
    )
    return store


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """The URL of a bucket on an S3 server; skips where none is installed."""
    pytest.importorskip("s3fs", reason="s3fs and moto are not installed: see the extra s3-tests")
    pytest.importorskip("moto")
    from s3_server import s3_server

    with s3_server() as url:
        yield url


@pytest.fixture
def kafka(broker: Broker, prefix: str) -> KafkaSettings:
    """Kafka with all topics of a prefix of this test's own, two partitions each."""
    settings = Settings.load(
        # The embedded broker answers a fetch without data only after the whole wait.
        kafka={"bootstrap_servers": broker.bootstrap_servers, "topic_prefix": prefix, "fetch_max_wait_ms": 50},
        worker={"app_id": prefix},
    )
    create_topics(settings, partitions=2, replication_factor=1)
    return settings.kafka


@pytest.fixture
def send(kafka: KafkaSettings) -> Send:
    """Sends (key, value) pairs to the topic of a role; a value is bytes, None or what becomes JSON."""

    def sent(role: Role, records: Iterable[tuple[str | None, Any]], **options: Any) -> None:
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers.split(","))
        for key, value in records:
            content = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
            producer.send(
                topic_name(role, kafka.topic_prefix),
                key=None if key is None else key.encode(),
                value=content,
                **options,
            )
        producer.flush()
        producer.close()

    return sent


@pytest.fixture(scope="session")
def rated(made_up: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same world in a folder of its own, with ratings that depend on item and user, and with some views."""
    rows = [json.loads(line) for line in (made_up / "interactions.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        good = int(row["item_id"].split("-")[1]) % 3 + int(row["user_id"].split("-")[1]) % 2
        row |= {"event_type": "rating", "value": 1.0 + good} if number % 7 else {"event_type": "view", "value": None}
    out = tmp_path_factory.mktemp("rated")
    (out / "interactions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("items.jsonl", "users.jsonl"):
        (out / name).write_bytes((made_up / name).read_bytes())
    return out
