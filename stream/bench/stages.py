"""Runs `fewstep worker` with clocks at the seams of a step: where its CPU time goes.

    python -m stream.bench.stages FIGURES worker ...

Each named function is called once per poll or per graph run, so that reading a clock costs nothing that shows. Time is
CPU time of the thread, and time in a named function inside of another counts for the inner one only. The thread that
fetches is asked for its own. What is left of the process, sending and storing above all, is told by whoever watches it.
"""

import json
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from runpy import run_module
from time import clock_gettime, pthread_getcpuclockid, thread_time
from typing import Any

STAGES: Mapping[str, Sequence[str]] = {
    "decode": ("stream.core.fold:decode_all",),
    "state": ("stream.core.step:fold", "stream.core.step:wanted_lists", "stream.core.step:encode_rows"),
    "adapt": ("stream.core.lists:encode_batch", "stream.engine.bundle:Bundle.adapt"),
    "rank": ("stream.core.step:make_lists", "stream.core.lists:run_graphs", "stream.core.lists:rank"),
    "render": ("stream.core.lists:render",),
}
"""Module and function, as the callers find them."""
FIRST, LAST = "stream.core.step:fold", "stream.core.step:make_lists"
"""Where a step begins and, but for writing rows, ends."""
CONSUME = "consume"


class Stages:
    """CPU seconds by stage, over all threads."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._inner = threading.local()
        self._fetched_before: float | None = None

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time counted for a stage, less that of timed functions inside."""

        @wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            outer, began = getattr(self._inner, "seconds", 0.0), thread_time()
            self._inner.seconds = 0.0
            try:
                return function(*args, **named)
            finally:
                taken = thread_time() - began
                with self._lock:
                    self.seconds[stage] += taken - self._inner.seconds
                self._inner.seconds = outer + taken

        return call

    def watching_fetch(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function; around it, the time of the thread that fetches is read, from its first call on."""

        @wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            if self._fetched_before is None:
                self._fetched_before = _fetching_seconds()
            try:
                return function(*args, **named)
            finally:
                self.seconds[CONSUME] = _fetching_seconds() - self._fetched_before

        return call


def install(stages: Stages) -> None:
    """Put clocks around all named functions. Raises AttributeError for a name that is no longer there."""
    for stage, places in STAGES.items():
        for place in places:
            _replace(place, partial(stages.timed, stage))
    for place in (FIRST, LAST):
        _replace(place, stages.watching_fetch)


def _replace(place: str, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner: Any = import_module(module)
    for one in owners:
        owner = getattr(owner, one)
    setattr(owner, name, change(getattr(owner, name)))


def _fetching_seconds() -> float:
    """CPU time of the threads that Faust fetches in, known by their class: only the shell imports what is Faust's."""
    return sum(
        clock_gettime(pthread_getcpuclockid(thread.ident))
        for thread in threading.enumerate()
        if type(thread).__name__ == "WorkerThread" and thread.ident is not None
    )


def main() -> None:
    """Run the command line after FIGURES and leave the seconds there when it ends."""
    figures = Path(sys.argv.pop(1))
    stages = Stages()
    install(stages)
    try:
        run_module("stream", run_name="__main__")  # as `python -m stream` does
    finally:
        figures.write_text(json.dumps(stages.seconds))


if __name__ == "__main__":
    main()
