"""Keys that another partitioner placed are counted, and said once."""

import logging
from types import SimpleNamespace

import pytest

from stream.clients.outbox import Outbox
from stream.shell.agent import Progress
from stream.shell.placement import ENOUGH, Placement
from stream.shell.polls import Poll, Slice

PARTITIONS = 4


def seen(progress: Progress, users: int, *, shift: int) -> None:
    """One poll for each user, whose key lies `shift` partitions beside its own."""
    placement, place = (
        Placement(progress, partitions=PARTITIONS),
        Outbox(None, "in", partitions=PARTITIONS).partition_of,
    )
    for number in range(users):
        partition = (place(f"u{number}") + shift) % PARTITIONS
        record = SimpleNamespace(key=f"u{number}".encode())
        placement.look(Poll(1, [Slice("in", partition, 0, 1, [record]), Slice("in", 0, 0, 1, [])]))


def test_keys_where_our_own_producers_put_them_are_in_their_place(caplog: pytest.LogCaptureFixture) -> None:
    progress = Progress()
    seen(progress, 2 * ENOUGH, shift=0)
    assert (progress.counts["keys_checked"], progress.counts["keys_elsewhere"]) == (2 * ENOUGH, 0)
    assert caplog.records == []


def test_keys_elsewhere_are_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    progress = Progress()
    with caplog.at_level(logging.WARNING, "fewstep.worker"):
        seen(progress, 2 * ENOUGH, shift=1)
    assert progress.counts["keys_elsewhere"] == 2 * ENOUGH
    assert [record.getMessage().partition(" sampled")[0] for record in caplog.records] == [f"{ENOUGH} of {ENOUGH}"]
