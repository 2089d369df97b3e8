"""Keeps what the items topic says, and lays it over the catalog of a bundle."""

from collections.abc import Iterable
from dataclasses import replace
from hashlib import blake2b
from sys import intern

from pydantic import ValidationError

from schemas import SCHEMA_VERSION, Item
from stream.core.listing import Listing, relist
from stream.engine.bundle import Bundle
from stream.engine.newcomers import with_newcomers

MOST_ITEMS = 500_000
"""Items kept, some 400 bytes each: beyond it, items that were not heard of before are counted and left out."""
MOST_BYTES = 65_536
"""Of one record; a larger one is refused unread."""
MOST_ATTRIBUTES = 64
"""Categories, and numeric features, that are kept of an item."""


class LiveItems:
    """The newest listing of each item on the topic. `refused` counts records that could not be read or kept."""

    def __init__(self) -> None:
        self.refused = 0
        self._listings: dict[bytes, Listing | None] = {}
        self._changed = False
        self._digest = 0

    def take(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Read (key, value) of records in order; a null value withdraws the item that the key names."""
        for key, value in records:
            read = _read(key, value)
            if read is None or (len(self._listings) >= MOST_ITEMS and read[0] not in self._listings):
                self.refused += 1
            elif read[0] not in self._listings or self._listings[read[0]] != read[1]:
                self._note(*read)

    @property
    def digest(self) -> str:
        """Of all listings, in whatever order they came; empty without any."""
        return f"{self._digest:016x}" if self._listings else ""

    def changed(self) -> bool:
        """True once after something changed."""
        changed, self._changed = self._changed, False
        return changed

    def over(self, bundle: Bundle) -> Bundle:
        """The bundle with its catalog as the topic has it, new items included if it can score them."""
        if not self._listings:
            return bundle
        grown = with_newcomers(bundle, self._listings)
        return replace(grown, catalog=replace(relist(grown.catalog, self._listings), listings=self.digest))

    def _note(self, item_id: bytes, listing: Listing | None) -> None:
        if item_id in self._listings:
            self._digest ^= _number_of(item_id, self._listings[item_id])
        self._digest ^= _number_of(item_id, listing)
        self._listings[item_id] = listing
        self._changed = True


def _number_of(item_id: bytes, listing: Listing | None) -> int:
    """64 bits of a listing; those of all are joined by XOR, so that one may be exchanged for another."""
    return int.from_bytes(blake2b(item_id + b"\0" + repr(listing).encode(), digest_size=8).digest())


def _read(key: bytes | None, value: bytes | None) -> tuple[bytes, Listing | None] | None:
    """Item id and listing, None for what cannot be read."""
    if value is None:
        return (key, None) if key else None
    if len(value) > MOST_BYTES:
        return None
    try:
        item = Item.model_validate_json(value)
    except ValidationError:
        return None
    if item.schema_version > SCHEMA_VERSION:
        return None
    # Names repeat from item to item: one text each. Of the features, only numbers say something to a bundle.
    categories = tuple(intern(category) for category in item.categories[:MOST_ATTRIBUTES])
    numbers = [
        (intern(name), value)
        for name, value in item.features.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    listing = Listing(item.available, categories, intern(item.domain), dict(numbers[:MOST_ATTRIBUTES]))
    return item.item_id.encode(), listing
