"""The demo's traffic: profiles and requests first, then each user's first events in rounds, then all that is left."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from schemas import KafkaSettings, RecommendationRequest, Role, UserProfile, topic_name
from stream.clients.event_file import FileEvent, in_rounds
from stream.clients.outbox import Position, open_outbox
from stream.demo.inbox import Inbox

ROUNDS = 5
START_LENGTH = 20
"""Length of the unadapted list: 10 must remain when what the user then touched is taken out."""
FIRST_LIST_WITHIN_S = 60.0
ROUND_WITHIN_S = 30.0
DRAINED_WITHIN_S = 120.0
CHUNK = 1000


@dataclass(frozen=True)
class Stage:
    """Where the traffic goes and who looks on."""

    kafka: KafkaSettings
    partitions: int
    inbox: Inbox
    check: Callable[[], None]
    """Raises if the worker is gone for good."""
    show: Callable[[str], None]
    """Says what goes on."""


async def introduce(stage: Stage, events: Sequence[FileEvent], profiles: Sequence[UserProfile]) -> None:
    """Send the users' profiles, then ask for each user's list before the first event."""
    first: dict[str, FileEvent] = {}
    for event in events:
        first.setdefault(event.user_id, event)
    known = [profile for profile in profiles if profile.user_id in first]
    await _send(stage, Role.USERS, [FileEvent(p.user_id or "", None, p.model_dump_json().encode()) for p in known])
    users = {profile.user_id or "" for profile in known}
    stage.inbox.wait_until(
        lambda: users.issubset(stage.inbox.lists),
        timeout_s=FIRST_LIST_WITHIN_S,
        what="the worker's first lists",
        check=stage.check,
    )
    requests = [
        FileEvent(
            user,
            None,
            RecommendationRequest(user_id=user, n=START_LENGTH, timestamp=event.timestamp_ms)
            .model_dump_json(exclude_none=True)
            .encode(),
        )
        for user, event in first.items()
    ]
    sent = await _send(stage, Role.REQUESTS, requests)
    _wait_applied(stage, Role.REQUESTS, sent, FIRST_LIST_WITHIN_S)


async def first_events(stage: Stage, events: Sequence[FileEvent]) -> None:
    """Send each user's first events one round at a time, and wait for the round's lists."""
    for number, batch in enumerate(in_rounds(events, ROUNDS), 1):
        began = monotonic()
        await _send(stage, Role.INTERACTIONS, batch)
        users = [event.user_id for event in batch]
        _wait_for_lists(stage, users, number)
        stage.show(f"event {number} of {len(users)} users: new lists for all within {monotonic() - began:.2f} s")


async def remaining_events(stage: Stage, events: Sequence[FileEvent]) -> None:
    """Send what is left in the order of the file, as fast as it goes, and show rate and lag until nothing waits."""
    counts: Counter[str] = Counter()
    rest = []
    for event in events:
        counts[event.user_id] += 1
        if counts[event.user_id] > ROUNDS:
            rest.append(event)
    topic = topic_name(Role.INTERACTIONS, stage.kafka.topic_prefix)
    newest: dict[tuple[str, int], int] = {}
    began = shown = monotonic()
    sent = 0

    def look() -> None:
        nonlocal shown
        stage.check()
        if monotonic() - shown > 1.0:
            shown = monotonic()
            _show_rate(stage, sent, newest, shown - began)

    async with open_outbox(stage.kafka, topic, partitions=stage.partitions) as outbox:
        for start in range(0, len(rest), CHUNK):
            newest |= _newest(topic, await outbox.send(rest[start : start + CHUNK]))
            sent = min(start + CHUNK, len(rest))
            look()
    stage.inbox.wait_until(
        lambda: _lag(stage, newest) == 0, timeout_s=DRAINED_WITHIN_S, what="the rest of the lists", check=look
    )
    _show_rate(stage, sent, newest, monotonic() - began)


def _wait_for_lists(stage: Stage, users: Sequence[str], support_size: int) -> None:
    stage.inbox.wait_until(
        lambda: all(support_size in stage.inbox.lists.get(user, ()) for user in users),
        timeout_s=ROUND_WITHIN_S,
        what=f"the lists after event {support_size}",
        check=stage.check,
    )


async def _send(stage: Stage, role: Role, events: Sequence[FileEvent]) -> list[Position]:
    topic = topic_name(role, stage.kafka.topic_prefix)
    async with open_outbox(stage.kafka, topic, partitions=stage.partitions) as outbox:
        return await outbox.send(events)


def _wait_applied(stage: Stage, role: Role, sent: Sequence[Position], timeout_s: float) -> None:
    newest = _newest(topic_name(role, stage.kafka.topic_prefix), sent)
    stage.inbox.wait_until(
        lambda: _lag(stage, newest) == 0, timeout_s=timeout_s, what=f"answers to {role}", check=stage.check
    )


def _newest(topic: str, sent: Sequence[Position]) -> dict[tuple[str, int], int]:
    newest: dict[tuple[str, int], int] = {}
    for partition, offset in sent:
        newest[topic, partition] = max(offset, newest.get((topic, partition), -1))
    return newest


def _lag(stage: Stage, newest: dict[tuple[str, int], int]) -> int:
    """Events sent and not yet part of a list."""
    return sum(max(0, offset - stage.inbox.applied.get(at, -1)) for at, offset in newest.items())


def _show_rate(stage: Stage, sent: int, newest: dict[tuple[str, int], int], seconds: float) -> None:
    lag = _lag(stage, newest)
    stage.show(
        f"{sent:,} events sent, {max(0, sent - lag) / max(seconds, 0.001):,.0f} events/s applied, lag {lag:,}, "
        f"{stage.inbox.n_lists:,} lists so far"
    )
