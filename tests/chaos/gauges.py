"""Memory and open handles of the workers over time, from /proc."""

from pathlib import Path
from time import monotonic
from typing import NamedTuple

import numpy as np

EVERY_S = 2.0
WARM_UP_S = 120.0
"""Bundles, graphs and buffers are laid out, all users are seen, and windows and rings fill; what comes later has to be
flat, because the users, the items and the rate stay the same."""
BLOCK_S = 30.0
"""Samples of so long are averaged before a line is fitted: neighbors tell much the same, and blocks hardly."""
T_95 = 2.2
"""Half the 95 % interval in standard errors, for a dozen blocks."""


class Sample(NamedTuple):
    """One look at a process."""

    at: float
    rss_mib: float
    handles: int
    """But for RocksDB's table files, which come with each flush and go with each compaction."""
    threads: int
    stores: int
    """Open databases, one for each partition that it holds; 0 with the memory store."""


class Slope(NamedTuple):
    """A least-squares slope a minute with as many partitions held, and half of its 95 % interval."""

    per_minute: float
    margin: float


class Trend(NamedTuple):
    """How one process went on after its warm-up, and the last values."""

    worker: int
    pid: int
    minutes: float
    rss_mib: float
    rss: Slope
    handles: int
    handle: Slope
    threads: int


class Peak(NamedTuple):
    """The most that any process of a worker had, however short its life."""

    worker: int
    processes: int
    rss_mib: float
    handles: int


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

    def write(self, path: Path) -> None:
        """All samples as lines of worker, pid, seconds, MiB, handles, threads, open databases."""
        rows = ((*process, *one) for process, samples in sorted(self.samples.items()) for one in samples)
        names = "worker,pid,at_s,rss_mib,handles,threads,stores"
        path.write_text("\n".join([names, *(",".join(map(str, row)) for row in rows)]) + "\n")

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

    def peaks(self) -> list[Peak]:
        """Of every worker: those that faults end often have no trend."""
        found = []
        for number in sorted({number for number, _ in self.samples}):
            lives = [samples for (of, _), samples in self.samples.items() if of == number]
            every = [one for samples in lives for one in samples]
            most = max(one.rss_mib for one in every), max(one.handles for one in every)
            found.append(Peak(number, len(lives), *most))
        return found


def _slope(samples: list[Sample], name: str) -> Slope:
    blocks: dict[int, list[Sample]] = {}
    for one in samples:
        blocks.setdefault(int((one.at - samples[0].at) // BLOCK_S), []).append(one)
    means = {
        field: np.array([np.mean([getattr(one, field) for one in block]) for block in blocks.values()])
        for field in ("at", "stores", name)
    }
    # A partition more costs memory and handles for as long as it is held: that is no growth.
    columns = [np.ones(len(blocks)), means["at"] / 60, means["stores"]]
    x = np.stack(columns[: 2 if np.ptp(means["stores"]) == 0 else 3], axis=1)
    inverse = np.linalg.inv(x.T @ x)
    fitted = inverse @ x.T @ means[name]
    rest = means[name] - x @ fitted
    return Slope(float(fitted[1]), float(T_95 * np.sqrt(rest @ rest / (len(x) - x.shape[1]) * inverse[1, 1])))


def _sample(pid: int, now: float) -> Sample | None:
    process = Path("/proc") / str(pid)
    try:
        fields = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        opened = [path for one in (process / "fd").iterdir() if (path := one.readlink()).suffix != ".sst"]
        stores = sum(path.match("*.db/LOCK") for path in opened)
        return Sample(now, int(fields["VmRSS"].split()[0]) / 1024, len(opened), int(fields["Threads"]), stores)
    except (OSError, KeyError):  # it has just ended
        return None
