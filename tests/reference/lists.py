"""Recommendation lists by brute force: one user at a time, every item looked at, nothing clever.

What has to be equal: everything but numbers that come out of matrix products. Kernels sum in an order of their own, so
that a score may differ in its last bit, and be rounded to another sixth digit: scores and contributions are compared
within `TOLERANCE`, and two items may stand in either order only where their scores are that close. That lists do not
depend on the batch, to the last bit, is another claim, and it is tested against the core itself.
"""

from typing import Any

import numpy as np
from reference.worker import ExpectedList, Person, digest

from stream.engine.bundle import Bundle

DAY_MS = 86_400_000
BLOCK = 8
TOLERANCE = 2e-5
"""Of a score of size 1: four units in the sixth digit, which is all that a list prints."""


def disagreements(found: dict[str, Any], expected: ExpectedList, bundle: Bundle, *, window: int, reasons: int) -> list:
    """What a published list says otherwise than the reference; empty if nothing."""
    topic, partition, offset = expected.source
    facts = {
        "schema_version": 1,
        "user_id": expected.user[1].decode(),
        "model": bundle.manifest.model,
        "model_version": bundle.manifest.version,
        "support_size": len(expected.person.events),
        "source": {"topic": topic, "partition": partition, "offset": offset},
    }
    wrong: list = [(name, found[name], value) for name, value in facts.items() if found[name] != value]
    scores, shares = score(expected.person, expected.now_ms, bundle, window=window)
    allowed = {row for row in range(len(bundle.catalog)) if _may_appear(row, expected, bundle)}
    listed = [bundle.catalog.rows[item["item_id"].encode()] for item in found["items"]]
    if not set(listed) <= allowed or len(set(listed)) != len(listed):
        wrong.append(("items", "hidden or twice", sorted(set(listed) - allowed)))
    if len(listed) != min(expected.n, len(allowed)):
        wrong.append(("length", len(listed), min(expected.n, len(allowed))))
    close = TOLERANCE * max(1.0, float(np.abs(scores).max()))
    best = sorted((float(scores[row]) for row in allowed), reverse=True)
    for row, item, level in zip(listed, found["items"], best, strict=False):
        if abs(item["score"] - scores[row]) > close or abs(item["score"] - level) > close:
            wrong.append(("score", item, float(scores[row]), level))
        wrong += _wrong_reasons(item["reasons"], shares[row], close=close, most=reasons)
    return wrong


def score(person: Person, now_ms: int, bundle: Bundle, *, window: int) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Scores (n_items,) and, for each item, what the items of the support set add to its score."""
    manifest, rows = bundle.manifest, bundle.catalog.rows
    features = {
        "support_items": np.zeros((BLOCK, window), np.int64),
        "support_mask": np.zeros((BLOCK, window), np.float32),
        "support_kind": np.zeros((BLOCK, window), np.int64),
        "support_age": np.zeros((BLOCK, window), np.float32),
        "user_features": np.zeros((BLOCK, manifest.n_user_features), np.float32),
        "time_index": np.full(BLOCK, manifest.time_index(now_ms), np.int64),
    }
    counted: dict[int, str] = {}
    for place, (moment, item, event_type, value) in enumerate(person.events):
        row, kind = rows.get(item.encode()), manifest.kinds.kind(event_type, value)
        features["support_age"][0, place] = (now_ms - moment) / DAY_MS
        if row is not None:
            features["support_items"][0, place] = row
        if row is not None and kind is not None:
            features["support_mask"][0, place] = 1
            features["support_kind"][0, place] = kind
            counted[place] = item
    features["user_features"][0, manifest.user_columns(person.profile or {})] = 1
    vectors, parts = bundle.adapt(features)
    scores = bundle.score(vectors, features["time_index"])[0]
    shares: list[dict[str, float]] = []
    for vector in bundle.catalog.vectors:
        added: dict[str, float] = {}
        for place, item in counted.items():
            added[item] = added.get(item, 0.0) + float(vector @ parts[0, place])
        shares.append(added)
    return scores, shares


def _may_appear(row: int, expected: ExpectedList, bundle: Bundle) -> bool:
    catalog, filters = bundle.catalog, expected.filters
    item = catalog.item_ids[row]
    if row in catalog.withdrawn or item in {event[1] for event in expected.person.events}:
        return False
    if digest(item, 3) in {digest(one, 3) for one in expected.person.seen}:
        return False
    for wanted, index in (("categories", catalog.categories), ("domains", catalog.domains)):
        if filters.get(wanted) and not any(row in index.get(name, ()) for name in filters[wanted]):
            return False
    return item not in filters.get("exclude_items", ())


def _wrong_reasons(found: list[dict[str, Any]], shares: dict[str, float], *, close: float, most: int) -> list:
    """Reasons have to be the largest positive shares, largest first; those within `close` of 0 may be left out."""
    values = [reason["contribution"] for reason in found]
    named = {reason["item_id"] for reason in found}
    wrong = [
        ("reason", reason, shares.get(reason["item_id"]))
        for reason in found
        if abs(reason["contribution"] - shares.get(reason["item_id"], np.inf)) > close
    ]
    if values != sorted(values, reverse=True) or len(named) != len(found) or len(found) > most:
        wrong.append(("reasons", found, shares))
    least = values[-1] if len(found) == most else 0.0
    left_out = [item for item, share in shares.items() if most and item not in named and share > least + close]
    return wrong + [("left out", item, shares[item]) for item in left_out]
