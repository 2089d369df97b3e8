"""What producers send on a bad day, drawn from a seed, and the thread that sends it without a pause."""

import asyncio
import random
import threading
from collections import Counter, deque
from time import monotonic
from typing import Any, NamedTuple

import orjson
from aiokafka import AIOKafkaProducer

from schemas import Role, topic_name
from schemas.connection import KafkaSettings

START_MS = 1_700_000_000_000
N_USERS = 400
N_ITEMS = 200
EVENT_TYPES = ("view", "click", "like", "dislike", "purchase", "skip")
TICK_S = 0.2
_SHARES = {"event": 80, "duplicate": 4, "late": 5, "bad": 3, "forget": 1, "request": 5, "profile": 2}
_BAD: tuple[tuple[bytes | None, bytes], ...] = (
    (b"u1", b'{"item_id": "i1", "event'),
    (b"u2", b""),
    (b"u3", b'{"item_id": "i1", "event_type": "unheard-of"}'),
    (b"u4", b'{"schema_version": 2, "item_id": "i1", "event_type": "view"}'),
    (b"u5", b'{"item_id": "i1", "event_type": "view", "value": "' + b"x" * 70_000 + b'"}'),
    (b"\xff", b'{"item_id": "i1", "event_type": "view"}'),
    (None, b'{"item_id": "i1", "event_type": "view"}'),
)


class Sent(NamedTuple):
    """A message of an input topic, not yet sent."""

    role: Role
    key: bytes | None
    value: bytes | None


class Traffic:
    """An endless, seeded sequence of messages. Of profiles and forgetting a user knows only one.

    The order between two topics is nobody's, so that a user who was forgotten on the one and gets a profile on the
    other could rightly end either way.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._recent: deque[Sent] = deque(maxlen=300)
        self.counts: Counter[str] = Counter()

    def draw(self) -> Sent:
        """The next message."""
        rng = self._rng
        kind = rng.choices(tuple(_SHARES), tuple(_SHARES.values()))[0]
        if kind == "duplicate" and not self._recent:
            kind = "event"
        self.counts[kind] += 1
        # One user in ten messages is always the same one.
        user = 0 if rng.random() < 0.1 else rng.randrange(N_USERS)
        match kind:
            case "duplicate":
                return rng.choice(self._recent)
            case "bad":
                return Sent(Role.INTERACTIONS, *rng.choice(_BAD))
            case "forget":
                return Sent(Role.INTERACTIONS, _name(user - user % 3 + 1), None)
            case "profile":
                features = {"features": {"city": rng.choice(("Aachen", "Bergen")), "age": rng.randrange(90)}}
                return Sent(Role.USERS, _name(user - user % 3), orjson.dumps(features))
            case "request":
                wanted = {"n": rng.randrange(1, 20), "timestamp": self._now()}
                return Sent(Role.REQUESTS, _name(user), orjson.dumps(wanted))
        event = self._event(user, late=kind == "late")
        self._recent.append(event)
        return event

    def _now(self) -> int:
        return START_MS + 10 * self.counts.total()

    def _event(self, user: int, *, late: bool) -> Sent:
        rng = self._rng
        fields = {
            "event_id": f"e{self.counts.total()}",
            "item_id": f"i{rng.randrange(N_ITEMS + 20)}",  # some are unknown to the bundle
            "event_type": rng.choice(EVENT_TYPES),
            "timestamp": self._now() - (rng.randrange(3_600_000) if late else 0),
        }
        return Sent(Role.INTERACTIONS, _name(user), orjson.dumps(fields))


class Load(threading.Thread):
    """Sends `rate` messages a second, acknowledged and in order, until `end` is called. Slower while Kafka is."""

    def __init__(self, traffic: Traffic, kafka: KafkaSettings, *, rate: int) -> None:
        super().__init__(name="load", daemon=True)
        self._traffic, self._kafka, self._per_tick = traffic, kafka, round(rate * TICK_S)
        self._over = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        """The thread's work."""
        try:
            asyncio.run(self._send())
        except Exception as error:  # noqa: BLE001 - told to whoever ends the load
            self.error = error

    def end(self) -> None:
        """Let what is under way be acknowledged. Raises what has ended the load before its time."""
        self._over.set()
        self.join(120)
        if self.error is not None:
            raise self.error

    async def _send(self) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self._kafka.bootstrap_servers, acks="all")
        await producer.start()
        try:
            while not self._over.is_set():
                due = monotonic() + TICK_S
                sent = [await self._one(producer, self._traffic.draw()) for _ in range(self._per_tick)]
                await asyncio.gather(*sent)
                await asyncio.sleep(max(0.0, due - monotonic()))
        finally:
            await producer.stop()

    async def _one(self, producer: Any, message: Sent) -> Any:
        topic = topic_name(message.role, self._kafka.topic_prefix)
        partition = 0 if message.key is None else None
        return await producer.send(topic, value=message.value, key=message.key, partition=partition)


def _name(user: int) -> bytes:
    return f"u{user}".encode()
