"""Whether the worker can make progress: what probes answer, and when the watchdog ends the process.

Everything here is read from other threads than the event loop's, so that a blocked loop is noticed too.
"""

from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

BEAT_S = 0.5
"""The event loop shows this often that it runs."""

BLOCKED_AFTER_S = 5.0
"""A loop that is late by more than ten beats answers neither heartbeats nor fetches."""


class View(NamedTuple):
    """What is seen of a worker at one moment; ages are in seconds."""

    stage: str
    """`starting`, `running` or `stopping`."""
    crashed: bool = False
    rebalancing: bool = False
    recovering: bool = False
    partitions: int = 0
    """Source partitions that are served."""
    lag: int = 0
    """Records that the last fetch answers told of and that are not applied."""
    beat_age: float = 0.0
    fetch_age: float = 0.0
    """Since Kafka last answered a fetch."""
    still: float = 0.0
    """For how long something waited to be done and nothing was."""
    step_age: float = 0.0
    """For how long the step in hand has been running, 0 without one."""

    @property
    def is_behind(self) -> bool:
        """Whether there is something to do, as far as can be known."""
        silent = self.partitions > 0 and self.fetch_age > BLOCKED_AFTER_S
        return self.stage == "running" and (self.rebalancing or self.recovering or self.lag > 0 or silent)


def obstacle(view: View, *, patience_s: float) -> str | None:
    """Why the worker makes no progress now, None if nothing is in its way; `patience_s` is what may take a while."""
    if view.stage != "running":
        return view.stage
    if view.crashed:
        return "crashed"
    if view.beat_age > BLOCKED_AFTER_S:
        return "the event loop is blocked"
    if view.rebalancing:
        return "rebalance"
    if view.recovering:
        return "recovery"
    if view.partitions and view.fetch_age > patience_s and not view.step_age:
        return "no answer from Kafka"
    if view.still > patience_s:
        return "records wait and none is applied"
    return None


def fatality(view: View, *, stall_timeout_s: float, step_timeout_s: float) -> str | None:
    """Why the process should end, so that a restart can cure it; None if it should not."""
    if view.crashed:
        return "the Faust app crashed"
    if view.step_age > step_timeout_s:
        return f"a step has been running for {view.step_age:.0f} s (worker.step_timeout_s is {step_timeout_s:.0f})"
    if view.still > stall_timeout_s:
        return f"no progress for {view.still:.0f} s with records waiting"
    return None


class Stillness:
    """Measures for how long a worker was behind without moving on. A rebalance alone is no movement."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._moved_at = clock()
        self._position: object = None

    def measure(self, position: object, *, is_behind: bool) -> float:
        """Seconds since `position` last changed or nothing was left to do."""
        now = self._clock()
        if position != self._position or not is_behind:
            self._position, self._moved_at = position, now
        return now - self._moved_at
