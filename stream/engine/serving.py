"""What serves: a step that is exchanged between two polls, while the stream runs."""

from collections.abc import Sequence
from typing import Protocol

from stream.core.records import Outcome, ReadRow, Record


class StepFunction(Protocol):
    """`stream.core.step.Step`, or what wraps one."""

    def __call__(self, records: Sequence[Record], read_row: ReadRow, *, clock_ms: int) -> Outcome: ...


class Serving:
    """Has the signature of a step and hands each poll to the one that serves when the poll begins.

    So all lists that a poll makes for a user's arm come from one bundle and one catalog. Any thread may switch.
    """

    def __init__(self, step: StepFunction) -> None:
        self._step = step

    def __call__(self, records: Sequence[Record], read_row: ReadRow, *, clock_ms: int) -> Outcome:
        """Run the poll through the step that serves now."""
        return self._step(records, read_row, clock_ms=clock_ms)  # read once: a switch meanwhile is for the next poll

    def switch(self, step: StepFunction) -> None:
        """Let `step` serve from the next poll on."""
        self._step = step
