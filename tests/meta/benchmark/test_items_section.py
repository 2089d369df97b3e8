import numpy as np

from meta import dataset
from meta.benchmark import folds, items


def test_lines_say_whether_the_first_users_tell_more_than_content_and_activity():
    noise = np.random.default_rng(0).normal(0, 0.01, (60, 2, len(items.KS)))
    level = {items.LEARNED: 0.8, items.CONTENT: 0.7, items.ACTIVITY: 0.8, items.LATELY: 0.7}
    pooled = {name: value + noise * (name == items.LEARNED) for name, value in level.items()}
    lines = items.judge(pooled)
    assert len(lines) == 8
    assert all(line.holds == (items.CONTENT in line.asked) for line in lines)


def test_a_split_is_measured_from_end_to_end(made_up):
    world = dataset.load(made_up / "interactions.jsonl", made_up / "items.jsonl", made_up / "users.jsonl")
    part = items.measure(folds.split(world, 0), items.RECIPE.model_copy(update={"d": 4, "epochs": 1}))
    found = items.findings([part, part])
    assert len(found.tables) == 2
    assert len(found.lines) == 8
