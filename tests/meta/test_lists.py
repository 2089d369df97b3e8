import json

import numpy as np
import pytest

from meta import dataset, lists
from meta.baselines import RECENCY
from schemas.errors import DataError

ITEMS = [f"i{n:02d}" for n in range(40)]
TOP = ITEMS[20:30]
REST = ITEMS[30:40]


def published(user: str, support_size: int, items: list[str]) -> dict[str, object]:
    return {
        "schema_version": 1,
        "user_id": user,
        "model": "m",
        "model_version": "1",
        "items": [{"item_id": item, "score": float(-n)} for n, item in enumerate(items)],
        "support_size": support_size,
        "source": {"topic": "t", "partition": 0, "offset": 0},
        "generated_at": "2026-01-01T00:00:00.000Z",
    }


@pytest.fixture
def train(write_lines, event):
    rows = [event(f"t{n}", item, n) for n in range(5) for item in REST]
    items = write_lines("items.jsonl", [{"item_id": name} for name in ITEMS])
    return dataset.load(write_lines("train.jsonl", rows), items)


@pytest.fixture
def measure(write_lines, event, train):
    def run(messages, rows, max_k=3):
        histories = lists.read_histories(
            write_lines("held.jsonl", [event(*row) for row in rows]), [item.item_id for item in train.items]
        )
        found = lists.read_published(write_lines("lists.jsonl", messages))
        return lists.evaluate_lists(found, histories, train, max_k=max_k, seed=0)

    return run


def means(found):
    return {arm: found["ndcg"][arm]["mean"] for arm in lists.ARMS}


SENT = [("u", "i00", 10), ("u", "i01", 11), *[("u", item, 12) for item in TOP]]


def test_a_list_is_measured_against_what_was_sent_after_its_support(measure):
    messages = [published("u", 0, REST), published("u", 1, ["i01", *TOP[:9]]), published("u", 2, ["i01", *TOP[:9]])]
    found = measure(messages, SENT)
    assert found["by_k"]["1"]["ndcg"][lists.ADAPTED]["mean"] == pytest.approx(1.0)
    gains = 1 / np.log2(np.arange(10) + 2)
    assert found["by_k"]["2"]["ndcg"][lists.ADAPTED]["mean"] == pytest.approx(1 - gains[0] / gains.sum())
    assert found["by_k"]["3"]["ndcg"][lists.ADAPTED]["mean"] is None
    assert means(found["by_k"]["1"])[lists.START] == 0


def test_support_follows_the_order_of_sending_and_not_of_time(measure):
    sent = [("u", "i05", 20), ("u", "i06", 1), ("u", "i07", 2)]
    found = measure([published("u", 0, REST), published("u", 1, ["i06", "i07"])], sent, max_k=1)
    assert found["by_k"]["1"]["ndcg"][lists.ADAPTED]["mean"] == pytest.approx(1.0)


def test_the_last_list_of_a_support_size_counts(measure):
    messages = [published("u", 0, TOP), published("u", 1, TOP), published("u", 1, REST)]
    assert means(measure(messages, SENT, max_k=1)["pooled"])[lists.ADAPTED] == 0


def test_the_start_is_a_longer_list_less_the_support(measure):
    messages = [published("u", 0, ["i00", "i01", *TOP]), published("u", 2, REST)]
    found = measure(messages, SENT, max_k=2)
    assert found["by_k"]["2"]["ndcg"][lists.START]["mean"] == pytest.approx(1.0)
    assert found["by_k"]["2"]["ndcg"][f"{lists.ADAPTED} minus {lists.START}"]["mean"] == pytest.approx(-1.0)


def test_popularity_with_recency_is_without_the_support(measure):
    sent = [("u", REST[0], 10), *[("u", item, 12) for item in REST[1:]]]
    found = measure([published("u", 0, TOP), published("u", 1, TOP)], sent, max_k=1)
    assert found["by_k"]["1"]["ndcg"][RECENCY]["mean"] == pytest.approx(1.0)


def test_users_are_the_unit_of_the_pooled_mean(measure):
    # u is right at two k, v wrong at one: the mean is a half.
    messages = [published("u", 0, REST), *[published("u", k, TOP) for k in (1, 2)]]
    messages += [published("v", 0, REST), published("v", 1, REST)]
    found = measure(messages, [("u", "i00", 1), ("u", "i01", 2), *SENT[2:], ("v", "i00", 1), ("v", "i02", 2)])
    assert found["by_k"]["2"]["ndcg"][lists.ADAPTED]["n_users"] == 1
    pooled = found["pooled"]["ndcg"][lists.ADAPTED]
    assert (pooled["n_users"], pooled["mean"]) == (2, pytest.approx(0.5))


def test_a_dislike_is_no_right_answer_but_counts_as_support(measure):
    sent = [("u", "i00", 1, "skip"), ("u", "i01", 2, "dislike"), ("u", "i02", 3)]
    found = measure([published("u", 0, REST), published("u", 1, ["i01"])], sent, max_k=1)
    assert found["by_k"]["1"]["ndcg"][lists.ADAPTED]["mean"] == 0


def test_who_is_left_out_is_counted(measure):
    messages = [published("u", 0, TOP), published("u", 1, TOP), "null", published("x", 1, TOP), published("w", 1, TOP)]
    found = measure(messages, [*SENT, ("w", "i00", 1), ("w", "i01", 2)])
    assert (found["n_messages"], found["n_forgotten"]) == (4, 1)
    assert (found["n_without_start"], found["n_not_held_out"]) == (1, 1)
    assert json.loads(json.dumps(found)) == found


def test_without_any_start_list_the_mending_is_named(measure):
    with pytest.raises(DataError, match="send a request before"):
        measure([published("u", 1, TOP)], SENT)


def test_a_line_that_is_no_list_is_named(write_lines):
    path = write_lines("lists.jsonl", [published("u", 0, TOP), {"user_id": "u"}])
    with pytest.raises(DataError, match=r"lists\.jsonl, line 2"):
        lists.read_published(path)
    with pytest.raises(DataError, match="no list"):
        lists.read_published(write_lines("lists.jsonl", ["null"]))
