"""The catalog in the plane."""

from collections import Counter
from typing import Any

import numpy as np

from meta.served import ServedBundle
from schemas import Item

MOST_ITEMS = 2000
"""Dots of the map; of a larger catalog the ones with the highest prior."""
MOST_GROUPS = 6


def item_map(bundle: ServedBundle) -> dict[str, Any]:
    """Item vectors on their two main axes, with title and group of each; groups are the commonest first categories.

    Source: Pearson, On lines and planes of closest fit to systems of points in space, 1901 (PCA).
    """
    vectors = bundle.tensors["item_vectors"].astype(np.float64)
    rows = np.sort(np.argsort(-bundle.tensors["prior"][-1], kind="stable")[:MOST_ITEMS])
    centered = vectors - vectors.mean(axis=0)
    _, spread, axes = np.linalg.svd(centered, full_matrices=False)
    # An axis has no sign of its own: its largest entry is positive, so that equal vectors give equal maps.
    axes = axes[:2] * np.sign(axes[:2][np.arange(len(axes[:2])), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    points = centered[rows] @ axes.T
    if points.shape[1] < 2:
        points = np.concatenate([points, np.zeros((len(points), 1))], axis=1)
    groups = [_group(bundle.items[row]) for row in rows]
    shown = [name for name, _ in Counter(group for group in groups if group).most_common(MOST_GROUPS)]
    total = float((spread**2).sum()) or 1.0
    return {
        "explained": [float(value) for value in (spread[:2] ** 2) / total],
        "groups": shown,
        "items": [
            {
                "title": bundle.items[row].title or bundle.items[row].item_id,
                "group": group if group in shown else "",
                "x": round(float(x), 4),
                "y": round(float(y), 4),
            }
            for row, group, (x, y) in zip(rows, groups, points, strict=True)
        ],
    }


def _group(item: Item) -> str:
    return item.domain or next(iter(item.categories), "")
