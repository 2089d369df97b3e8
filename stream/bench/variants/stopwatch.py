"""Clock readings of programs that write no lists, and so leave no other trace of when they were at work."""

import asyncio
import json
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from time import time


@dataclass
class Stopwatch:
    """Wall-clock seconds of the first event in hand and of the last one done, and how many there were."""

    began: float = 0.0
    ended: float = 0.0
    events: int = 0

    def in_hand(self) -> None:
        """Events were handed over; the first call starts the clock."""
        self.began = self.began or time()

    def done(self, count: int) -> None:
        """So many more events are done with."""
        self.events += count
        self.ended = time()

    def write(self, path: str) -> None:
        """Leave the readings as JSON."""
        Path(path).write_text(json.dumps(asdict(self)))


def stop_on_sigterm() -> asyncio.Event:
    """An event that SIGTERM sets, for the running loop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    return stop
