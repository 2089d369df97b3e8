import numpy as np

from meta import dataset
from meta.ties import with_ties_shuffled


def test_only_events_of_one_user_and_one_time_change_places(write_lines, event):
    days = [("u", [0, 1, 1, 1, 2]), ("v", [2, 3, 3])]
    rows = [event(user, f"{user}{number}", day, "rating", number) for user, at in days for number, day in enumerate(at)]
    items = write_lines("items.jsonl", [{"item_id": row["item_id"]} for row in rows])
    loaded = dataset.load(write_lines("events.jsonl", rows), items)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(60):
        shuffled = with_ties_shuffled(loaded, rng)
        assert (shuffled.item[[0, 4, 5]] == loaded.item[[0, 4, 5]]).all()
        assert (shuffled.rating == loaded.rating[shuffled.item]).all()
        assert (shuffled.kind == loaded.kind[shuffled.item]).all()
        seen.add((tuple(shuffled.item[1:4]), tuple(shuffled.item[6:])))
    assert {frozenset(first) for first, _ in seen} == {frozenset({1, 2, 3})}
    assert len(seen) == 12
