"""The ladder to the rate that an open loop sustains: what counts as sustained, and which rate comes next."""

import pytest

from stream.bench.figures import Rung
from stream.bench.sustained import FIRST_RATE, PRECISION, STEP, judge, next_rate, sustained_rate

RATE = 1000


def rung(rate: int, sustained: bool) -> Rung:
    return Rung(rate, rate, 5.0, 5.0, 0.0, sustained)


def climb(capacity: float, *, hiccups: int = 0) -> list[Rung]:
    """The rungs if all below the capacity is sustained, but for the first so many."""
    rungs: list[Rung] = []
    while (rate := next_rate(rungs)) is not None:
        rungs.append(rung(rate, rate <= capacity and len(rungs) >= hiccups))
        assert len(rungs) < 40
    return rungs


def verdict(delays: list[float]) -> Rung:
    return judge(delays, delays, rate=RATE)


def test_a_delay_that_does_not_grow_is_sustained() -> None:
    found = verdict([0.01, 0.03, 0.02] * 1333)
    assert found.sustained
    assert (found.first_ms, found.last_ms, found.behind_s) == pytest.approx((20.0, 20.0, 0.02), abs=0.01)


def test_a_delay_that_grows_with_the_time_is_not_sustained() -> None:
    # A tenth of what is offered is left behind.
    assert not verdict([0.01 + 0.1 * number / RATE for number in range(4000)]).sustained
    assert verdict([0.01 + 0.01 * number / RATE for number in range(4000)]).sustained


def test_a_pause_in_the_middle_is_forgiven_and_a_backlog_at_the_end_is_not() -> None:
    pause = [0.3 - number / RATE for number in range(290)]
    quiet = [0.01] * (4000 - len(pause))
    assert verdict([*quiet[:2000], *pause, *quiet[2000:]]).sustained
    late = verdict([0.5] * 4000)  # steady, and yet half a second of the load waits for an answer
    assert (late.sustained, late.behind_s) == (False, pytest.approx(0.5, abs=0.01))


def test_an_event_without_an_answer_is_not_sustained() -> None:
    assert not judge([0.01, None, 0.01], [0.01, 0.02, 0.01], rate=RATE).sustained


@pytest.mark.parametrize("capacity", [150.0, 900.0, 4000.0, 13_000.0, 71_000.0])
def test_the_ladder_ends_close_below_the_capacity(capacity: float) -> None:
    rungs = climb(capacity)
    assert rungs[0].rate == FIRST_RATE
    assert capacity / max(PRECISION, (capacity + 100) / capacity) - 100 <= sustained_rate(rungs) <= capacity
    assert max(one.rate for one in rungs) <= max(FIRST_RATE, capacity * STEP + 100)


def test_a_rate_that_fails_once_is_tried_again() -> None:
    assert [one.rate for one in climb(13_000.0, hiccups=1)][:2] == [FIRST_RATE, FIRST_RATE]
    assert sustained_rate(climb(13_000.0, hiccups=1)) == sustained_rate(climb(13_000.0))


def test_nothing_is_sustained_where_the_least_rate_fails() -> None:
    assert sustained_rate(climb(0.0)) == 0
