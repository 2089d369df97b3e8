import numpy as np
import pytest

from meta.dataset import load
from meta.recency import popularity_table


@pytest.fixture
def dataset(write_lines, event):
    rows = [event(f"u{n}", "old", day=n / 10) for n in range(100)]
    rows += [event(f"v{n}", "new", day=200 + n / 10) for n in range(100)]
    rows += [event(f"w{n}", "bad", day=100 + n / 10, kind="skip") for n in range(100)]
    items = [{"item_id": name} for name in ("old", "new", "bad", "never")]
    return load(write_lines("e.jsonl", rows), write_lines("i.jsonl", items))


@pytest.fixture
def table(dataset):
    return popularity_table(dataset, taus_days=(20.0, 100.0), max_rows=256)


def test_shares_sum_to_one_and_what_users_skip_is_not_popular(table):
    assert np.exp(table.log_popularity).sum() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(np.exp(table.log_recent).sum(axis=2), 1, rtol=1e-5)
    assert table.log_popularity[0] == table.log_popularity[1] > table.log_popularity[2] == table.log_popularity[3]


def test_before_the_first_event_recent_is_what_was_always_popular(table):
    np.testing.assert_allclose(table.log_recent[0, 0], table.log_popularity, atol=1e-6)


def test_the_recent_item_leads_and_more_so_where_events_fade_faster(table):
    lead = table.log_recent[-1, :, 1] - table.log_recent[-1, :, 0]
    assert lead[0] > lead[1] > 0
    early = table.row(np.array([table.times[0] + 20 * 86_400_000]))[0]
    assert table.log_recent[early, 0, 0] > table.log_recent[early, 0, 1]


def test_a_row_holds_from_its_time_on(table):
    times = table.times
    now = np.array([times[0] - 5, times[0], times[1] - 1, times[1], times[-1] + 10**12])
    assert table.row(now).tolist() == [0, 0, 0, 1, len(times) - 1]


def test_the_table_stays_within_its_rows_and_its_memory(dataset, monkeypatch):
    assert len(popularity_table(dataset, taus_days=(20.0,), max_rows=50).times) <= 50
    monkeypatch.setattr("meta.recency._MAX_BYTES", 4 * 4 * 12)
    assert len(popularity_table(dataset, taus_days=(20.0,), max_rows=50).times) <= 12
