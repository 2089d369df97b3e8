"""What an open loop carries: the highest offered rate that is sustained, found by a short ladder.

A drained backlog tells less: it coalesces, and nobody sends or reads meanwhile. Here events come when they are due, and
load, broker and reader take from the same machine. A rate is sustained if the lists keep up with it: everything is
answered, the delay does not grow from the first to the last third of the time, and when the last event is due little is
left to answer.
"""

from collections.abc import Sequence
from math import sqrt
from statistics import median

from stream.bench.figures import Rung

WARM_UP = (2000, 3.0)
"""Events a second and seconds, before the first rung and not judged: a broker that has just started is slow."""
FIRST_RATE, LEAST_RATE = 4000, 100
STEP = 1.5
"""From a sustained rate to the next; a failed one is bisected, geometrically."""
PRECISION = 1.07
"""It ends when the least failed rate is no more than so many times the greatest sustained one."""
TRIES = 2
"""A rate has failed when it fails so often: a pause of something else is not to decide."""
GROWTH = 0.05
"""Seconds that the median delay may grow in a second: at most so large a share of what is offered is left behind."""
BEHIND_S = 0.25
"""Of what is offered in a second, so large a part may be unanswered when the last event is due."""


def judge(waits: Sequence[float | None], delays: Sequence[float], *, rate: int) -> Rung:
    """What came of offering this rate. In the order in which they were due: `waits` in seconds, None for no answer;
    `delays` the same with the time waited in vain.
    """
    third = max(1, len(delays) // 3)
    first, last = median(delays[:third]), median(delays[-third:])
    seconds = len(delays) / rate
    left = sum(number / rate + delay > seconds for number, delay in enumerate(delays))
    # The middles of the first and the last third lie two thirds of the time apart.
    grows = last - first > GROWTH * seconds * 2 / 3
    holds = None not in waits and not grows and left / rate <= BEHIND_S
    return Rung(rate, len(delays), first * 1000, last * 1000, left / rate, holds)


def sustained_rate(rungs: Sequence[Rung]) -> int:
    """Events a second: the highest that was sustained, 0 if none was."""
    return max((rung.rate for rung in rungs if rung.sustained), default=0)


def next_rate(rungs: Sequence[Rung]) -> int | None:
    """Events a second to be offered after these, None when it is known well enough."""
    if not rungs:
        return FIRST_RATE
    held = sustained_rate(rungs)
    failed = _least_failed(rungs)
    if not rungs[-1].sustained and rungs[-1].rate != failed:
        return rungs[-1].rate  # once more
    if failed is None:
        return _rounded(held * STEP)
    if not held:
        return _rounded(failed / STEP**2) if failed > LEAST_RATE else None
    between = _rounded(sqrt(held * failed))
    return between if failed > held * PRECISION and held < between < failed else None


def _least_failed(rungs: Sequence[Rung]) -> int | None:
    """The least rate that failed as often as it was allowed to."""
    tried = [rung.rate for rung in rungs if not rung.sustained]
    return min((rate for rate in tried if tried.count(rate) >= TRIES), default=None)


def _rounded(rate: float) -> int:
    return max(LEAST_RATE, 100 * round(rate / 100))
