"""The load: interactions on items that the model knows, and the topic filled with them."""

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import orjson
from numpy.typing import NDArray

from schemas import EventKinds, KafkaSettings
from stream.clients.event_file import FileEvent
from stream.clients.outbox import open_outbox

_CHUNK = 5000
APART_MS = 1000
"""In event time, from one event to the next."""
_TAIL = 0.8
"""Item popularity falls with this power of the rank."""
ACTIVITY = 0.8
"""User activity falls with this power of the rank: a few write often, most write seldom."""


def make_events(
    *,
    users: int,
    item_ids: Sequence[str],
    kinds: EventKinds,
    event_types: Sequence[str],
    oldest_ms: int,
    seed: int,
) -> Iterator[FileEvent]:
    """Endless interactions a second apart from `oldest_ms` on, of types that the model learned and the worker accepts.

    Users and items are drawn by power laws. How many lists answer how many events depends on `users`: of many, few
    write twice within a poll.
    """
    rng = np.random.default_rng(seed)
    actions = _actions(kinds, event_types)
    for first in count(0, _CHUNK):
        items = _draw(rng, len(item_ids), _CHUNK, power=_TAIL)
        owners = _draw(rng, users, _CHUNK, power=ACTIVITY)
        for number, (user, item) in enumerate(zip(owners.tolist(), items.tolist(), strict=True), first):
            timestamp = oldest_ms + number * APART_MS
            event = {
                "event_id": f"{seed:04x}-{number:08x}",
                "user_id": f"user-{user}",
                "item_id": item_ids[item],
                **actions[number % len(actions)],
                "timestamp": timestamp,
            }
            yield FileEvent(f"user-{user}", timestamp, orjson.dumps(event))


def _draw(rng: np.random.Generator, among: int, number: int, *, power: float) -> NDArray[np.int64]:
    weights = (1 + np.arange(among)) ** -power
    return rng.choice(among, size=number, p=weights / weights.sum())


async def fill(kafka: KafkaSettings, topic: str, events: Sequence[FileEvent], *, partitions: int) -> None:
    """Send all events and wait until they are acknowledged. Raises BrokerError if Kafka fails."""
    async with open_outbox(kafka, topic, partitions=partitions) as outbox:
        for start in range(0, len(events), _CHUNK):
            await outbox.send(events[start : start + _CHUNK])


def _actions(kinds: EventKinds, accepted: Sequence[str]) -> list[dict[str, object]]:
    plain: list[dict[str, object]] = [{"event_type": name} for name in kinds.types if name in accepted]
    valued: list[dict[str, object]] = [
        {"event_type": name, "value": edge} for name, cuts in kinds.edges.items() if name in accepted for edge in cuts
    ]
    return plain + valued or [{"event_type": accepted[0]}]
