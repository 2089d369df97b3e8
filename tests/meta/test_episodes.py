from dataclasses import replace

import numpy as np
import pytest

from meta.config import TrainingConfig
from meta.dataset import load
from meta.episodes import draw, episodes, refuse_leaks
from meta.supports import windows
from meta.tasks import item_tasks
from schemas.errors import DataError


@pytest.fixture
def dataset(write_lines, event):
    rows = [event("short", item, day) for day, item in enumerate(["a", "b", "a", "c"])]
    rows += [event("long", f"i{number}", number) for number in range(40)]
    rows += [event("picky", item, day, kind=kind) for day, (item, kind) in enumerate([("a", "view"), ("b", "skip")])]
    items = [{"item_id": name} for name in ["a", "b", "c", *(f"i{number}" for number in range(40))]]
    return load(write_lines("e.jsonl", rows), write_lines("i.jsonl", items))


def one(dataset, user, k, begin):
    return episodes(dataset, np.array([user]), np.array([k]), query_begin=np.array([begin]))


def test_the_query_set_is_what_comes_later_and_is_new(dataset):
    task = one(dataset, 0, 1, 1)
    assert task.supports.support_items[0].tolist() == [0]
    assert np.flatnonzero(task.hidden[0]).tolist() == [0]
    assert np.flatnonzero(task.targets[0]).tolist() == [1, 2]


def test_what_lies_between_support_and_query_is_hidden_and_unseen(dataset):
    task = one(dataset, 1, 3, 20)
    assert task.supports.support_mask.sum() == 3
    assert task.hidden[0].sum() == 20
    assert np.flatnonzero(task.targets[0]).tolist() == list(range(23, 43))
    assert task.supports.now_ms[0] == dataset.time_ms[dataset.starts[1] + 2]


def test_a_skip_is_no_right_answer(dataset):
    task = one(dataset, 2, 0, 0)
    assert np.flatnonzero(task.targets[0]).tolist() == [0]


def test_drawn_tasks_always_have_later_events_and_hide_all_before_them(dataset):
    rng, config = np.random.default_rng(0), TrainingConfig()
    begins = set()
    for _ in range(200):
        task = draw(dataset, np.array([0, 1]), config, rng)
        assert task.targets.any(axis=1).all()
        assert not (task.hidden & task.targets).any()
        supported = task.supports.support_mask.sum(1)
        assert (supported <= [3, 32]).all()
        begins.add((supported[1], task.hidden[1].sum()))
    sizes = {0, 1, 2, 3, 5, 10, 20}
    assert begins == {(k, k) for k in sizes | {32}} | {(k, 20) for k in sizes}


def test_a_sliding_window_ends_anywhere_and_the_query_set_follows_it(dataset):
    rng, config = np.random.default_rng(0), TrainingConfig(sliding_share=1.0)
    ends = set()
    for _ in range(200):
        task = draw(dataset, np.array([1]), config, rng)
        end = int(task.hidden[0].sum())
        mask, items = task.supports.support_mask[0], task.supports.support_items[0]
        assert items[mask > 0].tolist() == [3 + number for number in range(max(0, end - config.window), end)]
        assert task.targets[0].sum() == 40 - end
        ends.add(end)
    assert ends == set(range(40))


def test_a_spliced_support_set_ends_with_the_user_s_own_events(dataset):
    rng, config = np.random.default_rng(0), TrainingConfig(sliding_share=1.0, spliced_share=1.0)
    mixed = 0
    for _ in range(100):
        task = draw(dataset, np.array([1]), config, rng)
        assert task.supports.users.tolist() == [1, 1], "beside the ordinary task"
        ordinary, spliced = (task.supports.support_items[row][task.supports.support_mask[row] > 0] for row in (0, 1))
        assert (ordinary >= 3).all()
        own = spliced >= 3
        assert not (task.hidden & task.targets).any()
        assert task.hidden[1, spliced].all()
        assert (np.diff(task.supports.support_age[1][task.supports.support_mask[1] > 0]) <= 0).all()
        if not own.all():
            mixed += 1
            assert own[np.argmax(own) :].all()
            assert 2 <= own.sum() <= config.window // 2
    assert mixed > 30


def test_spliced_tasks_grow_fewer(dataset):
    rng, config = np.random.default_rng(0), TrainingConfig(spliced_share=0.8)
    counts = [
        sum(len(draw(dataset, np.array([1]), config, rng, over=over).supports.users) - 1 for _ in range(100))
        for over in (0.0, 0.5, 1.0)
    ]
    assert 70 < counts[0] < 90
    assert 10 < counts[1] < 30
    assert counts[2] == 0


def test_nobody_is_spliced_whose_events_tell_nothing_of_a_switch(dataset):
    rng, config = np.random.default_rng(0), TrainingConfig(spliced_share=1.0)
    short = np.flatnonzero(dataset.lengths == 2)
    assert len(short)
    assert draw(dataset, short, config, rng).supports.users.tolist() == short.tolist()


def test_the_query_set_can_end_after_some_events(dataset):
    users, k = np.array([1, 0]), np.array([3, 1])
    task = episodes(dataset, users, k, query_begin=k, query_events=4)
    assert np.flatnonzero(task.targets[0]).tolist() == [6, 7, 8, 9]
    assert np.flatnonzero(task.targets[1]).tolist() == [1, 2]


def out_of_order(dataset, at):
    """The same events, of which the one at a place claims to be ten days older."""
    times = dataset.time_ms.copy()
    times[at] -= 10 * 86_400_000
    return replace(dataset, time_ms=times)


def test_a_query_event_that_is_older_than_the_support_is_refused(dataset):
    planted = out_of_order(dataset, dataset.starts[1] + 25)
    one(planted, 1, 10, 20)  # event 25 is older than event 20, and still newer than the support
    with pytest.raises(DataError, match=r"the query set of long begins \d+ ms before its support"):
        one(planted, 1, 20, 20)


def test_a_support_that_holds_query_events_is_refused_even_at_one_time(dataset):
    at_once = replace(dataset, time_ms=np.zeros_like(dataset.time_ms))
    one(at_once, 1, 5, 5)
    with pytest.raises(DataError, match="the support set of long holds query events; end it at event 5"):
        one(at_once, 1, 6, 5)


def test_windows_and_what_is_spliced_from_them_are_held_to_the_same(dataset):
    supports = windows(dataset, np.array([1]), 5, 10)
    next_event = dataset.time_ms[dataset.starts[1] + np.array([10])]
    refuse_leaks(supports, next_event, user_ids=dataset.user_ids)
    with pytest.raises(DataError, match="1 tasks leak"):
        refuse_leaks(supports, next_event - 2 * 86_400_000, user_ids=dataset.user_ids)
    later = supports._replace(support_age=supports.support_age - 3)  # pasted in from after now
    with pytest.raises(DataError, match="1 tasks leak"):
        refuse_leaks(later, next_event, user_ids=dataset.user_ids)


def test_item_tasks_are_held_to_the_same(dataset):
    tasks = item_tasks(dataset)  # item a: short at day 0, picky at day 0, short at day 2
    one(tasks, 0, 2, 2)
    with pytest.raises(DataError, match="the query set of a begins"):
        one(out_of_order(tasks, tasks.starts[0] + 2), 0, 2, 2)
