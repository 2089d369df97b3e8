"""Who is trained on and who is held out: always whole users."""

from collections.abc import Iterable, Sequence

import numpy as np

from schemas.errors import DataError

N_FOLDS = 10


def folds(n_users: int, *, seed: int, n_folds: int = N_FOLDS) -> list[np.ndarray]:
    """User rows, permuted by the seed and cut into `n_folds` parts of nearly equal size."""
    return np.array_split(np.random.default_rng(seed).permutation(n_users), n_folds)


def hold_out(user_ids: Sequence[str], n: int, *, seed: int) -> set[str]:
    """The users of the first n of ten folds. The order of `user_ids` matters: give them in a fixed one."""
    chosen = folds(len(user_ids), seed=seed)[:n]
    return {user_ids[user] for fold in chosen for user in fold}


def refuse_overlap(train: Iterable[str], held_out: Iterable[str]) -> None:
    """Raise DataError where a user id is in both: measures on users that were trained on mean nothing."""
    both = sorted(set(train) & set(held_out))
    if both:
        raise DataError(
            f"{len(both)} users are in the training and in the held-out interactions, such as {both[0]};"
            " hold out whole users, as `fewstep data --hold-out` does"
        )
