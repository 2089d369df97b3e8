"""The demo from broker to measures, in order."""

import asyncio
import contextlib
import json
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from schemas import Role, UserProfile, topic_name
from schemas.errors import DataError, FewstepError
from stream.broker.choose import reach_broker
from stream.children import run
from stream.clients.event_file import FileEvent, read_events, read_titles
from stream.clients.provision import create_topics, delete_topics
from stream.demo.children import SupervisedWorker
from stream.demo.inbox import Inbox
from stream.demo.phases import ROUNDS, START_LENGTH, Stage, first_events, introduce, remaining_events
from stream.demo.story import plain_table, user_table
from stream.settings import Settings

MODEL = "demo"
HELD_OUT_TENTHS = "2"
SHORT = {"unadapted start": "start", "popularity with recency": "popular"}
"""Arms of the comparison in table headings."""
GENERATED = ("movielens-100k", "synthetic")


@dataclass(frozen=True)
class Files:
    """The data set: training users in `interactions`, others in `held_out`."""

    interactions: Path
    held_out: Path
    items: Path
    users: Path | None


def run_demo(data: str, *, bootstrap_servers: str | None, partitions: int, users_shown: int, seed: int) -> None:
    """Run all stages; whatever ends it, no process, topic or temporary file of it is left."""
    console, began = Console(), monotonic()
    with tempfile.TemporaryDirectory(prefix="fewstep-demo-") as folder, _kafka(console, bootstrap_servers) as address:
        home = Path(folder)
        settings = Settings.load(
            kafka={"bootstrap_servers": address, "topic_prefix": f"fewstep-demo-{uuid4().hex[:8]}-"},
            worker={"app_id": f"fewstep-demo-{uuid4().hex[:8]}"},
        )
        with _topics(console, settings, partitions):
            files = _data(console, data, home, seed)
            _train(console, files, home, seed)
            _serve(console, files, home, settings, partitions=partitions, users_shown=users_shown, seed=seed)
    console.print(f"\n[bold]Done in {monotonic() - began:.0f} s.[/] Nothing of it is left running or on disk.")
    _next_commands(console)


@contextlib.contextmanager
def _kafka(console: Console, bootstrap_servers: str | None) -> Iterator[str]:
    with reach_broker(bootstrap_servers) as (name, address, _):
        console.print(f"[bold]Broker[/]     {name} at {address}")
        yield address


@contextlib.contextmanager
def _topics(console: Console, settings: Settings, partitions: int) -> Iterator[None]:
    made = create_topics(settings, partitions=partitions, replication_factor=1)
    console.print(f"[bold]Topics[/]     {len(made)} created, {settings.kafka.topic_prefix}*, {partitions} partitions")
    try:
        yield
    finally:
        delete_topics(settings, list(made))


def _data(console: Console, data: str, home: Path, seed: int) -> Files:
    folder = Path(data)
    if data in GENERATED:
        folder = home / "data"
        run(
            ["data", data, "--out", str(folder), "--hold-out", HELD_OUT_TENTHS, "--seed", str(seed), "--json"],
            home=home,
        )
    files = Files(
        folder / "interactions.jsonl", folder / "held-out.jsonl", folder / "items.jsonl", folder / "users.jsonl"
    )
    for path in (files.interactions, files.held_out, files.items):
        if not path.is_file():
            raise DataError(
                f"{path} is missing: --data takes {', '.join(GENERATED)}, or a folder with interactions.jsonl "
                "(training users), held-out.jsonl (other users) and items.jsonl"
            )
    console.print(f"[bold]Data[/]       {data}: {_lines(files.interactions):,} events of training users, "
                  f"{_lines(files.held_out):,} of held-out users")  # fmt: skip
    if files.users is not None and not files.users.is_file():
        return Files(files.interactions, files.held_out, files.items, None)
    return files


def _train(console: Console, files: Files, home: Path, seed: int) -> None:
    began = monotonic()
    console.print("[bold]Training[/]   the initialization, on training users only")
    arguments = [
        "train",
        "--interactions",
        files.interactions,
        "--items",
        files.items,
        "--model-store",
        home / "models",
    ]
    profiles = ["--users", files.users] if files.users else []
    run([str(part) for part in (*arguments, *profiles, "--model", MODEL, "--seed", seed, "--json")], home=home)
    console.print(f"           done in {monotonic() - began:.0f} s: adapt.onnx, score.onnx, tensors in the model store")


