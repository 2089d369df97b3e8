"""What lists are like, whether or not they are right: how much of the catalog they show, how unusual, how varied."""

import numpy as np


def coverage(lists: np.ndarray, n_items: int) -> float:
    """Share of the catalog that is in at least one of the lists (b, n), -1 for none.

    Source: Ge, Delgado-Battenfeld and Jannach, Beyond Accuracy: Evaluating Recommender Systems by Coverage and
    Serendipity, RecSys 2010.
    """
    return len(np.unique(lists[lists >= 0])) / n_items


def novelty(lists: np.ndarray, popularity: np.ndarray) -> np.ndarray:
    """Mean self-information of the listed items in bits (b,): log2 of the events in all over those of the item.

    `popularity` (n_items,) are counts of training events; one event is added to each item. NaN for an empty list.
    Source: Zhou et al., Solving the apparent diversity-accuracy dilemma of recommender systems, PNAS 107(10), 2010.
    """
    share = (popularity + 1.0) / (popularity + 1.0).sum()
    return _mean_over_list(-np.log2(share)[np.maximum(lists, 0)], lists >= 0)


def intra_list_diversity(lists: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Mean of 1 - cosine over the pairs of a list (b,); NaN for fewer than two items.

    `content` (n_items, c) are the items' attributes. An item without any is unlike all others.
    Source: Ziegler, McNee, Konstan and Lausen, Improving Recommendation Lists Through Topic Diversification, WWW 2005.
    """
    lengths = np.linalg.norm(content, axis=1, keepdims=True)
    rows = (content / np.maximum(lengths, 1e-12))[np.maximum(lists, 0)]
    present = lists >= 0
    pairs = present[:, :, None] & present[:, None, :] & ~np.eye(lists.shape[1], dtype=bool)
    apart = 1 - rows @ rows.transpose(0, 2, 1)
    return _mean_over_list(apart.reshape(len(lists), -1), pairs.reshape(len(lists), -1))


def _mean_over_list(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    count = present.sum(axis=1)
    return np.where(count > 0, np.where(present, values, 0).sum(axis=1) / np.maximum(count, 1), np.nan)
