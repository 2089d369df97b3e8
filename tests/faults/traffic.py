"""What fault tests send, and what has to come of it."""

import random
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep

import orjson
from deployment import DEADLINE_S, Deployment, without_clock
from reference.worker import wrong_rows

from schemas import Role
from stream.clients.connect import open_admin
from stream.clients.event_file import FileEvent
from stream.clients.outbox import Position

EVENTS_PER_USER = 20
START_MS = 1_700_000_000_000
Wrong = tuple[list[bytes], list[bytes]]
"""Users whose rows are wrong, and users whose last lists are."""
_ALTERED = Path(__file__).with_name("altered.py")


def altered(*changes: str | None) -> tuple[str, ...]:
    """What Python runs as a worker: the program itself, or with these changes."""
    named = [change for change in changes if change is not None]
    return (str(_ALTERED), ",".join(named)) if named else ("-m", "stream")


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = monotonic() + DEADLINE_S
    while not holds():
        assert monotonic() < deadline, f"it does not hold after {DEADLINE_S:.0f} s"
        sleep(0.05)


def event(user: str, item: str, *, at: int = START_MS, event_id: str | None = None) -> FileEvent:
    """One event."""
    value = {"item_id": item, "event_type": "like", "timestamp": at}
    return FileEvent(user, None, orjson.dumps(value | ({"event_id": event_id} if event_id else {})))


def events(rng: random.Random, count: int) -> list[FileEvent]:
    """Events of users in random order."""
    users = [f"u{number}" for number in range(count // EVENTS_PER_USER)] * EVENTS_PER_USER
    rng.shuffle(users)
    return [event(user, f"i{rng.randrange(200)}", at=START_MS + number) for number, user in enumerate(users)]


def last_words(made: Sequence[FileEvent]) -> list[FileEvent]:
    """One more event of every user: when its list is there, everything before it was applied, or never will be."""
    return [event(user, "i1", at=START_MS + 10**7) for user in sorted({one.user_id for one in made})]


def newest(made: Sequence[FileEvent], positions: Sequence[Position]) -> dict[str, int]:
    """The offset of every user's last event."""
    return {one.user_id: at.offset for one, at in zip(made, positions, strict=True)}


def settled(deployment: Deployment, made: Sequence[FileEvent]) -> Wrong:
    """Send the last words of these users, wait for their lists, and compare."""
    words = last_words(made)
    deployment.wait_for_lists(newest(words, deployment.send(words)))
    return differences(deployment)


def thawed_behind_the_others(
    deployment: Deployment, flag: Path, made: Sequence[FileEvent], *, publishing: bool = False
) -> None:
    """Worker 0, altered by `frozen_in_hand`, stops with a poll in hand; it goes on when worker 1 is beyond it, and is
    alone then. `flag` is its OBSTRUCTED.

    Worker 1 leaves at once, or where worker 0 is `publishing` what it had in hand, after that. For in a group that is
    empty Kafka takes the old offsets of worker 0 too: it goes back with its rows, and nothing is wrong.
    """
    third = len(made) // 3
    deployment.start_worker()
    deployment.wait_for_lists(newest(made[:third], deployment.send(made[:third])))
    flag.touch()
    positions = deployment.send(made[third : 2 * third])
    wait_until(lambda: not flag.exists())
    deployment.start_worker(1)
    positions += deployment.send(made[2 * third :])
    deployment.wait_for_lists(newest(made[third:], positions))
    before = deployment.changelog().n_records
    deployment.signal_worker(0, signal.SIGCONT)
    if publishing:
        wait_until(lambda: deployment.changelog().n_records > before)
    assert deployment.stop_worker(1) in (0, 70)  # 70: the partitions were just moving
    words = last_words(made)
    deployment.wait_for_lists(newest(words, deployment.send(words)))


def differences(deployment: Deployment) -> Wrong:
    """Users whose rows are not those of the reference, and whose lists not those of an undisturbed pass of the core."""
    _, lists = deployment.undisturbed()
    kept, published = deployment.changelog().last, deployment.lists().last
    return (
        wrong_rows(deployment.settings, deployment.interactions(), kept),
        [key for key in lists if without_clock(published.get(key)) != without_clock(lists[key])],
    )


def committed(deployment: Deployment) -> dict[int, int]:
    """The committed offset of each partition of the interactions."""
    group, topic = deployment.settings.worker.app_id, deployment.topic(Role.INTERACTIONS)
    with open_admin(deployment.settings.kafka) as admin:
        return {
            at.partition: kept.offset
            for at, kept in admin.list_group_offsets({group: None})[group].items()
            if at.topic == topic
        }
