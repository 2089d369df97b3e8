import numpy as np

from meta import encodings
from schemas import EventKinds


def test_each_rating_level_is_a_kind_of_its_own():
    kinds = encodings.learn_kinds(["rating"], np.zeros(6, int), np.array([5, 1, 2, 3, 4, 3.0]))
    assert kinds == EventKinds(types=[], edges={"rating": [1.5, 2.5, 3.5, 4.5]})


def test_many_rating_levels_are_cut_into_fifths():
    kinds = encodings.learn_kinds(["rating"], np.zeros(1000, int), np.arange(1000.0))
    encoded = encodings.encode_kinds(kinds, ["rating"], np.zeros(1000, int), np.arange(1000.0))
    assert np.bincount(encoded).tolist() == [200] * 5


def test_types_without_different_values_are_plain_and_ordered_by_frequency():
    type_of = np.array([0, 1, 1, 2, 2])
    kinds = encodings.learn_kinds(["buy", "view", "click"], type_of, np.array([9.0, np.nan, np.nan, 1.0, 1.0]))
    assert kinds == EventKinds(types=["click", "view", "buy"])


def test_columns_are_encoded_as_the_manifest_encodes_one_event():
    kinds = EventKinds(types=["view"], edges={"rating": [2.0, 3.0], "stars": [1.0]})
    types = ["rating", "stars", "view", "rating", "rating", "rating"]
    values = [2.0, 0.5, 7.0, np.nan, 1.9, 8.0]
    encoded = encodings.encode_kinds(kinds, types, np.arange(6), np.array(values))
    expected = [kinds.kind(t, None if np.isnan(v) else v) for t, v in zip(types, values, strict=True)]
    assert encoded.tolist() == expected


def test_unknown_types_are_told_apart_by_whether_they_say_no():
    kinds = EventKinds(types=["view"])
    encoded = encodings.encode_kinds(kinds, ["wave", "skip"], np.array([0, 1]), np.full(2, np.nan))
    assert encoded.tolist() == [encodings.UNKNOWN, encodings.UNKNOWN_NEGATIVE]


def test_profiles_become_values_by_frequency_and_numbers_by_interval():
    profiles = [{"job": "b", "age": age} for age in range(20, 60)] + [{"job": "a", "flag": True}, {"flag": False}]
    features = {feature.field: feature for feature in encodings.learn_user_features(profiles)}
    assert features["job"].values == ["b", "a"]
    assert len(features["age"].edges) == 6
    assert features["flag"].values == ["False", "True"]


def test_a_field_that_is_the_same_for_all_is_left_out():
    assert encodings.learn_user_features([{"kind": "x", "n": 1}, {"kind": "x", "n": 1}]) == []


def test_a_missing_or_unseen_value_lights_no_column():
    features = encodings.learn_user_features([{"job": "a"}, {"job": "b"}])
    matrix = encodings.encode_users(features, [{"job": "b"}, {}, {"job": "c"}])
    assert matrix.tolist() == [[0, 1], [0, 0], [0, 0]]
