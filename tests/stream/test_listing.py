"""Catalog changes laid over an index give what indexing the changed items gives."""

import random
from dataclasses import fields

import numpy as np

from schemas import Item
from stream.core.catalog import Catalog, index_items
from stream.core.listing import Listing, extend, relist


def item(number: int, rng: random.Random) -> Item:
    return Item(
        item_id=f"i{number}",
        categories=rng.sample(["drama", "comedy", "crime"], rng.randrange(3)),
        domain=rng.choice(["", "films", "books"]),
        available=rng.random() < 0.7,
    )


def listing(one: Item) -> Listing:
    return Listing(one.available, tuple(one.categories), one.domain, one.features)


def assert_equal(found: Catalog, expected: Catalog) -> None:
    for name in (field.name for field in fields(Catalog)):
        one, other = getattr(found, name), getattr(expected, name)
        if name in ("categories", "domains"):
            assert one.keys() == other.keys()
            assert all(np.array_equal(one[key], other[key]) for key in one), name
        elif isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other, err_msg=name)
        else:
            assert one == other, name


def test_changed_items_are_indexed_as_if_they_had_come_so() -> None:
    for seed in range(20):
        rng = random.Random(seed)
        before = [item(number, rng) for number in range(30)]
        after = [item(number, rng) if rng.random() < 0.3 else one for number, one in enumerate(before)]
        vectors = np.arange(60, dtype=np.float32).reshape(30, 2)
        changes = {one.item_id.encode(): listing(one) for one, old in zip(after, before, strict=True) if one != old}
        found = relist(index_items(before, vectors), changes | {b"never heard of": listing(item(99, rng))})
        assert_equal(found, index_items(after, vectors))


def test_a_tombstone_withdraws_and_a_later_listing_brings_back() -> None:
    items = [Item(item_id=f"i{number}", categories=["drama"]) for number in range(3)]
    catalog = index_items(items, np.zeros((3, 2), dtype=np.float32))
    gone = relist(catalog, {b"i1": None})
    assert gone.withdrawn.tolist() == [1]
    assert relist(gone, {b"i1": Listing(True, ("drama",), "", {})}).withdrawn.tolist() == []


def test_appended_items_are_indexed_as_if_they_had_come_with_the_bundle() -> None:
    rng = random.Random(0)
    items = [item(number, rng) for number in range(40)]
    vectors = np.arange(80, dtype=np.float32).reshape(40, 2)
    extended = extend(index_items(items[:30], vectors[:30]), [one.item_id.encode() for one in items[30:]], vectors[30:])
    found = relist(extended, {one.item_id.encode(): listing(one) for one in items[30:]})
    assert_equal(found, index_items(items, vectors))
