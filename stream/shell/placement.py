"""Whether keys lie where murmur2 puts them, from a sample: producers that disagree split a user in two."""

import logging

from aiokafka.partitioner import murmur2

from stream.shell.agent import Progress
from stream.shell.polls import Poll

ENOUGH = 100
"""Keys that a share is told of; one key of each partition and poll is looked at."""

logger = logging.getLogger("fewstep.worker")


class Placement:
    """Counts `keys_checked` and `keys_elsewhere`, and warns once where some lie elsewhere.

    A user's state is right on every partition that its events come to. But two producers with different partitioners
    (librdkafka's default is not Java's) give the user a state on each, and a list of half of what it did.
    """

    def __init__(self, progress: Progress, *, partitions: int) -> None:
        self._progress, self._partitions = progress, partitions
        self._warned = False

    def look(self, poll: Poll) -> None:
        """Look at the first record of each slice that has a key."""
        counts = self._progress.counts
        for part in poll.slices:
            key = part.records[0].key if part.records else None
            if key:
                counts["keys_checked"] += 1
                counts["keys_elsewhere"] += (murmur2(key) & 0x7FFFFFFF) % self._partitions != part.partition
        if not self._warned and counts["keys_elsewhere"] and counts["keys_checked"] >= ENOUGH:
            self._warned = True
            logger.warning(
                "%d of %d sampled keys lie on another partition than murmur2 gives: if producers of one topic differ, "
                "a user's events are split; set partitioner=murmur2_random where librdkafka produces",
                counts["keys_elsewhere"], counts["keys_checked"],
            )  # fmt: skip
