import numpy as np

from meta.dataset import load
from meta.tasks import item_tasks


def test_an_item_has_a_history_of_users_by_time_and_its_content_as_features(write_lines, event):
    rows = [event("u", "b", 3), event("u", "a", 1), event("v", "b", 2)]
    items = [{"item_id": name, "categories": [kind]} for name, kind in (("a", "x"), ("b", "y"), ("c", "y"), ("d", "x"))]
    profiles = [{"user_id": name, "features": {"club": name}} for name in "uv"]
    world = load(write_lines("e.jsonl", rows), write_lines("i.jsonl", items), write_lines("u.jsonl", profiles))
    tasks = item_tasks(world)
    assert list(tasks.user_ids) == ["a", "b", "c", "d"]
    assert tasks.item_ids == ["u", "v"]
    assert tasks.starts.tolist() == [0, 1, 3, 3, 3]
    assert tasks.item.tolist() == [0, 1, 0]
    assert (np.diff(tasks.time_ms[1:]) > 0).all()
    assert (tasks.user_matrix[1] == tasks.user_matrix[2]).all()
    assert (tasks.user_matrix[0] != tasks.user_matrix[1]).any()
    assert tasks.items[0].categories != tasks.items[1].categories
