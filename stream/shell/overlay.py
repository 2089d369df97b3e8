"""Rows that are computed but not stored yet, over those that are: what a step reads while a poll is being delivered."""

from collections.abc import Mapping, Sequence

from stream.core.records import Message, ReadRow

UserKey = tuple[int, bytes]


class Overlay:
    """The rows of one poll over a store. A step's thread reads, the event loop's lays and lifts."""

    def __init__(self, read_row: ReadRow) -> None:
        self._read_row = read_row
        self._rows: Mapping[UserKey, bytes | None] = {}

    def read(self, partition: int, key: bytes) -> bytes | None:
        """The row as it will be once the poll is stored; None if there is none, or if the poll forgets the user."""
        rows = self._rows  # once: whoever lifts them has stored them before
        return rows[partition, key] if (partition, key) in rows else self._read_row(partition, key)

    def lay(self, rows: Sequence[Message]) -> None:
        """Put the rows of the poll that is delivered next in place of the last one's, which are stored."""
        self._rows = {(row.partition, row.key or b""): row.value for row in rows}

    def lift(self) -> None:
        """The rows are stored."""
        self._rows = {}
