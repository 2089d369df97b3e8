import json
from collections import Counter, defaultdict
from itertools import islice

import numpy as np
import pytest

from meta import synthetic
from meta.corpus import write

SIZES = synthetic.Sizes(users=200, items=160, events_per_user=40, drift_share=0.5)


@pytest.fixture(scope="module")
def world():
    return synthetic.generate(SIZES, seed=1)


@pytest.fixture(scope="module")
def events(world):
    return list(world.events())


def test_the_world_follows_its_seed(world, events, tmp_path):
    assert list(world.events()) == events
    assert list(islice(synthetic.generate(SIZES, seed=2).events(), 100)) != events[:100]
    for folder in ("a", "b"):
        write(synthetic.generate(SIZES, seed=1), tmp_path / folder)
    for name in ("interactions.jsonl", "items.jsonl", "users.jsonl", "truth.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_it_has_the_size_that_was_asked_for(world, events):
    assert (len(world.users), len(world.items), len(events)) == (200, 160, 8000)
    assert len({event.event_id for event in events}) == 8000
    assert len({item.title for item in world.items}) == 160


def test_events_come_by_time(events):
    times = [event.timestamp for event in events]
    assert times == sorted(times)


def test_users_do_not_return_to_an_item_at_once(events):
    recent = defaultdict(list)
    for event in events:
        assert event.item_id not in recent[event.user_id][-10:]
        recent[event.user_id].append(event.item_id)


def test_every_event_type_occurs_and_rejections_are_the_planted_share(events):
    counts = Counter(event.event_type for event in events)
    assert set(counts) == {"view", "click", "like", "dislike", "purchase", "skip"}
    assert (counts["skip"] + counts["dislike"]) / len(events) == pytest.approx(synthetic.REJECTED, abs=0.02)


def test_taste_moves_to_another_domain_where_the_truth_says(world, events):
    domain = {item.item_id: item.domain for item in world.items}
    chosen = defaultdict(list)
    for event in events:
        chosen[event.user_id].append((domain[event.item_id], event.event_type in ("skip", "dislike")))
    shares = []
    for truth in world.truth:
        theirs, at = chosen[truth["user_id"]], truth["drift_at"]
        halves = [[name for name, rejected in half if not rejected] for half in (theirs[:at], theirs[at:])]
        shares.append([[half.count(truth[side]) / len(half) for half in halves] for side in ("from", "to")])
    (from_before, from_after), (to_before, to_after) = np.mean(shares, axis=0)
    assert 50 < len(world.truth) < 150
    assert from_before > 2.5 * from_after
    assert to_after > 2.5 * to_before


def test_a_stated_interest_tells_of_the_taste(world, events):
    domain = {item.item_id: item.domain for item in world.items}
    interest = {user.user_id: user.features["interest"] for user in world.users}
    agree = np.mean([domain[event.item_id] == interest[event.user_id] for event in events])
    assert agree > 0.35


def test_truth_is_written_beside_the_files(world, tmp_path):
    counts = write(world, tmp_path)
    lines = (tmp_path / "truth.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == world.truth
    assert counts["truth.jsonl"] == len(world.truth)
