"""Most of a large catalog is not scored, and no list shows it."""

import numpy as np
import pytest
from tiny_bundle import DAY, DAY_ZERO, write_tiny_bundle

from schemas import Role
from stream.core.ranking import best_rows
from stream.core.records import Record
from stream.core.step import Step
from stream.engine import blocks
from stream.engine.bundle import load_bundle
from stream.settings import Settings

N_ITEMS, D, USERS = 5000, 8, 24


def bundle_with(folder, *, spread):
    """A bundle whose items differ in popularity by so much, at all times much alike."""
    rng = np.random.default_rng(0)
    tensors = {
        "item_vectors": rng.standard_normal((N_ITEMS, D)).astype(np.float32),
        "prior": (spread * rng.standard_normal(N_ITEMS) + rng.random((2, N_ITEMS))).round(1).astype(np.float32),
    }
    write_tiny_bundle(folder, n_items=N_ITEMS, d=D, tensors=tensors)
    return load_bundle(str(folder), "default")


def drawn_users():
    """User vectors of all lengths, and rows of the prior."""
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((USERS, D)) * np.geomspace(1e-3, 1e3, USERS)[:, None]
    vectors[3] = 0
    return vectors.astype(np.float32), np.arange(USERS) % 2


def scored(bundle, users, times, n):
    """The best of all blocks, and how many scores that took."""
    counted = []

    def counting(block):
        return block._replace(score=lambda some: counted.append(len(some) * len(block.rows)) or block.score(some))

    return best_rows(map(counting, bundle.score_blocks(users, times)), n), sum(counted)


@pytest.mark.parametrize("spread", [0.0, 3.0])
@pytest.mark.parametrize("n", [1, 10, 1000])
def test_the_best_are_those_of_all_scores_to_the_bit(tmp_path, spread, n):
    bundle = bundle_with(tmp_path, spread=spread)
    users, times = drawn_users()
    scores = bundle.score(users, times)
    order = np.lexsort((np.broadcast_to(np.arange(N_ITEMS), scores.shape), -scores))[:, :n]
    found, _ = scored(bundle, users, times, n)
    np.testing.assert_array_equal(found.rows, order)
    np.testing.assert_array_equal(found.scores, np.take_along_axis(scores, order, axis=1))


def test_where_few_items_are_popular_the_others_are_not_scored(tmp_path):
    bundle = bundle_with(tmp_path, spread=3.0)
    users, times = drawn_users()
    short = np.linalg.norm(users, axis=1) < 1
    _, taken = scored(bundle, users[short], times[short], 10)
    assert taken < 0.5 * short.sum() * N_ITEMS


def test_the_scores_of_a_user_do_not_depend_on_who_else_is_asked_for(tmp_path):
    bundle = bundle_with(tmp_path, spread=1.0)
    users, times = drawn_users()
    for block in bundle.score_blocks(users, times):
        every = block.score(np.arange(USERS))
        assert (every <= block.most[:, None]).all()
        for some in ([5], [0, 3, 9], range(1, 18)):
            np.testing.assert_array_equal(block.score(np.array(some)), every[list(some)])


@pytest.mark.parametrize("odd", [np.nan, np.inf, 3e38])
def test_what_is_not_finite_is_told_and_harms_nobody_else(tmp_path, odd):
    bundle = bundle_with(tmp_path, spread=1.0)
    users, times = drawn_users()
    expected, _ = scored(bundle, users, times, 10)
    users[5] = odd
    found, _ = scored(bundle, users, times, 10)
    assert np.flatnonzero(~found.finite).tolist() == [5]
    others = np.arange(USERS) != 5
    np.testing.assert_array_equal(found.rows[others], expected.rows[others])


def test_a_graph_that_is_more_than_a_product_gets_all_items_scored(tmp_path):
    bundle = bundle_with(tmp_path, spread=1.0)
    graph = bundle.blocks.graph
    doubled = graph._replace(bound=graph.bound | {"prior": graph.bound["prior"] * 2})

    class Session:
        """Reads the prior as half of what is bound."""

        def run(self, outputs, fed):
            return graph.session.run(outputs, fed | {"prior": fed["prior"] / 2})

    found = blocks.in_blocks(doubled._replace(session=Session()), N_ITEMS)
    assert [len(rows) for rows in found.rows] == [N_ITEMS]
    users, times = drawn_users()
    (block,) = blocks.score_blocks(found, users, times)
    np.testing.assert_allclose(block.score(np.arange(USERS)), bundle.score(users, times), rtol=1e-4, atol=1e-4)


def test_lists_are_the_same_to_the_byte_however_the_catalog_is_cut(tmp_path, monkeypatch):
    write_tiny_bundle(tmp_path, withdrawn=(0, 7, 31))
    records = [
        Record(Role.INTERACTIONS, "events", 0, number, DAY_ZERO + 20 * DAY, b"u%d" % (number % 9), value)
        for number, value in enumerate(
            b'{"item_id":"i%d","event_type":"like","timestamp":%d}' % (number % 37, DAY_ZERO + number * DAY // 4)
            for number in range(60)
        )
    ]
    records += [
        Record(Role.REQUESTS, "requests", 0, number, DAY_ZERO, b"u%d" % number, value)
        for number, value in enumerate(
            [b'{"n":40}', b'{"n":3,"filters":{"categories":["drama"],"exclude_items":["i9"]}}']
        )
    ]
    outcomes = []
    for size in (1024, 7):
        monkeypatch.setattr(blocks, "BLOCK_ITEMS", size)
        step = Step(load_bundle(str(tmp_path), "default"), Settings())
        outcomes.append(step(records, lambda *_: None, clock_ms=DAY_ZERO))
    assert outcomes[0].counts["lists"] > 9
    assert outcomes[0] == outcomes[1]
