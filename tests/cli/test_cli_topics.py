"""`fewstep topics create`."""

import json

from command_line import Run

from stream.broker import Broker
from stream.clients.connect import open_admin, partition_counts
from stream.clients.provision import plan_topics
from stream.settings import Settings

ROLES = [
    "interactions",
    "requests",
    "users",
    "items",
    "models",
    "refresh-requests",
    "recommendations",
    "dead-letters",
]


def test_all_roles_and_the_changelog_are_created(fewstep: Run, settings: Settings, at: list[str], prefix: str) -> None:
    result = fewstep("topics", "create", "--partitions", "3", "--app-id", prefix, "--json", *at)
    assert result.returncode == 0, result.stderr
    outcome = {row["topic"]: row["outcome"] for row in json.loads(result.stdout)}
    assert outcome == dict.fromkeys([f"{prefix}{role}" for role in ROLES], "created") | {
        f"{prefix}-support-sets-changelog": "created"
    }
    with open_admin(settings.kafka) as admin:
        counts = partition_counts(admin)
    assert {name: counts[name] for name in outcome} == {
        topic.name: 3 if topic.co_partitioned else 1 for topic in plan_topics(settings, 3)
    }


def test_existing_topics_are_left_alone(fewstep: Run, created: Settings, at: list[str], prefix: str) -> None:
    result = fewstep("topics", "create", "--app-id", prefix, *at)
    assert result.returncode == 0, result.stderr
    assert {line.split()[0] for line in result.stdout.splitlines()} == {"exists"}


def test_another_partition_count_is_refused_before_anything_is_created(
    fewstep: Run, created: Settings, at: list[str], prefix: str
) -> None:
    result = fewstep("topics", "create", "--partitions", "5", "--app-id", f"{prefix}new", *at)
    assert result.returncode == 1
    assert f"topic {prefix}interactions at" in result.stderr
    assert "has 4 partitions, not 5: pass --partitions 4" in result.stderr
    with open_admin(created.kafka) as admin:
        assert f"{prefix}new-support-sets-changelog" not in partition_counts(admin)


def test_address_and_prefix_come_from_the_environment_and_a_flag_outranks_it(
    fewstep: Run, broker: Broker, prefix: str
) -> None:
    variables = {
        "FEWSTEP_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "FEWSTEP_KAFKA__TOPIC_PREFIX": "not-this-",
        "FEWSTEP_WORKER__APP_ID": prefix,
    }
    result = fewstep("topics", "create", "--topic-prefix", prefix, "--json", **variables)
    assert result.returncode == 0, result.stderr
    assert {row["topic"] for row in json.loads(result.stdout)} >= {
        f"{prefix}interactions",
        f"{prefix}-support-sets-changelog",
    }


def test_more_copies_than_brokers_are_refused_in_one_line(fewstep: Run, broker: Broker, at: list[str]) -> None:
    result = fewstep("topics", "create", "--replication-factor", "3", *at)
    if not broker.keeps_data:
        assert result.returncode == 0, "the embedded broker takes any replication factor"
        return
    assert result.returncode == 1
    assert "replication factor" in result.stderr
    assert "correct --replication-factor" in result.stderr
    assert len(result.stderr) < 500
