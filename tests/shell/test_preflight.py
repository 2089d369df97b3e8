"""Topics are checked before the worker starts, and what is wrong is named with its remedy."""

import pytest

from schemas.errors import BrokerError
from stream.clients.connect import TopicFacts
from stream.settings import Settings
from stream.shell.preflight import require_rights, require_same_topics, require_topics

SETTINGS = Settings.load(kafka={"topic_prefix": "p-"}, worker={"app_id": "a"})
SOUND = {f"p-{name}": 6 for name in ("interactions", "requests", "users", "recommendations")} | {
    "p-dead-letters": 1,
    "a-support-sets-changelog": 6,
}


def test_sound_topics_give_their_partition_count() -> None:
    assert require_topics(SOUND, SETTINGS) == 6


@pytest.mark.parametrize("name", sorted(SOUND))
def test_a_missing_topic_is_named_with_the_command_that_creates_it(name: str) -> None:
    with pytest.raises(BrokerError, match=f"{name} is missing.*fewstep topics create --topic-prefix p- --app-id a"):
        require_topics({topic: count for topic, count in SOUND.items() if topic != name}, SETTINGS)


@pytest.mark.parametrize("name", sorted(set(SOUND) - {"p-dead-letters", "p-interactions"}))
def test_a_differing_partition_count_is_refused(name: str) -> None:
    with pytest.raises(BrokerError, match=f"{name} has 3 partitions.*p-interactions has 6"):
        require_topics(SOUND | {name: 3}, SETTINGS)


def test_dead_letters_may_have_any_partition_count() -> None:
    assert require_topics(SOUND | {"p-dead-letters": 2}, SETTINGS) == 6


def facts(**changes: frozenset[str] | None) -> dict[str, TopicFacts]:
    rights = dict.fromkeys(SOUND, frozenset({"READ", "WRITE"})) | changes
    return {name: TopicFacts(6, "id", held) for name, held in rights.items()}


def test_all_missing_rights_are_named_in_one_line() -> None:
    held = {"p-users": frozenset({"DESCRIBE"}), "a-support-sets-changelog": frozenset({"READ"})}
    with pytest.raises(BrokerError) as refused:
        require_rights(facts(**held), SETTINGS, may_join=False)
    for right in ("Read on topic p-users", "Write on topic a-support-sets-changelog", "Read on group a"):
        assert right in str(refused.value)
    assert "p-interactions" not in str(refused.value)


def test_a_broker_that_tells_no_rights_is_believed() -> None:
    require_rights(facts(**dict.fromkeys(SOUND)), SETTINGS, may_join=True)


def test_a_source_topic_that_was_made_anew_is_refused_with_the_way_out() -> None:
    require_same_topics({"p-users": "1"}, [{"p-users": "1"}])
    require_same_topics({"p-users": "1"}, [{}])  # nothing was committed yet, or by an older build
    with pytest.raises(BrokerError, match=r"p-users was deleted and created again.*--app-id"):
        require_same_topics({"p-users": "2"}, [{}, {"p-users": "1"}])
