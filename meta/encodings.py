"""Learns from data how events and profiles become numbers: `EventKinds` and `UserFeature`s of the manifest."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from schemas import EventKinds, Flat, UserFeature

MOST_LEVELS = 5
"""Kinds that one event type with a value has at most."""
MOST_VALUES = 64
"""Values of one text field that have a column of their own."""
MOST_EDGES = 6
"""Cuts of one number field."""

UNKNOWN = -1
"""Kind of an event whose type the encoding does not know."""
UNKNOWN_NEGATIVE = -2
"""The same for a negative type, so that it never counts as a right answer."""
NEGATIVE_TYPES = frozenset({"dislike", "skip"})
"""Types that say no: such an event is never a right answer."""


def learn_kinds(types: Sequence[str], type_of: np.ndarray, values: np.ndarray) -> EventKinds:
    """Kinds of the event types, most frequent first.

    A type that carries different values gets one kind per value, or per fifth of its values where there are more than
    five. `type_of` (n,) indexes `types`; `values` (n,) is NaN where an event has none.
    """
    counts = np.bincount(type_of, minlength=len(types))
    plain, edges = [], {}
    for index in sorted(range(len(types)), key=lambda index: (-counts[index], types[index])):
        given = values[type_of == index]
        cuts = _cuts(given[~np.isnan(given)], MOST_LEVELS - 1)
        if cuts:
            edges[types[index]] = cuts
        else:
            plain.append(types[index])
    return EventKinds(types=plain, edges=edges)


def encode_kinds(kinds: EventKinds, types: Sequence[str], type_of: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Kinds of events (n,) int16, as `EventKinds.kind` gives them; UNKNOWN or UNKNOWN_NEGATIVE for other types."""
    encoded = np.empty(len(type_of), dtype=np.int16)
    for index, name in enumerate(types):
        at = np.flatnonzero(type_of == index)
        start = kinds.kind(name, -np.inf)
        cuts = kinds.edges.get(name)
        if start is None:
            encoded[at] = UNKNOWN_NEGATIVE if name in NEGATIVE_TYPES else UNKNOWN
        elif cuts is None:
            encoded[at] = start
        else:
            found = np.searchsorted(np.array(cuts), values[at], side="right")
            encoded[at] = start + np.where(np.isnan(values[at]), len(cuts) // 2, found)
    return encoded


def learn_user_features(profiles: Sequence[Mapping[str, object]]) -> list[UserFeature]:
    """Encodings of the profile fields, in order of name; a field with one value only tells nothing and is left out."""
    fields = sorted({field for profile in profiles for field in profile})
    learned = (_user_feature(field, [profile[field] for profile in profiles if field in profile]) for field in fields)
    return [feature for feature in learned if len(feature) > 1]


def encode_users(features: Sequence[UserFeature], profiles: Sequence[Flat]) -> np.ndarray:
    """Multi-hot user features (n_users, F) float32, as `Manifest.user_columns` gives them."""
    matrix = np.zeros((len(profiles), sum(len(feature) for feature in features)), dtype=np.float32)
    start = 0
    for feature in features:
        for row, profile in enumerate(profiles):
            column = feature.column(profile.get(feature.field))
            if column is not None:
                matrix[row, start + column] = 1.0
        start += len(feature)
    return matrix


def _user_feature(field: str, values: list[object]) -> UserFeature:
    numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(values):
        return UserFeature(field=field, edges=_cuts(np.array(numbers), MOST_EDGES))
    counts = Counter(str(value) for value in values)
    ordered = sorted(counts, key=lambda text: (-counts[text], text))
    return UserFeature(field=field, values=ordered[:MOST_VALUES])


def _cuts(values: np.ndarray, most: int) -> list[float]:
    levels = np.unique(values)
    if len(levels) <= most + 1:
        return [float(cut) for cut in (levels[1:] + levels[:-1]) / 2]
    cuts = np.unique(np.quantile(values, np.arange(1, most + 1) / (most + 1)))
    # A cut at the smallest value would leave the interval below it empty.
    return [float(cut) for cut in cuts if cut > levels[0]]
