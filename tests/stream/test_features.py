"""The arrays that the adapter gets are those of the documented contract."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_bundle import DAY, DAY_ZERO, KINDS

from schemas import Filters
from stream.core.catalog import find_hashed, forbidden_rows, unpack_hashes
from stream.core.columns import unpack_varints, varint, varints
from stream.core.events import Event
from stream.core.features import encode_batch, encoding_for
from stream.core.state import EMPTY, apply_event, item_hash
from stream.settings import StateSettings


def state_of(*events):
    state = EMPTY
    for offset, (item, kind, value, at) in enumerate(events):
        state, _ = apply_event(state, Event(b"u", item, kind, value, at, None), offset, StateSettings())
    return state


def encoded(bundle, *states, now=DAY_ZERO + 4 * DAY, window=4):
    encoding = encoding_for(bundle.manifest, bundle.catalog, window=window)
    return encode_batch(encoding, states, [now] * len(states))


def test_events_become_rows_kinds_and_days(bundle):
    batch = encoded(
        bundle,
        state_of(
            ("i7", "rating", 4.0, DAY_ZERO),
            ("i3", "rating", 3.3, DAY_ZERO + DAY),
            ("i5", "view", None, DAY_ZERO + 3 * DAY),
        ),
    )
    features = batch.features
    assert features["support_items"][0].tolist() == [7, 3, 5, 0]
    assert features["support_mask"][0].tolist() == [1, 1, 1, 0]
    expected = [KINDS.kind("rating", 4.0), KINDS.kind("rating", 3.3), KINDS.kind("view", None), 0]
    assert features["support_kind"][0].tolist() == expected
    assert features["support_age"][0].tolist() == [4, 3, 1, 0]
    assert {name: array.dtype.name for name, array in features.items()} == {
        "support_items": "int64",
        "support_mask": "float32",
        "support_kind": "int64",
        "support_age": "float32",
        "user_features": "float32",
        "time_index": "int64",
    }


@pytest.mark.parametrize(("events", "window", "width"), [
    (0, 32, 8), (3, 32, 8), (8, 32, 8), (9, 32, 16), (17, 32, 32), (32, 32, 32), (17, 20, 20), (2, 4, 4),
])  # fmt: skip
def test_a_batch_is_no_wider_than_its_longest_support_set_asks_for(bundle, events, window, width):
    longest = state_of(*(("i1", "view", None, DAY_ZERO + at) for at in range(events)))
    batch = encoded(bundle, state_of(("i7", "view", None, DAY_ZERO)), longest, window=window)
    assert batch.support_rows.shape[1] == width
    assert batch.features["support_mask"].sum(axis=1).tolist() == [1, events, 0, 0, 0, 0, 0, 0]


def test_an_event_that_the_bundle_does_not_know_is_masked(bundle):
    state = state_of(("gone", "view", None, DAY_ZERO), ("i1", "listen", 0.7, DAY_ZERO), ("i2", "like", None, DAY_ZERO))
    batch = encoded(bundle, state)
    assert batch.features["support_mask"][0].tolist() == [0, 0, 1, 0]
    assert batch.features["support_kind"][0].tolist() == [0, 0, KINDS.kind("like", None), 0]
    assert batch.support_rows[0].tolist() == [-1, 1, 2, -1]


def test_a_batch_is_padded_to_whole_blocks_of_nobody(bundle):
    batch = encoded(bundle, *[state_of(("i1", "view", None, DAY_ZERO))] * 9)
    assert {len(array) for array in batch.features.values()} == {16}
    assert not any(array[9:].any() for array in batch.features.values())


def test_a_profile_sets_its_columns(bundle):
    batch = encoded(bundle, EMPTY._replace(features=b'{"city":"Bergen","age":31,"other":1}'), EMPTY)
    assert batch.features["user_features"][:2].tolist() == [[0, 1, 0, 1], [0, 0, 0, 0]]


def test_the_prior_is_the_one_that_holds_at_the_moment(bundle):
    for now in (0, DAY_ZERO, DAY_ZERO + 10 * DAY - 1, DAY_ZERO + 10 * DAY):
        assert encoded(bundle, EMPTY, now=now).features["time_index"][0] == bundle.manifest.time_index(now)


@given(st.lists(st.integers(0, 2**53)))
def test_varints_survive_one_by_one_and_in_bulk(numbers):
    data = b"".join(map(varint, numbers))
    assert varints(data) == numbers
    np.testing.assert_array_equal(unpack_varints(data), np.array(numbers, dtype=np.int64))


def test_hashes_find_their_rows_even_where_items_share_one(bundle):
    hashes = bundle.catalog.sorted_hashes.copy()
    hashes[5:8] = hashes[5]

    class Shared:
        sorted_hashes, hashed_rows = hashes, bundle.catalog.hashed_rows

        def __len__(self):
            return len(hashes)

    positions, rows = find_hashed(Shared(), hashes[[5, 39, 0]])
    found = sorted(zip(positions.tolist(), rows.tolist(), strict=True))
    order = bundle.catalog.hashed_rows.tolist()
    assert found == sorted([(0, order[5]), (0, order[6]), (0, order[7]), (1, order[39]), (2, order[0])])


def test_hashes_of_unknown_items_find_nothing(bundle):
    positions, rows = find_hashed(bundle.catalog, unpack_hashes(item_hash(b"gone") + item_hash(b"i4")))
    assert (positions.tolist(), rows.tolist()) == ([1], [4])


def test_filters_forbid_what_they_do_not_name(bundle):
    def allowed(**filters):
        return sorted(set(range(40)) - set(forbidden_rows(bundle.catalog, Filters(**filters)).tolist()))

    assert allowed() == list(range(40))
    assert allowed(categories=["drama", "crime"]) == [row for row in range(40) if row % 3 != 1]
    assert allowed(categories=["drama"], domains=["books"]) == [row for row in range(40) if row % 6 == 3]
    assert allowed(exclude_items=["i1", "gone"]) == [row for row in range(40) if row != 1]
    assert allowed(domains=["games"]) == []
