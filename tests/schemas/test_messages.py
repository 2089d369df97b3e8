"""The wire models: what producers may send, what we promise to send, and how they are kept current on disk."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from schemas import (
    TOPICS,
    InteractionEvent,
    Item,
    ModelAnnouncement,
    Recommendation,
    RecommendationRequest,
    RecommendedItem,
    RefreshRequest,
    Role,
    Source,
    UserProfile,
    epoch_ms,
    rfc3339,
    topic_name,
)
from schemas.generate import MODELS, main, rendered, stale

EVENT = {"item_id": "i1", "event_type": "view"}
LIST = {
    "user_id": "ann",
    "model": "m",
    "model_version": "v1",
    "items": [RecommendedItem(item_id="i1", score=1.0)],
    "support_size": 1,
    "source": Source(topic="t", partition=0, offset=3),
    "generated_at": "2026-01-31T12:00:00.000Z",
}


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (InteractionEvent, EVENT),
        (RecommendationRequest, {}),
        (UserProfile, {"features": {"age": 7}}),
        (Item, {"item_id": "i1"}),
    ],
)
def test_unknown_fields_of_an_input_are_ignored(model: type[BaseModel], fields: dict[str, Any]) -> None:
    assert model.model_validate({**fields, "from_the_future": 1}) == model.model_validate(fields)


def test_unknown_fields_of_an_output_are_refused() -> None:
    with pytest.raises(ValidationError, match="from_the_future"):
        Recommendation.model_validate({**LIST, "from_the_future": 1})


@pytest.mark.parametrize("message", [InteractionEvent(**EVENT), Recommendation(**LIST)])
def test_messages_are_frozen(message: BaseModel) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        message.schema_version = 2  # type: ignore[attr-defined]


def test_a_list_is_the_same_after_the_wire() -> None:
    sent = Recommendation(**LIST)
    assert Recommendation.model_validate_json(sent.model_dump_json()) == sent


def test_an_unknown_filter_is_refused_because_a_rule_must_not_be_skipped() -> None:
    with pytest.raises(ValidationError, match="color"):
        RecommendationRequest.model_validate({"filters": {"color": ["red"]}})


@pytest.mark.parametrize(
    "value",
    [
        b'{"item_id": "i", "event_type": "rating", "value": NaN}',
        b'{"item_id": "i", "event_type": "rating", "value": 1e999}',
        b'{"item_id": NaN, "event_type": "view"}',
        b'{"item_id": "i", "event_type": "view", "context": {"x": -Infinity}}',
        b'{"item_id": "", "event_type": "view"}',
        b'{"item_id": "i", "event_type": "view", "context": {"nested": {}}}',
        b'{"item_id": true, "event_type": "view"}',
        b'{"event_type": "view"}',
    ],
)
def test_what_is_not_finite_not_flat_or_not_an_id_is_refused(value: bytes) -> None:
    with pytest.raises(ValidationError):
        InteractionEvent.model_validate_json(value)


def test_whole_numbers_serve_as_ids() -> None:
    assert InteractionEvent.model_validate({"item_id": 50, "user_id": 7, "event_type": "view"}).item_id == "50"


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [
        ("2026-01-31T12:00:00Z", 1_769_860_800_000),
        ("2026-01-31T13:00:00.5+01:00", 1_769_860_800_500),
        (1_769_860_800_000, 1_769_860_800_000),
        (1_769_860_800_000.4, 1_769_860_800_000),
    ],
)
def test_a_timestamp_is_rfc_3339_or_epoch_milliseconds(written: Any, milliseconds: int) -> None:
    assert epoch_ms(written) == milliseconds


@pytest.mark.parametrize(
    "written", ["2026-01-31T12:00:00", "yesterday", 1_769_860_800, 1_769_860_800_000_000, 2**60, True, None, -5]
)
def test_a_timestamp_without_offset_in_seconds_or_out_of_reach_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match=r"RFC 3339|seconds|finer unit"):
        epoch_ms(written)


def test_every_timestamp_that_is_read_can_be_written() -> None:
    assert rfc3339(epoch_ms("9999-12-31T23:59:59.999Z")) == "9999-12-31T23:59:59.999Z"
    with pytest.raises(ValueError, match="beyond the year 9999"):
        epoch_ms("9999-12-31T23:59:59.999-01:00")


def test_rfc_3339_is_written_to_the_millisecond_and_read_back() -> None:
    assert rfc3339(1_769_860_800_007) == "2026-01-31T12:00:00.007Z"
    assert epoch_ms(rfc3339(1_769_860_800_007)) == 1_769_860_800_007


def test_every_role_has_a_topic_and_forgetting_ones_are_compacted() -> None:
    assert {topic_name(role) for role in TOPICS} == {f"fewstep-{role}" for role in Role}
    assert topic_name(Role.DEAD_LETTERS, "x.") == "x.dead-letters"
    assert TOPICS[Role.RECOMMENDATIONS].cleanup == "compact"


def test_the_committed_json_schemas_are_current() -> None:
    assert stale() == []


def test_a_stale_missing_or_foreign_schema_file_is_named(tmp_path: Path) -> None:
    for name, text in rendered().items():
        (tmp_path / name).write_text(text)
    assert stale(tmp_path) == []
    (tmp_path / "Item.schema.json").write_text("{}")
    (tmp_path / "Latest.schema.json").unlink()
    (tmp_path / "Ghost.schema.json").write_text("{}")
    assert stale(tmp_path) == ["Ghost.schema.json", "Item.schema.json", "Latest.schema.json"]


def test_the_check_says_which_files_to_generate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("model", MODELS)
def test_a_json_schema_describes_every_field(model: type[BaseModel]) -> None:
    schema = json.loads(rendered()[f"{model.__name__}.schema.json"])
    assert schema["properties"].keys() == model.model_fields.keys()
    assert schema["description"]


def test_an_announcement_says_whether_workers_go_forward_or_back_on_purpose() -> None:
    told: dict[str, Any] = {
        "model": "films",
        "version": "7",
        "digest": "0" * 64,
        "url": "films/7",
        "published_at": "2026-01-31T12:00:00Z",
    }
    assert ModelAnnouncement.model_validate(told).action == "publish"
    assert ModelAnnouncement.model_validate(told | {"action": "rollback"}).action == "rollback"
    with pytest.raises(ValidationError, match="action"):
        ModelAnnouncement.model_validate(told | {"action": "downgrade"})


def test_a_refresh_request_names_the_served_version_and_carries_finite_measures() -> None:
    told = {"model": "films", "model_version": "7", "reason": "HR@10 fell", "timestamp": 1_769_860_800_000}
    request = RefreshRequest.model_validate(told | {"measures": {"hr@10": 0.21}})
    assert RefreshRequest.model_validate_json(request.model_dump_json()) == request
    with pytest.raises(ValidationError, match="finite"):
        RefreshRequest.model_validate(told | {"measures": {"hr@10": float("nan")}})
