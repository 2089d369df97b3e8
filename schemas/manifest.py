"""The bundle's manifest: all that passes from `meta` to `stream`, and the encodings that both must agree on.

Encoders stand here because training and serving must turn the same event into the same numbers.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from math import sqrt
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.base import Flat, Identifier, Scalar

FORMAT_VERSION = 1
"""Format of the bundles that this build writes and reads."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileEntry(_Part):
    """Size in bytes and checksum of one file of the bundle."""

    size: Annotated[int, Field(ge=0)]
    sha256: Sha256


class TensorEntry(_Part):
    """One tensor: the graph input of the same name is bound to it."""

    file: FileName
    dtype: Literal["float32", "int64"]
    shape: tuple[Annotated[int, Field(ge=0)], ...]


class EventKinds(_Part):
    """Maps an event (type, value) to a small integer, its kind; the model learns a weight per kind.

    `types` are kinds without a value, in order. A type in `edges` has one kind per interval of its value:
    `len(edges) + 1` of them, kind j holds values in [edges[j-1], edges[j]). An event of such a type without a value
    takes the middle interval. Kinds of `types` come first, then those of `edges` in the order of its keys.
    """

    types: list[str]
    edges: dict[str, list[float]] = {}

    def __len__(self) -> int:
        return len(self.types) + sum(len(cuts) + 1 for cuts in self.edges.values())

    def kind(self, event_type: str, value: float | None) -> int | None:
        """The event's kind, or None where the type is unknown to the model."""
        start = len(self.types)
        for name, cuts in self.edges.items():
            if name == event_type:
                return start + (len(cuts) // 2 if value is None else bisect_right(cuts, value))
            start += len(cuts) + 1
        return self.types.index(event_type) if event_type in self.types else None


class UserFeature(_Part):
    """Encodes one field of a profile as a one-hot block: by value, or by interval for numbers."""

    field: str
    values: list[str] = []
    edges: list[float] = []

    def __len__(self) -> int:
        return len(self.edges) + 1 if self.edges else len(self.values)

    def column(self, value: Scalar | None) -> int | None:
        """The active column of this block, None where the value is missing or was never seen."""
        if value is None:
            return None
        if self.edges:
            return bisect_right(self.edges, float(value)) if isinstance(value, int | float) else None
        text = str(value)
        return self.values.index(text) if text in self.values else None


class ContentEncoding(_Part):
    """Turns the attributes of an item into a row `(n_columns,)`: multi-hot, scaled to length 1.

    An attribute is a (field, value) pair: each of the `categories`, the `domain`, and for each numeric feature in
    `edges` the number of edges that do not lie above it.
    """

    columns: Annotated[list[tuple[str, str]], Field(description="The attribute that each column stands for")]
    edges: dict[str, list[float]] = {}

    def row(self, categories: Iterable[str], domain: str, features: Mapping[str, Scalar]) -> dict[int, float]:
        """The columns that are not 0, and their value; attributes without a column are left out."""
        positions = {attribute: position for position, attribute in enumerate(self.columns)}
        held = {
            positions[attribute]
            for attribute in self.attributes(categories, domain, features)
            if attribute in positions
        }
        return dict.fromkeys(sorted(held), 1 / sqrt(len(held) or 1))

    def attributes(
        self, categories: Iterable[str], domain: str, features: Mapping[str, Scalar]
    ) -> Iterator[tuple[str, str]]:
        """The item's attributes."""
        yield from (("categories", category) for category in categories)
        if domain:
            yield "domain", domain
        for field, value in features.items():
            if field in self.edges and isinstance(value, int | float) and not isinstance(value, bool):
                yield field, str(bisect_right(self.edges[field], float(value)))


class Manifest(_Part):
    """`manifest.json` of a bundle. Shapes: d numbers of a user vector, n_items rows, T rows of the prior."""

    format_version: int
    model: Identifier
    version: Identifier
    created_at: str
    parent_version: str | None = None
    algorithm: str
    objective: Annotated[
        Literal["ranking", "rating"],
        Field(description="What a score says: an order among one user's items, or the rating that is expected"),
    ] = "ranking"
    inner_steps: Annotated[int, Field(ge=0)]
    n_items: Annotated[int, Field(ge=1)]
    d: Annotated[int, Field(ge=1)]
    files: dict[FileName, FileEntry]
    tensors: dict[str, TensorEntry]
    kinds: EventKinds
    user_features: list[UserFeature] = []
    content: Annotated[
        ContentEncoding | None, Field(description="With it, items that came after the training are scored")
    ] = None
    prior_times: Annotated[
        list[int],
        Field(min_length=1, description="Epoch ms, ascending; row t of `prior` holds from prior_times[t] on"),
    ]
    hyper_parameters: dict[str, Any] = {}
    measures: dict[str, Any] = {}
    data: Annotated[dict[str, Any], Field(description="Span, counts and checksums of the training data")] = {}
    seeds: dict[str, int] = {}
    libraries: dict[str, str] = {}

    @property
    def n_user_features(self) -> int:
        """Width of the user feature vector."""
        return sum(len(feature) for feature in self.user_features)

    def user_columns(self, features: Mapping[str, Scalar] | Flat) -> list[int]:
        """Active columns of the multi-hot user feature vector `(n_user_features,)`."""
        columns, start = [], 0
        for feature in self.user_features:
            column = feature.column(features.get(feature.field))
            if column is not None:
                columns.append(start + column)
            start += len(feature)
        return columns

    def time_index(self, now_ms: int) -> int:
        """The row of `prior` that holds at `now_ms`: the last one not after it, the first before all."""
        return max(0, bisect_right(self.prior_times, now_ms) - 1)


class Latest(_Part):
    """`<model>/latest.json`: the version to serve. Written last, so that it never names half a bundle."""

    model: Identifier
    version: Identifier
    digest: Annotated[Sha256, Field(description="sha256 of that version's manifest.json")]
