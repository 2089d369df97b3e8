"""Topic roles, names and cleanup policies."""

from enum import StrEnum
from typing import NamedTuple


class Role(StrEnum):
    """What a topic is for."""

    INTERACTIONS = "interactions"
    REQUESTS = "requests"
    USERS = "users"
    ITEMS = "items"
    MODELS = "models"
    RECOMMENDATIONS = "recommendations"
    DEAD_LETTERS = "dead-letters"
    REFRESH_REQUESTS = "refresh-requests"


class TopicSpec(NamedTuple):
    """How a topic is created. Co-partitioned topics have the partition count of `interactions`."""

    cleanup: str
    co_partitioned: bool


TOPICS: dict[Role, TopicSpec] = {
    Role.INTERACTIONS: TopicSpec("delete", True),
    Role.REQUESTS: TopicSpec("delete", True),
    Role.USERS: TopicSpec("compact", True),
    Role.ITEMS: TopicSpec("compact", False),
    Role.MODELS: TopicSpec("compact", False),
    Role.RECOMMENDATIONS: TopicSpec("compact", True),
    Role.DEAD_LETTERS: TopicSpec("delete", False),
    Role.REFRESH_REQUESTS: TopicSpec("delete", False),
}


def topic_name(role: Role, prefix: str = "fewstep-") -> str:
    """The name of the topic with this role, such as `fewstep-interactions`."""
    return f"{prefix}{role.value}"
