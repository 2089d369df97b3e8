"""What must hold before the worker starts: topics, equal partition counts, rights, transactions if asked for."""

import asyncio
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from aiokafka.errors import KafkaError, TransactionalIdAuthorizationFailed

from schemas import TOPICS, KafkaSettings, Role, topic_name
from schemas.errors import BrokerError
from stream.clients.connect import TopicFacts, may_join, open_admin, wait_for_broker
from stream.settings import Settings
from stream.shell.transactions import new_producer, transactional_id
from stream.topics import changelog_topic

WRITTEN = (Role.RECOMMENDATIONS, Role.DEAD_LETTERS)
READ = (Role.INTERACTIONS, Role.REQUESTS, Role.USERS)


class Cluster(NamedTuple):
    """What the worker needs to know of a cluster that it can work with."""

    partitions: int
    """Of each co-partitioned topic."""
    dead_letter_partitions: int
    topic_ids: Mapping[str, str]
    changelog_id: str
    """Another one after the changelog was deleted and created again."""


def check_cluster(settings: Settings) -> Cluster:
    """Wait for Kafka, then check topics, rights and transactions.

    Raises BrokerError where it cannot be reached within the patience, and for everything that the worker would lack.
    """
    topics = wait_for_broker(settings.kafka, patience_s=settings.worker.broker_patience_s)
    counts = {name: facts.partitions for name, facts in topics.items()}
    partitions = require_topics(counts, settings)
    with open_admin(settings.kafka) as admin:
        require_rights(topics, settings, may_join=may_join(admin, settings.worker.app_id))
        require_same_topics({name: facts.topic_id for name, facts in topics.items()}, committed_notes(admin, settings))
    if settings.worker.delivery == "exactly_once":
        require_transactions(settings.kafka, app_id=settings.worker.app_id)
    prefix = settings.kafka.topic_prefix
    return Cluster(
        partitions,
        counts[topic_name(Role.DEAD_LETTERS, prefix)],
        {topic_name(role, prefix): topics[topic_name(role, prefix)].topic_id for role in READ},
        topics[changelog_topic(settings.worker.app_id)].topic_id,
    )


def require_topics(partitions: Mapping[str, int], settings: Settings) -> int:
    """Check topics against the partition counts that the cluster reports; gives the count of the co-partitioned ones.

    A user's state lives on the partition its events arrive on, so a changelog with another count would lose or mix
    users. Raises BrokerError naming the topic and the remedy.
    """
    prefix, app_id = settings.kafka.topic_prefix, settings.worker.app_id
    names = {topic_name(role, prefix): TOPICS[role].co_partitioned for role in (*READ, *WRITTEN)}
    names[changelog_topic(app_id)] = True
    missing = sorted(name for name in names if name not in partitions)
    where = f"at {settings.kafka.bootstrap_servers}"
    if missing:
        raise BrokerError(
            f"topic {', '.join(missing)} is missing {where}, or not ours to Describe; create it: "
            f"fewstep topics create --topic-prefix {prefix} --app-id {app_id}"
        )
    interactions = topic_name(Role.INTERACTIONS, prefix)
    expected = partitions[interactions]
    for name, co_partitioned in names.items():
        if co_partitioned and partitions[name] != expected:
            raise BrokerError(
                f"topic {name} has {partitions[name]} partitions {where}, but {interactions} has {expected}: "
                "they must be equal; recreate the topic, or choose another --app-id or --topic-prefix"
            )
    return expected


def require_rights(topics: Mapping[str, TopicFacts], settings: Settings, *, may_join: bool) -> None:
    """Check that everything the worker does is allowed, as far as the broker tells.

    Faust would start without a right and then stand still, or lose what it may not write. Raises BrokerError naming
    every missing right.
    """
    prefix, app_id = settings.kafka.topic_prefix, settings.worker.app_id
    needed = {topic_name(role, prefix): {"READ"} for role in READ}
    needed |= {topic_name(role, prefix): {"WRITE"} for role in WRITTEN}
    needed[changelog_topic(app_id)] = {"READ", "WRITE"}
    missing = [
        f"{right.capitalize()} on topic {name}"
        for name, rights in needed.items()
        for held in (topics[name].rights,)
        for right in sorted(rights - (rights if held is None else held))
    ]
    if not may_join:
        missing.append(f"Read on group {app_id}")
    if missing:
        user = settings.kafka.sasl_username or "this client"
        raise BrokerError(
            f"{user} lacks rights at {settings.kafka.bootstrap_servers}: {', '.join(missing)}; "
            "grant them with kafka-acls.sh --add"
        )


def note_topics(topic_ids: Mapping[str, str]) -> str:
    """The ids of all source topics as one text. Kafka forgets the offsets of a deleted topic, not those beside it."""
    return json.dumps(topic_ids, separators=(",", ":"))


def committed_notes(admin: Any, settings: Settings) -> Iterator[Mapping[str, str]]:
    """What `note_topics` put beside each committed offset; offsets that others committed have nothing of it."""
    group = settings.worker.app_id
    for kept in admin.list_group_offsets({group: None})[group].values():
        try:
            noted = json.loads(kept.metadata or "{}")
        except ValueError:
            continue
        if isinstance(noted, dict):
            yield noted


def require_same_topics(topic_ids: Mapping[str, str], notes: Iterable[Mapping[str, str]]) -> None:
    """Check that the source topics are those that were read before.

    A topic that was deleted and created again numbers its records from 0: committed offsets would skip them, and the
    offsets in the rows would make each of them look redelivered. Raises BrokerError naming the topic and the step.
    """
    for topic, noted_id in (item for noted in notes for item in noted.items()):
        if topic_ids.get(topic, noted_id) != noted_id:
            raise BrokerError(
                f"topic {topic} was deleted and created again since it was last read: its offsets start anew, and the "
                "stored ones do not hold; start with another --app-id (fewstep topics create --app-id NEW) and "
                "another --data-dir, which reads the topic from its beginning"
            )


def require_transactions(kafka: KafkaSettings, *, app_id: str) -> None:
    """Take a transactional id and give it back. Raises BrokerError if the broker has none, or not for us."""
    asyncio.run(_try_transactional_id(kafka, app_id))


async def _try_transactional_id(kafka: KafkaSettings, app_id: str) -> None:
    # An id of its own: the one of a partition number would fence the worker that serves it.
    producer = new_producer(kafka, transactional_id(app_id, "preflight"), max_request_bytes=1_000_000)
    where = f"at {kafka.bootstrap_servers}"
    sender = logging.getLogger("aiokafka.producer.sender")
    sender.setLevel(logging.CRITICAL)  # it would log what is told below
    try:
        async with asyncio.timeout(kafka.request_timeout_s):
            await producer.start()
    except TransactionalIdAuthorizationFailed as error:
        raise BrokerError(
            f"no right to Write on transactional ids {transactional_id(app_id, '*')} {where}: grant it on that prefix, "
            "or use --delivery at_least_once"
        ) from error
    except (KafkaError, TimeoutError) as error:
        raise BrokerError(
            f"the broker {where} has no transactions ({type(error).__name__}): use --delivery at_least_once"
        ) from error
    finally:
        sender.setLevel(logging.NOTSET)
        await producer.stop()