def _serve(
    console: Console, files: Files, home: Path, settings: Settings, *, partitions: int, users_shown: int, seed: int
) -> None:
    kafka = settings.kafka
    command = [
        "worker", "--bootstrap-servers", kafka.bootstrap_servers, "--topic-prefix", kafka.topic_prefix,
        "--app-id", settings.worker.app_id, "--model-store", str(home / "models"), "--model", MODEL,
        "--data-dir", str(home / "state"),
    ]  # fmt: skip
    capture = home / "lists.jsonl"
    events = list(read_events(files.held_out))
    profiles = _profiles(files.users)
    with (
        asyncio.Runner() as runner,
        SupervisedWorker(command, home / "worker.log") as worker,
        Inbox(kafka, topic_name(Role.RECOMMENDATIONS, kafka.topic_prefix), capture, most_support=ROUNDS) as inbox,
    ):

        def check() -> None:
            if worker.failure is not None:
                raise FewstepError(worker.failure)

        runner.get_loop()  # made now: a Ctrl-C that hits asyncio while it makes a loop leaves a traceback
        console.print("[bold]Worker[/]     started as a process of its own")
        stage = Stage(kafka, partitions, inbox, check, lambda line: console.print(f"           {line}"))
        runner.run(introduce(stage, events, profiles))
        console.print(f"[bold]Replay[/]     {len(inbox.lists)} users that the training never saw, first event by event")
        runner.run(first_events(stage, events))
        console.print("[bold]Replay[/]     everything else they did, at full speed")
        runner.run(remaining_events(stage, events))
    _users(console, inbox, events, read_titles(files.items), shown=users_shown, seed=seed)
    _measures(console, capture, files, seed)


def _profiles(path: Path | None) -> list[UserProfile]:
    if path is None:
        return []
    return [UserProfile.model_validate_json(line) for line in path.read_bytes().splitlines() if line.strip()]


def _users(
    console: Console, inbox: Inbox, events: list[FileEvent], titles: dict[str, str], *, shown: int, seed: int
) -> None:
    """Before and after for a few users, drawn by the seed and not by how good they look."""
    whole = sorted(user for user, lists in inbox.lists.items() if 0 in lists and ROUNDS in lists)
    console.print(f"\n[bold]What {ROUNDS} events did[/], for {min(shown, len(whole))} users drawn at random:")
    for user in random.Random(seed).sample(whole, min(shown, len(whole))):
        own = [event for event in events if event.user_id == user][:ROUNDS]
        console.print(user_table(user, own, inbox.lists[user][0], inbox.lists[user][ROUNDS], titles))


def _measures(console: Console, capture: Path, files: Files, seed: int) -> None:
    """What the lists on the topic were worth against what these users did next."""
    arguments = ["evaluate", "--lists", capture, "--interactions", files.held_out]
    more = ["--train-interactions", files.interactions, "--items", files.items, "--max-support", ROUNDS, "--seed", seed]
    found = json.loads(run([str(part) for part in (*arguments, *more, "--json")], home=capture.parent))
    for measure, title in (("ndcg", "nDCG@10"), ("hit_rate", "HR@10")):
        console.print(_measure_table(found, measure, title))
    console.print(f"[bold]{_verdict(found)}[/]", highlight=False)
    console.print(
        f"Measured from {found['n_messages']:,} messages on the recommendations topic. start: the unadapted "
        f"start, these users' own lists of {START_LENGTH} before their first event, less what they then touched. "
        "popular: popularity with recency of the training users' events, at each user's time.",
        highlight=False,
    )


def _measure_table(found: dict[str, Any], measure: str, title: str) -> Table:
    """One row per number of events, one for all; the arms, and the first one minus each other, with 95 % intervals."""
    rows = {**found["by_k"], "all": found["pooled"]}
    arms = [name for name in found["pooled"][measure] if " minus " not in name]
    n_users = found["pooled"][measure][arms[0]]["n_users"]
    table = plain_table(f"{title} against what these {n_users} users did next")
    for column in ("events", *(SHORT.get(arm, arm) for arm in arms)):
        table.add_column(column, justify="right", no_wrap=True)
    for arm in arms[1:]:
        table.add_column(f"minus {SHORT.get(arm, arm)} (95 %)", justify="right", no_wrap=True)
    for k, measures in rows.items():
        cells = measures[measure]
        differences = [cells[f"{arms[0]} minus {arm}"] for arm in arms[1:]]
        table.add_row(
            k,
            *(f"{cells[arm]['mean']:.3f}" for arm in arms),
            *(f"{one['mean']:+.3f} \\[{one['low']:+.3f} {one['high']:+.3f}]" for one in differences),
        )
    return table


def _verdict(found: dict[str, Any]) -> str:
    """What the pooled nDCG says, in words that the figures bear out."""
    difference = found["pooled"]["ndcg"]["adapted minus popularity with recency"]
    low, high = difference["low"], difference["high"]
    said = "beat" if low > 0 else "lose to" if high < 0 else "are not told apart from"
    return (
        f"After 1 to {ROUNDS} events the lists {said} popularity with recency: nDCG@10 {difference['mean']:+.3f}, "
        f"95 % interval {low:+.3f} to {high:+.3f}, paired by user."
    )


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _next_commands(console: Console) -> None:
    console.print(
        "\n[bold]Next[/], by hand, on MovieLens-100K and a Kafka at 127.0.0.1:9092:\n"
        "  fewstep data movielens-100k --out data --hold-out 2\n"
        "  fewstep train --interactions data/interactions.jsonl --items data/items.jsonl --users data/users.jsonl"
        " --model-store models --model films\n"
        "  fewstep topics create\n"
        "  fewstep worker --model-store models --model films\n"
        "  fewstep watch --items data/items.jsonl          (in another terminal)\n"
        "  fewstep replay data/held-out.jsonl --rate 100   (in a third)\n"
        "  fewstep send me rating 50 --value 5             (Star Wars; see what comes in `watch`)",
        highlight=False,
        soft_wrap=True,
    )
