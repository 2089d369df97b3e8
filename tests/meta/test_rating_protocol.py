import json

import numpy as np
import pytest

from meta import dataset, rating_protocol
from meta.baselines import FittedScorer
from schemas.errors import DataError

NAMES = [f"i{n:02d}" for n in range(40)]


@pytest.fixture
def rated(write_lines, event):
    items = write_lines("items.jsonl", [{"item_id": name} for name in NAMES])
    rows = [event("u", NAMES[n], n, "rating", [2.0, 4.0, 5.0][n % 3]) for n in range(35)]
    rows += [event("u", NAMES[39], 0.5, "purchase", 99.0)]
    rows += [event("few", "i00", n, "rating", 3.0) for n in range(29)]
    loaded = dataset.load(write_lines("events.jsonl", rows), items)
    return rating_protocol.rated_only(loaded)


def always(rating: float) -> FittedScorer:
    return FittedScorer("always", lambda supports: np.full((len(supports.users), 40), rating))


def test_users_with_few_ratings_are_not_measured(rated):
    assert rating_protocol.rating_users(rated).tolist() == [0]
    with pytest.raises(DataError, match="no held-out user has 30 ratings"):
        rating_protocol.rating_users(dataset.subset(rated, np.array([1])))


def test_without_ratings_there_is_nothing_to_predict(write_lines, event):
    loaded = dataset.load(write_lines("e.jsonl", [event("u", "a")]), write_lines("i.jsonl", [{"item_id": "a"}]))
    with pytest.raises(DataError, match="no event is a rating"):
        rating_protocol.rated_only(loaded)


def test_the_query_is_the_ratings_21_to_30_at_every_k(rated):
    seen = []

    def scores(supports):
        seen.append(int(supports.support_mask.sum()))
        return np.tile(np.arange(40.0), (len(supports.users), 1))

    found = rating_protocol.predict(FittedScorer("rows", scores), rated, np.array([0]))
    assert seen == list(rating_protocol.KS)
    assert found.predicted.tolist() == [[list(range(20, 30))] * 6]
    assert found.actual[0].tolist() == [[2.0, 4.0, 5.0][n % 3] for n in range(20, 30)]


def test_a_support_tells_the_ratings_by_its_kinds(rated):
    kinds = rating_protocol.kind_ratings(rated)
    assert sorted(kinds[~np.isnan(kinds)]) == [2.0, 3.0, 4.0, 5.0]


def test_measures_by_hand(rated):
    found = rating_protocol.predict(always(4.0), rated, np.array([0]))
    # Events 20 to 29: 5, then three times 2, 4, 5.
    by_k = rating_protocol.measures(found, seed=0)
    means = {name: values["3"]["mean"] for name, values in by_k.items()}
    assert means["mae"] == pytest.approx((4 * 1 + 3 * 2) / 10)
    assert means["rmse"] == pytest.approx(np.sqrt((4 * 1 + 3 * 4) / 10))
    assert (means["precision"], means["recall"], means["accuracy"]) == pytest.approx((0.7, 1.0, 0.7))
    assert means["f1"] == pytest.approx(1.4 / 1.7)
    assert means["auc"] == 0.5


def test_the_report_is_paired_and_serializable(rated):
    users = np.array([0])
    predictions = {"five": always(5.0), "four": always(4.0)}
    found = rating_protocol.report(
        {name: rating_protocol.predict(each, rated, users) for name, each in predictions.items()}, "four", seed=0
    )
    assert json.loads(json.dumps(found)) == found
    assert found["scorers"]["five"]["mae_minus_reference"]["20"]["mean"] == pytest.approx(1.2 - 1.0)
    # Nobody says no, so precision is that of saying yes to all; with no yes at all it would be undefined.
    never = rating_protocol.measures(rating_protocol.predict(always(1.0), rated, users), seed=0)
    assert never["precision"]["0"]["mean"] is None
