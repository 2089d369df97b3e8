"""Open loops, program after program: what the worker sustains, and how long lists take at rates below."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from stream.bench.courses import apart, endless_load, in_turn
from stream.bench.figures import DESCRIBED, WORKERS, Delays, Rung, Variant
from stream.bench.latency import PHASES, find_sustained, measure_latency, phases_at
from stream.bench.runs import Course, running
from stream.bench.served import Served
from stream.bench.sustained import sustained_rate

TIMED = (Variant.PLAIN, *WORKERS)
"""Whose latency is measured."""


class Timed(NamedTuple):
    """What was found."""

    rungs: Sequence[Rung] = ()
    """Of the ladder to what (c) sustains, in the order in which they were offered."""
    delays: Sequence[Delays] = ()


def time_variants(
    course: Course,
    served: Served,
    variants: Sequence[Variant],
    *,
    users: int,
    rounds: int,
    broker_pid: int | None,
    show: Callable[[str], None],
) -> Timed:
    """Find what (c) sustains if it is among them, once; then time all at fixed rates, and workers at shares of that.

    Raises FewstepError if a program ends or never answers, BrokerError if Kafka fails.
    """
    rungs = _climb(course, served, users, broker_pid, show) if Variant.FEWSTEP in variants else []
    phases = phases_at(rate) if (rate := sustained_rate(rungs)) else PHASES
    delays: list[Delays] = []
    for number in range(rounds):
        for variant in in_turn([one for one in TIMED if one in variants], number):
            alone = apart(course, served, f"{variant}-{number}")
            events = endless_load(alone, served, users=users)
            with running(alone, variant) as child:
                found = asyncio.run(
                    measure_latency(
                        child, alone.settings.kafka, events, phases=phases if variant in WORKERS else PHASES,
                        number=number, broker_pid=broker_pid,
                    )
                )  # fmt: skip
            for one in found:
                show(
                    f"round {number + 1}, {DESCRIBED[variant]} at {one.rate:,} events/s: "
                    f"p50 {one.p50_ms:,.1f} ms, p99 {one.p99_ms:,.1f} ms"
                )
            delays += found
    return Timed(rungs, delays)


def _climb(
    course: Course, served: Served, users: int, broker_pid: int | None, show: Callable[[str], None]
) -> list[Rung]:
    def told(rung: Rung) -> None:
        verdict = "sustained" if rung.sustained else "not sustained"
        show(
            f"{rung.rate:,} events/s in an open loop: {verdict}, {rung.first_ms:,.1f} ms at first, "
            f"{rung.last_ms:,.1f} ms at last"
        )

    alone = apart(course, served, "sustained")
    events = endless_load(alone, served, users=users)
    with running(alone, Variant.FEWSTEP) as child:
        return asyncio.run(find_sustained(child, alone.settings.kafka, events, broker_pid=broker_pid, show=told))
