"""A seed gives the run, every kind of message and fault is in it, and what grows or differs is told."""

import random
from typing import Any

import pytest

from chaos.faults import KINDS, VICTIMS, schedule
from chaos.gauges import EVERY_S, WARM_UP_S, Gauges, Sample
from chaos.load import Traffic
from chaos.run import growing
from chaos.verdict import faults_of


def test_a_seed_gives_faults_and_traffic() -> None:
    def drawn(seed: int) -> tuple[Any, ...]:
        rng = random.Random(seed)
        faults, traffic = schedule(rng, 30), Traffic(random.Random(rng.random()))
        return faults, [traffic.draw() for _ in range(500)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_every_kind_of_fault_comes_before_any_comes_again() -> None:
    faults = schedule(random.Random(1), 2 * len(KINDS))
    for half in (faults[: len(KINDS)], faults[len(KINDS) :]):
        assert sorted(fault.kind for fault in half) == sorted(KINDS)
    assert {fault.victim for fault in faults} == set(VICTIMS)


def test_traffic_is_of_every_kind_and_nobody_has_both_profile_and_tombstone() -> None:
    traffic = Traffic(random.Random(1))
    sent = [traffic.draw() for _ in range(5000)]
    assert traffic.counts.keys() == {"event", "duplicate", "late", "bad", "forget", "request", "profile"}
    forgotten = {one.key for one in sent if one.value is None}
    assert forgotten & {one.key for one in sent if one.role == "users"} == set()


@pytest.mark.parametrize(("growth", "told"), [(0.0, []), (2.0, ["worker 0 grows"])])
def test_memory_that_grows_after_the_warm_up_is_told(growth: float, told: list[str]) -> None:
    gauges = Gauges()
    gauges.samples[0, 1] = []
    for number in range(round(4 * WARM_UP_S / EVERY_S)):
        at = number * EVERY_S
        stores = 1 + (at > 3 * WARM_UP_S)
        # What happens while it warms up does not count, nor what one more partition takes.
        grown = at if at < WARM_UP_S else WARM_UP_S + growth * at / 60
        gauges.samples[0, 1].append(Sample(at, 100 + grown + 10 * stores, 40 + 9 * stores, 9, stores))
    gauges.samples[1, 2] = gauges.samples[0, 1][: round(WARM_UP_S / EVERY_S)]  # this one did not live long enough
    assert growing(gauges.trends()) == told
    assert [(one.worker, one.processes) for one in gauges.peaks()] == [(0, 1), (1, 1)]


def test_what_should_be_nothing_and_is_something_is_named() -> None:
    sound = dict.fromkeys(
        (
            "users_with_wrong_rows", "users_with_wrong_lists", "users_with_an_old_model", "letters_missing",
            "letters_unexpected", "lists_repeated_with_other_content",
        ), 0,
    ) | {"lists_repeated": 3, "letters_repeated": 1, "delivery": "at_least_once"}  # fmt: skip
    sound["verify"] = {"lists": 10, "verified": 10, "differences": []}  # type: ignore[assignment]
    assert faults_of(sound) == []
    assert faults_of(sound | {"delivery": "exactly_once"}) == ["lists_repeated", "letters_repeated"]
    assert faults_of(sound | {"users_with_wrong_rows": 1}) == ["users_with_wrong_rows"]
    assert faults_of(sound | {"verify": {"lists": 10, "verified": 9, "differences": []}}) == ["verify"]
