"""Keeps a client that retries from filling the log: one line a kind and interval, with the number left out."""

import logging
from collections.abc import Callable
from time import monotonic

INTERVAL_S = 10.0
MOST_KINDS = 1000


class OncePerInterval(logging.Filter):
    """Passes the first warning or error of a kind, then one every `interval_s` seconds, with the number held back.

    A kind is logger, level and the text before any arguments: a lost broker gives hundreds of lines a second of few.
    """

    def __init__(self, *, interval_s: float = INTERVAL_S, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._interval_s, self._clock = interval_s, clock
        self._kinds: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written; one that is may get a note on its text."""
        if record.levelno < logging.WARNING:
            return True
        kind = (record.name, record.levelno, str(record.msg))
        now = self._clock()
        if len(self._kinds) > MOST_KINDS:  # texts that were put together beforehand are a kind each
            self._kinds.clear()
        written, held_back = self._kinds.get(kind, (float("-inf"), 0))
        if now - written < self._interval_s:
            self._kinds[kind] = written, held_back + 1
            return False
        self._kinds[kind] = now, 0
        if held_back:
            record.msg = f"{record.msg} ({held_back} more like this)"
        return True
