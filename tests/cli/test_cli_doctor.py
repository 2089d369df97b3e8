"""`fewstep doctor`: every finding on a line, and the remedy for what is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import Run
from tiny_bundle import write_tiny_bundle

from stream.clients.connect import open_admin
from stream.clients.provision import PlannedTopic, plan_topics
from stream.settings import Settings


def findings(result: Any) -> dict[str, dict[str, Any]]:
    return {row["check"]: row for row in json.loads(result.stdout)}


def create(settings: Settings, topics: list[PlannedTopic]) -> None:
    with open_admin(settings.kafka) as admin:
        admin.create_topics(
            {
                topic.name: {
                    "num_partitions": topic.partitions,
                    "replication_factor": 1,
                    "configs": {"cleanup.policy": topic.cleanup},
                }
                for topic in topics
            },
            wait_for_metadata=True,
        )


@pytest.fixture
def store(tmp_path: Path) -> str:
    write_tiny_bundle(tmp_path / "models", n_items=20)
    return str(tmp_path / "models")


def test_a_sound_installation_passes(fewstep: Run, created: Settings, at: list[str], prefix: str, store: str) -> None:
    result = fewstep("doctor", "--app-id", prefix, "--model-store", store, *at)
    assert result.returncode == 0, result.stdout + result.stderr
    assert {line.split()[0] for line in result.stdout.splitlines()} == {"ok"}
    assert f"{prefix}-support-sets-changelog: 4 partitions" in result.stdout


def test_missing_topics_and_bundle_fail_with_the_remedy(fewstep: Run, at: list[str], prefix: str) -> None:
    result = fewstep("doctor", "--app-id", prefix, "--json", *at)
    assert result.returncode == 1
    found = findings(result)
    assert found["broker"]["ok"]
    remedy = f"missing: fewstep topics create --topic-prefix {prefix} --app-id {prefix}"
    assert found[f"{prefix}interactions"] == {"check": f"{prefix}interactions", "ok": False, "detail": remedy}
    assert not found[f"{prefix}-support-sets-changelog"]["ok"]
    assert not found["bundle"]["ok"]


def test_a_changelog_with_other_partitions_fails(fewstep: Run, settings: Settings, at: list[str], prefix: str) -> None:
    *roles, changelog = plan_topics(settings, 4)
    create(settings, [*roles, changelog._replace(partitions=3)])
    found = findings(fewstep("doctor", "--app-id", prefix, "--json", *at))
    assert [name for name, row in found.items() if name.startswith(prefix) and not row["ok"]] == [changelog.name]
    assert "3 partitions, but interactions has 4" in found[changelog.name]["detail"]


def test_a_wrong_cleanup_policy_fails(fewstep: Run, settings: Settings, at: list[str], prefix: str) -> None:
    *roles, changelog = plan_topics(settings, 4)
    create(settings, [*roles, changelog._replace(cleanup="delete")])
    found = findings(fewstep("doctor", "--app-id", prefix, "--json", *at))
    assert not found[changelog.name]["ok"]
    assert "cleanup.policy is delete: set it to compact" in found[changelog.name]["detail"]


def test_an_unreachable_broker_is_a_finding(fewstep: Run) -> None:
    result = fewstep("doctor", "--bootstrap-servers", "127.0.0.1:1", "--json")
    assert result.returncode == 1
    assert "unreachable" in findings(result)["broker"]["detail"]


def test_a_kafka_home_without_kafka_is_a_finding(fewstep: Run, tmp_path: Path) -> None:
    result = fewstep("doctor", "--bootstrap-servers", "127.0.0.1:1", "--json", KAFKA_HOME=str(tmp_path))
    assert "has no bin/kafka-server-start.sh" in findings(result)["local Kafka"]["detail"]


def test_an_old_java_is_a_finding(fewstep: Run, tmp_path: Path) -> None:
    for path, script in {
        "kafka/bin/kafka-server-start.sh": "",
        "java/bin/java": "echo 'openjdk \"11.0.2\"' >&2",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / path).chmod(0o755)
    homes = {"KAFKA_HOME": str(tmp_path / "kafka"), "JAVA_HOME": str(tmp_path / "java")}
    found = findings(fewstep("doctor", "--bootstrap-servers", "127.0.0.1:1", "--json", **homes))
    assert not found["java"]["ok"]
    assert "11.0.2" in found["java"]["detail"]
    assert "install Java 17 or newer" in found["java"]["detail"]
