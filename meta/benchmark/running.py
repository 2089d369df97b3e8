"""Runs sections on splits in two processes; nothing is kept between runs."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from meta.benchmark.folds import load_movielens, split
from meta.benchmark.section import Findings
from meta.benchmark.sections import BY_NAME
from meta.dataset import Dataset

PROCESSES = 2
Tell = Callable[[str], None]

_data: list[Dataset] = []
"""What a process of the pool works on, read once when it starts"""


def run(names: Sequence[str], folds: Sequence[int], *, tell: Tell) -> Iterator[tuple[str, Findings]]:
    """Findings of each section, in the order given, once all of its splits and the sections before it are measured."""
    jobs = [(name, fold) for name in names for fold in (folds[:1] if BY_NAME[name].once else folds)]
    parts: dict[tuple[str, int], Any] = {}
    left = list(names)
    with _pool() as pool:
        waiting = {pool.submit(_measure, *job): job for job in jobs}
        tell(f"0 of {len(jobs)} parts")
        for done in as_completed(waiting):
            parts[waiting[done]], seconds = done.result()
            section, fold = waiting[done]
            tell(f"{len(parts)} of {len(jobs)} parts; {section}, fold {fold}: {seconds:.0f} s")
            while left and all(job in parts for job in jobs if job[0] == left[0]):
                name = left.pop(0)
                yield name, BY_NAME[name].findings([parts[job] for job in jobs if job[0] == name])


@contextmanager
def _pool() -> Iterator[ProcessPoolExecutor]:
    # Started afresh and not forked: torch's threads do not survive a fork.
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn"), initializer=_begin) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin() -> None:
    import torch

    # Two processes share the cores; equal numbers of threads give equal figures.
    torch.set_num_threads(1)
    _data.append(load_movielens())


def _measure(name: str, fold: int) -> tuple[Any, float]:
    started = time.perf_counter()
    return BY_NAME[name].measure(split(_data[0], fold)), time.perf_counter() - started
