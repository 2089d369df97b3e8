import numpy as np
import pytest

from meta import cold, dataset
from meta.scorer import FittedScorer
from meta.supports import first_events
from schemas.errors import DataError


@pytest.fixture
def world(write_lines, event):
    """Items a0 to a19 of category a, b0 to b19 of b; one user of each, and one of both."""
    names = [f"{kind}{n}" for kind in "ab" for n in range(20)]
    items = write_lines("items.jsonl", [{"item_id": name, "categories": [name[0], "all"]} for name in names])
    rows = [event("lover of a", f"a{n}", n) for n in range(20)] + [event("lover of b", f"b{n}", n) for n in range(12)]
    rows += [event("of both", name, n) for n, name in enumerate(names)]
    return dataset.load(write_lines("events.jsonl", rows), items)


def by_row(sign: int) -> FittedScorer:
    return FittedScorer("rows", lambda supports: np.tile(sign * np.arange(40.0), (len(supports.users), 1)))


def test_cold_items_lose_all_their_events_and_no_others(world):
    chosen = cold.cold_items(world, seed=0)
    assert chosen.sum() == 4
    known = cold.without_items(world, chosen)
    assert set(known.item) == set(np.flatnonzero(~chosen))
    assert known.n_items == world.n_items


def test_a_users_cold_items_are_told_from_the_other_cold_items(world):
    chosen = np.zeros(40, dtype=bool)
    chosen[[1, 3, 38, 39]] = True
    areas = cold.item_cold_auc(by_row(1), world, chosen)
    # The lover of a had the two that are scored lowest; the other one of b is unknown; who had all has no AUC.
    assert areas.tolist() == pytest.approx([0.0, np.nan, np.nan], nan_ok=True)
    assert cold.item_cold_auc(by_row(-1), world, chosen)[0] == 1.0


def test_support_sets_hold_no_cold_items(world):
    chosen = np.zeros(40, dtype=bool)
    chosen[[0, 5, 30]] = True
    seen = []

    def scores(supports):
        seen.append(supports.support_items[supports.support_mask > 0])
        return np.zeros((len(supports.users), 40))

    cold.item_cold_auc(FittedScorer("spy", scores), world, chosen)
    assert not set(np.concatenate(seen)) & {0, 5, 30}


def test_the_category_mean_is_over_items_that_were_seen(world):
    known = cold.without_items(world, np.isin(np.arange(40), [0, 20]))
    scores = cold.fit_category_mean(known).score(first_events(known, np.array([0]), 0))[0]
    # Each a has two events; of b eleven have two and eight one. What all items have says nothing.
    assert scores[0] == pytest.approx(2.0)
    assert scores[20] == pytest.approx((11 * 2 + 8 * 1) / 19)


def test_category_taste_follows_the_support(world):
    scores = cold.fit_category_taste(world).score(first_events(world, np.array([0, 1]), 3))
    assert (scores[0, :20] > scores[0, 20:]).all()
    assert (scores[1, :20] < scores[1, 20:]).all()


def test_a_domain_has_its_items_events_and_users_with_enough_of_them(world):
    items = cold.domain_items(world, "a")
    assert items.tolist() == [True] * 20 + [False] * 20
    domain = cold.domain_of(world, items)
    assert [world.user_ids[user] for user in domain.users] == ["lover of a", "of both"]
    # The lists hold the ten that follow the support, whatever the scores of other domains' items.
    assert cold.domain_ndcg(by_row(1), domain, seed=0).tolist() == pytest.approx([1.0, 1.0])
    with pytest.raises(DataError, match="no item has category or domain 'c'"):
        cold.domain_items(world, "c")


def test_thinning_keeps_a_twentieth_in_the_domain_and_all_elsewhere(world):
    items = np.arange(40) < 20
    sizes = [int((cold.thinned(world, items, seed=seed).item < 20).sum()) for seed in range(50)]
    assert np.mean(sizes) == pytest.approx(0.05 * 40, abs=0.8)
    assert (cold.thinned(world, items, seed=0).item >= 20).sum() == 32
