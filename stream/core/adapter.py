"""What the core needs of a loaded bundle: two computations, the manifest and the catalog."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from schemas import Manifest
from stream.core.catalog import Catalog

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int64]
Features: TypeAlias = Mapping[str, NDArray[np.float32] | NDArray[np.int64]]


class Block(NamedTuple):
    """m items of the catalog, to be scored for b users or for some of them."""

    rows: Ints
    """(m,) of the catalog, ascending"""
    most: NDArray[np.float64]
    """(b,): no score of the user in this block is higher; NaN where nothing is known"""
    rest: NDArray[np.float64]
    """(b,): nor in any block that follows"""
    score: Callable[[Ints], Floats]
    """Scores (u, m) of the users at these positions (u,); the caller may write into them"""


class Adapter(Protocol):
    """A bundle that can adapt and score. b users, s support events, d latent dimensions."""

    @property
    def manifest(self) -> Manifest:
        """Names, encodings and versions."""

    @property
    def catalog(self) -> Catalog:
        """The items, in row order."""

    @property
    def places(self) -> Ints:
        """(n_items,) where each item comes when all blocks are put in a row."""

    def adapt(self, features: Features) -> tuple[Floats, Floats]:
        """User vectors (b, d) and the part of each support event in them (b, s, d)."""

    def score(self, user_vector: Floats, time_index: Ints) -> Floats:
        """Scores (b, n_items) of users (b, d) at rows (b,) of the prior. The caller may write into the result."""

    def score_blocks(self, user_vector: Floats, time_index: Ints) -> Iterator[Block]:
        """The same, a block of the catalog at a time, what is likely to be listed first; each item in one of them."""
