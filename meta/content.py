"""What the model sees of an item apart from its interactions: a multi-hot row of its attributes."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from schemas import Item

_NUMBER_BINS = 8
_MAX_COLUMNS = 256


def content_matrix(items: Sequence[Item]) -> np.ndarray:
    """Rows (n_items, n_columns) float32: categories, domain and binned numeric features.

    A row is scaled to length 1, so that an item with many categories does not weigh more; a column held by fewer than
    two items or by all tells nothing and is left out, and at most the 256 commonest are kept.
    """
    edges = _number_edges(items)
    rows = [sorted(set(_attributes(item, edges))) for item in items]
    counts = Counter(name for row in rows for name in row)
    telling = [name for name, count in counts.items() if 1 < count < len(items)]
    names = sorted(telling, key=lambda name: (-counts[name], name))[:_MAX_COLUMNS]
    column = {name: position for position, name in enumerate(names)}
    matrix = np.zeros((len(items), len(names)), dtype=np.float32)
    for row, attributes in enumerate(rows):
        matrix[row, [column[name] for name in attributes if name in column]] = 1.0
    scaled: np.ndarray = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1.0)
    return scaled


def _attributes(item: Item, edges: dict[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    """The item's attributes as (field, value) pairs."""
    yield from (("categories", category) for category in item.categories)
    if item.domain:
        yield "domain", item.domain
    for field, value in item.features.items():
        if field in edges and _is_number(value):
            yield field, str(int(np.searchsorted(edges[field], float(value), side="right")))


def _number_edges(items: Sequence[Item]) -> dict[str, np.ndarray]:
    """Quantiles that cut each numeric feature into bins of about equal size."""
    values: dict[str, list[float]] = {}
    for item in items:
        for field, value in item.features.items():
            if _is_number(value):
                values.setdefault(field, []).append(float(value))
    quantiles = np.arange(1, _NUMBER_BINS) / _NUMBER_BINS
    return {field: np.unique(np.quantile(column, quantiles)) for field, column in values.items()}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
