import numpy as np
import pytest

from meta import dataset, prior

DAY = 86_400_000


@pytest.fixture
def loaded(write_lines, event):
    items = write_lines("items.jsonl", [{"item_id": name} for name in "abc"])
    rows = [event("u", "a", 0), event("u", "b", 1), event("v", "a", 3), event("w", "a", 3)]
    return dataset.load(write_lines("events.jsonl", rows), items)


def test_popularity_counts_events(loaded):
    assert prior.popularity(loaded).tolist() == [3, 1, 0]


def test_decayed_counts_hold_the_events_strictly_before_each_time(loaded):
    start = loaded.time_ms.min()
    times = start + np.array([3, 0, 5]) * DAY
    expected = [[np.exp(-1.5), np.exp(-1.0), 0], [0, 0, 0], [np.exp(-2.5) + 2 * np.exp(-1.0), np.exp(-2.0), 0]]
    np.testing.assert_allclose(prior.decayed_counts(loaded, times, 2.0), expected, rtol=1e-12)


def test_repeated_times_give_repeated_rows(loaded):
    counts = prior.decayed_counts(loaded, np.repeat(loaded.time_ms.max(), 2), 2.0)
    assert counts[0].tolist() == counts[1].tolist()
    assert counts.any()


@pytest.mark.parametrize("max_rows", [1, 2, 3, 4, 5, 100])
def test_the_grid_is_ascending_short_enough_and_ends_after_the_last_event(loaded, max_rows):
    grid = prior.time_grid(loaded, max_rows)
    assert len(grid) <= max_rows
    assert (np.diff(grid) > 0).all()
    assert grid[-1] == loaded.time_ms.max() + 1


def test_the_grid_is_daily_where_it_may_be(loaded):
    assert prior.time_grid(loaded, 100).tolist() == [
        *(loaded.time_ms.min() + np.arange(4) * DAY).tolist(),
        loaded.time_ms.max() + 1,
    ]
