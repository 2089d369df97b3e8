"""What the model sees of an item apart from its interactions: a multi-hot row of its attributes."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from schemas import ContentEncoding, Item

_NUMBER_BINS = 8
_MAX_COLUMNS = 256
_RIDGE = 1.0


def learn_content(items: Sequence[Item]) -> ContentEncoding:
    """Columns for categories, domain and binned numeric features.

    A column held by fewer than two items or by all tells nothing and is left out, and at most the 256 commonest are
    kept.
    """
    encoding = ContentEncoding(columns=[], edges=_number_edges(items))
    counts = Counter(
        name for item in items for name in set(encoding.attributes(item.categories, item.domain, item.features))
    )
    telling = [name for name, count in counts.items() if 1 < count < len(items)]
    names = sorted(telling, key=lambda name: (-counts[name], name))[:_MAX_COLUMNS]
    return ContentEncoding(columns=names, edges=encoding.edges)


def content_matrix(items: Sequence[Item], encoding: ContentEncoding | None = None) -> np.ndarray:
    """Rows (n_items, n_columns) float32, scaled to length 1, so that an item with many categories weighs no more.

    Without an encoding it is the one that the items themselves give.
    """
    encoding = encoding or learn_content(items)
    columns = {attribute: position for position, attribute in enumerate(encoding.columns)}
    matrix = np.zeros((len(items), len(columns)), dtype=np.float32)
    for row, item in enumerate(items):
        attributes = encoding.attributes(item.categories, item.domain, item.features)
        matrix[row, [columns[name] for name in attributes if name in columns]] = 1.0
    scaled: np.ndarray = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1.0)
    return scaled


def with_ones(content: np.ndarray) -> np.ndarray:
    """The rows (n, n_columns + 1) float64 that an `attribute_map` is multiplied by, from content (n, n_columns)."""
    return np.hstack([content, np.ones((len(content), 1))])


def attribute_map(content: np.ndarray, learned: np.ndarray) -> np.ndarray:
    """Weights (n_columns + 1, m) float64 with `with_ones(content) @ weights` near what was learned of n items (n, m):
    a ridge regression. The last row is what an item without attributes is given, and is not shrunk.

    Where `learned` is content times weights plus a small free part, it finds those weights again.
    Source: Gantner et al., Learning Attribute-to-Feature Mappings for Cold-Start Recommendations, ICDM 2010.
    """
    rows = with_ones(content)
    gram = rows.T @ rows + _RIDGE * np.eye(rows.shape[1])
    gram[-1, -1] -= _RIDGE
    return np.asarray(np.linalg.solve(gram, rows.T @ learned))


def _number_edges(items: Sequence[Item]) -> dict[str, list[float]]:
    """Quantiles that cut each numeric feature into bins of about equal size."""
    values: dict[str, list[float]] = {}
    for item in items:
        for field, value in item.features.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                values.setdefault(field, []).append(float(value))
    quantiles = np.arange(1, _NUMBER_BINS) / _NUMBER_BINS
    return {field: np.unique(np.quantile(column, quantiles)).tolist() for field, column in values.items()}
