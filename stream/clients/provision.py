"""The topics that fewstep works with: planned, created, deleted."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from kafka.errors import for_code

from schemas import TOPICS, KafkaSettings, topic_name
from schemas.errors import BrokerError
from stream.clients.connect import open_admin, partition_counts
from stream.settings import Settings
from stream.topics import changelog_topic


class PlannedTopic(NamedTuple):
    """A topic as it should be."""

    name: str
    partitions: int
    cleanup: str
    co_partitioned: bool


def plan_topics(settings: Settings, partitions: int) -> list[PlannedTopic]:
    """All topics by role and the worker's changelog; those that are not co-partitioned have one partition."""
    planned = [
        PlannedTopic(
            topic_name(role, settings.kafka.topic_prefix),
            partitions if spec.co_partitioned else 1,
            spec.cleanup,
            spec.co_partitioned,
        )
        for role, spec in TOPICS.items()
    ]
    return [*planned, PlannedTopic(changelog_topic(settings.worker.app_id), partitions, "compact", True)]


def create_topics(settings: Settings, *, partitions: int, replication_factor: int) -> dict[str, str]:
    """Create what is missing; gives `created` or `exists` per topic.

    Raises BrokerError if a co-partitioned topic exists with another partition count, before anything is created, and
    for what the broker refuses.
    """
    planned = plan_topics(settings, partitions)
    with open_admin(settings.kafka) as admin:
        existing = partition_counts(admin)
        for topic in planned:
            if topic.name in existing:
                _require_count(topic, existing[topic.name], settings.kafka)
        missing = [topic for topic in planned if topic.name not in existing]
        if missing:
            _create(admin, missing, replication_factor, settings.kafka)
    return {topic.name: "exists" if topic.name in existing else "created" for topic in planned}


def delete_topics(settings: Settings, names: Sequence[str]) -> None:
    """Delete topics with all their records. Raises BrokerError if Kafka fails."""
    with open_admin(settings.kafka) as admin:
        admin.delete_topics(list(names))


def delete_prefixed(kafka: KafkaSettings, prefix: str) -> None:
    """Delete all topics and consumer groups whose names start with `prefix`. Raises BrokerError if Kafka fails."""
    with open_admin(kafka) as admin:
        topics = [name for name in partition_counts(admin) if name.startswith(prefix)]
        if topics:
            admin.delete_topics(topics)
        groups = [group["group_id"] for group in admin.list_groups() if group["group_id"].startswith(prefix)]
        if groups:
            admin.delete_groups(groups)


def _require_count(topic: PlannedTopic, count: int, kafka: KafkaSettings) -> None:
    if topic.co_partitioned and count != topic.partitions:
        raise BrokerError(
            f"topic {topic.name} at {kafka.bootstrap_servers} has {count} partitions, not {topic.partitions}: "
            f"pass --partitions {count}, or delete the topic or choose another --topic-prefix or --app-id"
        )


def _create(admin: Any, missing: list[PlannedTopic], replication_factor: int, kafka: KafkaSettings) -> None:
    answer = admin.create_topics(
        {
            topic.name: {
                "num_partitions": topic.partitions,
                "replication_factor": replication_factor,
                "configs": {"cleanup.policy": topic.cleanup},
            }
            for topic in missing
        },
        raise_errors=False,  # its exception holds the whole request, and the reason somewhere behind
    )
    for topic in answer["topics"]:
        if topic["error_code"]:
            reason = topic.get("error_message") or for_code(topic["error_code"]).__name__
            raise BrokerError(
                f"topic {topic['name']} cannot be created at {kafka.bootstrap_servers}: {reason.rstrip('.')}; correct "
                "--replication-factor or --partitions, or have the right to Create granted"
            )
    admin.wait_for_topics([topic.name for topic in missing])
