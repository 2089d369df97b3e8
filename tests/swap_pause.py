"""Measures how long the stream of lists pauses while a worker takes another bundle over, under a steady load:

    python tests/swap_pause.py [--rate 500] [--items 20000] [--swaps 20] [--listed] [--window 3]

Windows with a swap and windows without one take turns, in changing order, so that whatever else the machine does meets
both. Each begins with an announcement: of the bundle that does not serve, or of the one that does, which is looked for
in the store and changes nothing. Of each window the longest gap between two lists counts, by the worker's own clock;
what the swap costs is what the windows with it have more than those without, pair by pair. `--listed` tells the catalog
on the items topic too, which is then laid over each bundle. Prints a line of JSON.
"""

import argparse
import asyncio
import json
from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import sleep, time
from typing import Any, NamedTuple

import numpy as np
import orjson
from deployment import DEADLINE_S, Deployment
from tiny_bundle import CATEGORIES, DOMAINS, write_manifest, write_tiny_bundle

from schemas import Item, Manifest, ModelAnnouncement, Role
from stream.broker import open_broker
from stream.clients.connect import open_producer
from stream.clients.event_file import FileEvent
from stream.clients.outbox import open_outbox

USERS = 5000
D = 32
NOW = 1_700_000_000_000
LATER = "2026-02-01T12:00:00Z"
WARM_UP_S = 10.0


def load(served: Deployment, rate: int, n_items: int, over: Event) -> None:
    """Send events of random users on random items at a rate until it is over."""
    rng = np.random.default_rng(0)

    async def send() -> None:
        began, sent = time(), 0
        topic = served.topic(Role.INTERACTIONS)
        async with open_outbox(served.settings.kafka, topic, partitions=served.partitions) as outbox:
            while not over.is_set():
                due = int((time() - began) * rate)
                users, items = rng.integers(0, USERS, due - sent), rng.integers(0, n_items, due - sent)
                await outbox.send([event(*one) for one in zip(range(sent, due), users, items, strict=True)])
                sent = due
                await asyncio.sleep(0.01)

    asyncio.run(send())


def event(number: int, user: int, item: int) -> FileEvent:
    """A like."""
    value = {"user_id": f"u{user}", "item_id": f"i{item}", "event_type": "like", "timestamp": NOW + number}
    return FileEvent(f"u{user}", None, orjson.dumps(value))


def announce(served: Deployment, manifest: Manifest) -> None:
    """Let the store name a version, and say so."""
    models = served.folder / "models"
    write_manifest(models, manifest)
    content = (models / "default" / manifest.version / "manifest.json").read_bytes()
    announcement = ModelAnnouncement(
        model="default",
        version=manifest.version,
        digest=sha256(content).hexdigest(),
        url=f"default/{manifest.version}",
        published_at=LATER,
        action="promote",
    )
    with open_producer(served.settings.kafka) as producer:
        told = announcement.model_dump_json().encode()
        producer.send(served.topic(Role.MODELS), key=b"default", value=told).get(timeout=DEADLINE_S)


def list_catalog(served: Deployment, n_items: int) -> None:
    """Tell every item as it is in the bundle."""
    with open_producer(served.settings.kafka) as producer:
        for row in range(n_items):
            item = Item(item_id=f"i{row}", categories=[CATEGORIES[row % 3]], domain=DOMAINS[row % 2])
            told = item.model_dump_json().encode()
            producer.send(served.topic(Role.ITEMS), key=item.item_id.encode(), value=told)
        producer.flush()


class Window(NamedTuple):
    """When it began, in s, and which version is to serve at its beginning and at its end."""

    begin: float
    first: str
    last: str


def run(served: Deployment, options: argparse.Namespace) -> list[Window]:
    """Load the worker, and swap or not by turns."""
    folder, rng = served.folder / "models", np.random.default_rng(1)
    made = [
        write_tiny_bundle(folder, version=f"v{at}", n_items=options.items, d=D, seed=at, latest=False, created_at=LATER)
        for at in (2, 3)
    ]
    write_manifest(folder, made[0])
    if options.listed:
        list_catalog(served, options.items)
    over = Event()
    sender = Thread(target=load, args=(served, options.rate, options.items, over))
    windows: list[Window] = []
    served.start_worker()
    served.wait_for_log("ready: ")
    sender.start()
    try:
        sleep(WARM_UP_S)
        for _ in range(options.swaps):
            for swaps in rng.permutation([True, False]).tolist():
                before = made[0].version
                if swaps:
                    made = made[::-1]
                windows.append(Window(time(), before, made[0].version))
                announce(served, made[0])
                sleep(options.window)
    finally:
        over.set()
        sender.join()
    return windows


def longest_gap(lists: Sequence[tuple[int, str]], window: Window, length: float) -> int:
    """Milliseconds between two lists that followed each other, of (time in ms, version) in the order of time."""
    inside = [one for one in lists if window.begin * 1000 <= one[0] <= (window.begin + length) * 1000]
    assert {version for _, version in inside} == {window.first, window.last}, "the window is too short for a swap"
    return max(after[0] - before[0] for before, after in pairwise(inside))


def summary(longest: Sequence[int]) -> dict[str, Any]:
    """Of the longest gaps of windows."""
    found = np.quantile(longest, [0, 0.5, 0.9, 1])
    return dict(zip(("least_ms", "median_ms", "p90_ms", "most_ms"), found.round(1).tolist(), strict=True))


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rate", 500), ("items", 20_000), ("swaps", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--window", type=float, default=3.0)
    parser.add_argument("--listed", action="store_true")
    options = parser.parse_args()
    with (
        TemporaryDirectory() as folder,
        open_broker() as broker,
        Deployment(broker, "pause-", Path(folder), n_items=options.items) as served,
    ):
        windows = run(served, options)
        records = served.records(served.topic(Role.RECOMMENDATIONS))
    lists = sorted((record.timestamp, orjson.loads(record.value)["model_version"]) for record in records)
    longest = [(longest_gap(lists, window, options.window), window.first != window.last) for window in windows]
    without, within = ([gap for gap, swaps in longest if swaps is wanted] for wanted in (False, True))
    more = np.array(within) - np.array(without)
    drawn = np.random.default_rng(2).choice(more, (10_000, len(more)))
    print(  # noqa: T201
        json.dumps(
            {
                "broker": broker.name,
                "options": vars(options),
                "lists": len(lists),
                "longest gap without": summary(without),
                "longest gap with": summary(within),
                "with minus without": {
                    "median_ms": float(np.median(more)),
                    "95%": np.quantile(np.median(drawn, axis=1), [0.025, 0.975]).tolist(),
                    "mean_ms": round(float(more.mean()), 1),
                },
            }
        )
    )


if __name__ == "__main__":
    main()
