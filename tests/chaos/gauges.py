"""Memory and open handles of the workers over time, from /proc."""

from pathlib import Path
from time import monotonic
from typing import NamedTuple

import numpy as np

EVERY_S = 2.0
WARM_UP_S = 120.0
"""Bundles, graphs and buffers are laid out, and windows fill; what comes later has to be flat."""


class Sample(NamedTuple):
    """One look at a process."""

    at: float
    rss_mib: float
    handles: int
    threads: int


class Trend(NamedTuple):
    """How one process went on after its warm-up: least-squares slopes a minute, and the last values."""

    worker: int
    pid: int
    minutes: float
    rss_mib: float
    rss_mib_per_minute: float
    handles: int
    handles_per_minute: float
    threads: int


class Gauges:
    """Looks at every process every `EVERY_S` seconds."""

    def __init__(self) -> None:
        self.samples: dict[tuple[int, int], list[Sample]] = {}
        self._due = 0.0

    def look(self, pids: dict[int, int]) -> None:
        """Take samples of the processes, by number of their worker, if it is time."""
        now = monotonic()
        if now < self._due:
            return
        self._due = now + EVERY_S
        for number, pid in pids.items():
            found = _sample(pid, now)
            if found is not None:
                self.samples.setdefault((number, pid), []).append(found)

    def trends(self) -> list[Trend]:
        """Of every process that lived for at least as long again as its warm-up."""
        found = []
        for (number, pid), samples in sorted(self.samples.items()):
            later = [one for one in samples if one.at - samples[0].at >= WARM_UP_S]
            if len(later) < 2 or later[-1].at - later[0].at < WARM_UP_S:
                continue
            minutes = (later[-1].at - later[0].at) / 60
            rss, handles = (_slope(later, name) for name in ("rss_mib", "handles"))
            last = later[-1]
            found.append(Trend(number, pid, minutes, last.rss_mib, rss, last.handles, handles, last.threads))
        return found


def _slope(samples: list[Sample], name: str) -> float:
    minutes = [one.at / 60 for one in samples]
    return float(np.polyfit(minutes, [getattr(one, name) for one in samples], 1)[0])


def _sample(pid: int, now: float) -> Sample | None:
    process = Path("/proc") / str(pid)
    try:
        fields = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        handles = len(list((process / "fd").iterdir()))
        return Sample(now, int(fields["VmRSS"].split()[0]) / 1024, handles, int(fields["Threads"]))
    except (OSError, KeyError):  # it has just ended
        return None
