"""The figures: one run's, their spread over the rounds, and ratios that are taken within a round."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.util import find_spec
from math import ceil
from statistics import median
from typing import Any, NamedTuple, TypeVar


class Variant(StrEnum):
    """The programs that are measured, in the order of the tables."""

    FLOOR = "floor"
    FAUST = "faust"
    PLAIN = "plain"
    TUNED = "tuned"
    MAML = "maml"
    MELU = "melu"
    FEWSTEP = "fewstep"
    EXACTLY_ONCE = "exactly-once"


_LOOP = "uvloop" if find_spec("uvloop") else "without uvloop: it is not installed"
DESCRIBED = {
    Variant.FLOOR: "aiokafka getmany alone",
    Variant.FAUST: "Faust consuming alone",
    Variant.PLAIN: "(a) bare Faust agent",
    Variant.TUNED: f"(a2) the same, linger 20 ms, {_LOOP}",
    Variant.MAML: "(b) the same with torch MAML per event, two towers without layers",
    Variant.MELU: "(b2) the same with torch MAML per event, decision layers as in MeLU",
    Variant.FEWSTEP: "(c) fewstep worker",
    Variant.EXACTLY_ONCE: "(d) the same, exactly_once",
}
WORKERS = (Variant.FEWSTEP, Variant.EXACTLY_ONCE)
"""Those that are `fewstep worker`."""
RESEARCH = (Variant.MAML, Variant.MELU)
"""Those that adapt by autograd, as research scripts do; they need torch."""
COMPARED = (Variant.PLAIN, Variant.TUNED, *RESEARCH, Variant.FAUST, Variant.EXACTLY_ONCE)
"""What (c) is divided by."""


@dataclass(frozen=True)
class Run:
    """One program over the topic once."""

    variant: Variant
    round: int
    events: int
    """Events applied between the first one taken in hand and the last list (or the last event, if it writes none)."""
    seconds: float
    cpu_s: float
    """User and system time of the process within these seconds."""
    peak_mib: float
    lists: int
    list_bytes: float
    """Mean size of a list's value; 0 without lists."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """CPU seconds by stage, of a worker only; they add up to `cpu_s`."""

    @property
    def events_per_s(self) -> float:
        """Rate."""
        return self.events / self.seconds

    @property
    def cpu_us_per_event(self) -> float:
        """CPU time per event in microseconds."""
        return self.cpu_s / self.events * 1e6

    @property
    def lists_per_s(self) -> float:
        """Rate of what was written; 0 without lists."""
        return self.lists / self.seconds

    @property
    def lists_per_event(self) -> float:
        """Below 1 where events of one user in one poll are answered together."""
        return self.lists / self.events


@dataclass(frozen=True)
class Delays:
    """Latency of one program at one rate in one round."""

    variant: Variant
    round: int
    rate: int
    """Events a second."""
    events: int
    unanswered: int
    p50_ms: float
    p99_ms: float
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    """CPU seconds while events were offered, of the program, the broker, the load generator and the reader of lists."""

    @property
    def seconds(self) -> float:
        """For which events were offered."""
        return self.events / self.rate


@dataclass(frozen=True)
class Rung:
    """One rate that was offered to the worker in an open loop, to find the highest that it sustains."""

    rate: int
    """Events a second."""
    events: int
    first_ms: float
    """Median delay of the first third of the events."""
    last_ms: float
    """Of the last third."""
    behind_s: float
    """What was unanswered when the last event was due, in seconds of the load."""
    sustained: bool


@dataclass(frozen=True)
class Section:
    """A further measurement: its name in JSON, a table, and the figures, frozen dataclasses, that it shows."""

    name: str
    title: str
    header: list[str]
    rows: list[list[str]]
    figures: list[Any]


class Spread(NamedTuple):
    """Over the rounds."""

    median: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread:
    """Median, least and greatest. Raises ValueError without values."""
    known = sorted(values)
    if not known:
        raise ValueError("no values")
    return Spread(median(known), known[0], known[-1])


Figures = TypeVar("Figures", Run, Delays)


def ratio(figures: Sequence[Figures], over: Variant, measure: Callable[[Figures], float]) -> Spread | None:
    """The worker's measure divided by that of `over` in the same round, over the rounds that have both; None if none.

    Of a denominator of 0 the round is left out.
    """
    ours = {one.round: measure(one) for one in figures if one.variant is Variant.FEWSTEP}
    theirs = {one.round: measure(one) for one in figures if one.variant is over}
    paired = [ours[number] / theirs[number] for number in ours if theirs.get(number)]
    return spread(paired) if paired else None


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that at least this share of all values does not exceed (nearest rank). Raises ValueError."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]
