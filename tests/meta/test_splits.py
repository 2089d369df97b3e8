import numpy as np
import pytest

from meta import splits
from schemas.errors import DataError


def test_folds_hold_every_user_once():
    folds = splits.folds(943, seed=0)
    assert sorted(np.concatenate(folds).tolist()) == list(range(943))
    assert {len(fold) for fold in folds} == {94, 95}


def test_folds_follow_the_seed():
    first, again, other = (np.concatenate(splits.folds(50, seed=seed)).tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_holding_out_more_keeps_who_was_held_out():
    ids = [f"u{number}" for number in range(100)]
    one, two = splits.hold_out(ids, 1, seed=0), splits.hold_out(ids, 2, seed=0)
    assert (len(one), len(two)) == (10, 20)
    assert one < two
    assert splits.hold_out(ids, 0, seed=0) == set()


def test_a_user_on_both_sides_is_refused_by_name():
    with pytest.raises(DataError, match=r"1 users .* such as b"):
        splits.refuse_overlap(["a", "b"], ["b", "c"])
    splits.refuse_overlap(["a"], ["c"])
