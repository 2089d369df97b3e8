"""What the core needs of a loaded bundle: two computations, the manifest and the catalog."""

from collections.abc import Iterator, Mapping
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from schemas import Manifest
from stream.core.catalog import Catalog

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int64]
Features: TypeAlias = Mapping[str, NDArray[np.float32] | NDArray[np.int64]]


class Adapter(Protocol):
    """A bundle that can adapt and score. b users, s support events, d latent dimensions."""

    @property
    def manifest(self) -> Manifest:
        """Names, encodings and versions."""

    @property
    def catalog(self) -> Catalog:
        """The items, in row order."""

    def adapt(self, features: Features) -> tuple[Floats, Floats]:
        """User vectors (b, d) and the part of each support event in them (b, s, d)."""

    def score(self, user_vector: Floats, time_index: Ints) -> Floats:
        """Scores (b, n_items) of users (b, d) at rows (b,) of the prior. The caller may write into the result."""

    def score_blocks(self, user_vector: Floats, time_index: Ints) -> Iterator[Floats]:
        """The same, a block (b, ...) of the catalog at a time, in row order.

        The caller may write into a block until it takes the next one.
        """
