"""Encodings that training and serving share: kinds of events, profiles, times of the prior."""

import pytest
from pydantic import ValidationError

from schemas import EventKinds, FileEntry, Manifest, TensorEntry, UserFeature

KINDS = EventKinds(types=["view", "like"], edges={"rating": [2.5, 3.5], "dwell": [10.0]})
FEATURES = [UserFeature(field="age", edges=[18.0, 65.0]), UserFeature(field="city", values=["Aachen", "Bergen"])]
MANIFEST = Manifest(
    format_version=1,
    model="m",
    version="v1",
    created_at="2026-01-31T12:00:00Z",
    algorithm="a",
    inner_steps=3,
    n_items=2,
    d=4,
    files={"adapt.onnx": FileEntry(size=1, sha256="0" * 64)},
    tensors={"prior": TensorEntry(file="items.safetensors", dtype="float32", shape=(3, 2))},
    kinds=KINDS,
    user_features=FEATURES,
    prior_times=[100, 200, 300],
)


@pytest.mark.parametrize(
    ("event_type", "value", "kind"),
    [
        ("view", None, 0),
        ("like", 7.0, 1),
        ("rating", 1.0, 2),
        ("rating", 2.5, 3),
        ("rating", 3.0, 3),
        ("rating", 5.0, 4),
        ("rating", None, 3),
        ("dwell", 3.0, 5),
        ("dwell", 10.0, 6),
        ("skip", None, None),
    ],
)
def test_each_event_has_one_kind_by_type_and_interval(event_type: str, value: float | None, kind: int | None) -> None:
    assert KINDS.kind(event_type, value) == kind


def test_kinds_are_as_many_as_there_are_numbers_for_them() -> None:
    assert len(KINDS) == 7


@pytest.mark.parametrize(
    ("features", "columns"),
    [
        ({"age": 17, "city": "Bergen"}, [0, 4]),
        ({"age": 18.0}, [1]),
        ({"age": 99, "city": "Oslo"}, [2]),
        ({"age": "old", "hobby": "chess"}, []),
        ({}, []),
    ],
)
def test_a_profile_turns_on_one_column_per_known_field(features: dict[str, object], columns: list[int]) -> None:
    assert MANIFEST.n_user_features == 5
    assert MANIFEST.user_columns(features) == columns


@pytest.mark.parametrize(("now", "row"), [(0, 0), (100, 0), (199, 0), (200, 1), (10**15, 2)])
def test_the_prior_row_is_the_last_one_that_has_begun(now: int, row: int) -> None:
    assert MANIFEST.time_index(now) == row


@pytest.mark.parametrize("name", ["../adapt.onnx", "/etc/passwd", "a/b", "", ".hidden"])
def test_a_file_name_cannot_leave_the_bundle(name: str) -> None:
    with pytest.raises(ValidationError):
        Manifest.model_validate(MANIFEST.model_dump() | {"files": {name: {"size": 1, "sha256": "0" * 64}}})


def test_a_manifest_is_the_same_after_json_and_refuses_what_it_does_not_know() -> None:
    assert Manifest.model_validate_json(MANIFEST.model_dump_json()) == MANIFEST
    with pytest.raises(ValidationError, match="pickle"):
        Manifest.model_validate(MANIFEST.model_dump() | {"pickle": "x"})
