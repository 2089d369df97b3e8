import numpy as np
import pytest

from meta.arrivals import counts_before, first_of_each, through_arrivals
from meta.dataset import keep_events, load
from meta.supports import first_events
from meta.training import as_scorer


@pytest.fixture
def stream(write_lines, event):
    """Three users; `late` begins when the others have had x twice and y once, one of them at that very time."""
    items = write_lines("items.jsonl", [{"item_id": name} for name in "xyz"])
    rows = [event("one", "x", 0), event("one", "y", 1), event("one", "z", 2)]
    rows += [event("two", "x", 3), event("two", "y", 5), event("late", "x", 4), event("late", "y", 5)]
    return load(write_lines("events.jsonl", rows), items)


def test_only_what_others_did_strictly_before_now_is_counted(stream):
    late = np.array([stream.user_ids.index("late")])
    arrivals = first_of_each(stream, 2)
    # At the time of its second event: x of both others, y of one; the other y came at that time, z is a third event.
    assert counts_before(arrivals, first_events(stream, late, 2)).tolist() == [[2.0, 1.0, 0.0]]
    assert counts_before(arrivals, first_events(stream, late, 1)).tolist() == [[2.0, 1.0, 0.0]]


def test_planted_events_of_the_future_change_no_score(world, trained):
    supports = first_events(world, np.array([world.n_users // 2]), 5)
    past = keep_events(world, world.time_ms < supports.now_ms[0])
    assert 0 < len(past.item) < len(world.item)
    honest, planted = (through_arrivals(trained, world, arrivals).score(supports) for arrivals in (past, world))
    assert planted.tolist() == honest.tolist()


def test_items_that_others_turn_to_rise(world, trained):
    last = np.array([int(np.argmax(first_events(world, np.arange(world.n_users), 1).now_ms))])
    supports = first_events(world, last, 0)
    rise = through_arrivals(trained, world, world).score(supports) - as_scorer(trained).score(supports)
    counts = counts_before(world, supports)
    assert rise[counts == 0] == pytest.approx(0.0, abs=1e-6)
    assert (rise[counts > 0] > 0).all()
