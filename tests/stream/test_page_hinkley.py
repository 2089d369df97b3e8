"""The drift test finds planted shifts soon, and is quiet on streams that only scatter."""

import numpy as np
import pytest

from stream.core.drift import LEARN_FIRST, PageHinkley


def alarms(values: np.ndarray) -> list[int]:
    detector = PageHinkley()
    return [at for at, value in enumerate(values) if detector.add(float(value))]


def test_losses_that_only_scatter_raise_no_alarm_in_200_000_events() -> None:
    # Skewed like losses are.
    raised = [len(alarms(np.random.default_rng(seed).gamma(4.0, 1.5, 20_000))) for seed in range(10)]
    assert sum(raised) == 0


@pytest.mark.parametrize(("rise", "within"), [(0.5, 350), (1.0, 130)])
def test_a_lasting_rise_is_found_within_a_stated_number_of_events(rise: float, within: int) -> None:
    for seed in range(20):
        values = np.random.default_rng(seed).gamma(4.0, 1.5, 4000)
        values[2000:] += rise * 3.0  # the deviation of that distribution
        first = alarms(values)[0]
        assert 2000 <= first < 2000 + within


def test_a_fall_is_no_drift_and_neither_is_a_short_burst() -> None:
    values = np.random.default_rng(0).gamma(4.0, 1.5, 4000)
    values[2000:] -= 3.0
    assert alarms(values) == []
    values = np.random.default_rng(1).gamma(4.0, 1.5, 4000)
    values[2000:2020] += 3.0
    assert alarms(values) == []


def test_after_an_alarm_it_learns_what_is_usual_now() -> None:
    values = np.random.default_rng(0).gamma(4.0, 1.5, 12_000)
    values[2000:] += 3.0
    assert len(alarms(values)) == 1


def test_a_constant_stream_and_its_first_values_raise_nothing() -> None:
    assert alarms(np.full(1000, 2.5)) == []
    assert alarms(np.concatenate([np.zeros(LEARN_FIRST - 2), [1e9]])) == []
