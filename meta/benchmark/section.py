"""What a section of the benchmark is."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich.table import Table

from meta.benchmark.folds import Split
from meta.benchmark.lines import Line


class Findings(NamedTuple):
    """What a section prints, and how it stands by the acceptance."""

    tables: list[Table]
    lines: list[Line]


class Section(NamedTuple):
    """A part of the benchmark that can be run by itself.

    `measure` runs once per split, in a process of its own, and gives what can be pickled; `findings` gets all of that,
    in the order of the splits. A section on other data ignores its split and says so with `once`.
    """

    name: str
    measure: Callable[[Split], Any]
    findings: Callable[[Sequence[Any]], Findings]
    once: bool = False
    """Measure on the first split only"""
