"""Events of one user at one time have no order of their own: any is as true as another, and all of them are taught."""

from dataclasses import replace

import numpy as np

from meta.dataset import Dataset


def with_ties_shuffled(dataset: Dataset, rng: np.random.Generator) -> Dataset:
    """The dataset with the events that share user and time in a random order."""
    order = np.lexsort((rng.random(len(dataset.item)), dataset.time_ms, dataset.user))
    return replace(dataset, item=dataset.item[order], kind=dataset.kind[order], rating=dataset.rating[order])
