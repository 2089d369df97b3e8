"""What `doctor` checks: each check gives findings and raises nothing that an operator could mend."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from schemas import Role, topic_name
from schemas.errors import BrokerError, BundleError, ConfigurationError
from stream.broker.apache_kafka import find_java, find_kafka, kafka_version
from stream.broker.embedded import find_tansu
from stream.clients.connect import open_admin, partition_counts
from stream.clients.provision import PlannedTopic, plan_topics
from stream.settings import ModelSettings, Settings

_NEEDED = ("faust-streaming", "aiokafka", "kafka-python", "onnxruntime", "numpy", "pydantic")
_OLDEST_JAVA = 17


class Finding(NamedTuple):
    """The outcome of one check; `detail` of a failed one says how to mend it."""

    check: str
    ok: bool
    detail: str


def check_installation() -> Iterator[Finding]:
    """Python and the libraries that the worker cannot do without."""
    yield Finding("python", sys.version_info >= (3, 11), f"{platform.python_version()} (3.11 or newer is needed)")
    versions, missing = [], []
    for name in _NEEDED:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Finding("libraries", False, f"{', '.join(missing)} not installed: pip install fewstep")
    else:
        yield Finding("libraries", True, ", ".join(versions))


def check_local_broker() -> Iterator[Finding]:
    """What `fewstep demo` and the tests could run on; a worker needs none of it."""
    if os.environ.get("KAFKA_HOME"):
        try:
            home = find_kafka()
            yield Finding("local Kafka", True, f"Apache Kafka {kafka_version(home)} in {home}")
            yield _check_java(find_java())
        except BrokerError as error:
            yield Finding("local Kafka", False, str(error))
        return
    try:
        yield Finding("local Kafka", True, f"KAFKA_HOME is not set, the embedded broker stands in: {find_tansu()}")
    except BrokerError:
        yield Finding("local Kafka", True, "none, and no embedded broker: only `fewstep demo` would need one")


def check_cluster(settings: Settings) -> Iterator[Finding]:
    """The cluster answers, and holds all topics as `fewstep topics create` makes them."""
    interactions = topic_name(Role.INTERACTIONS, settings.kafka.topic_prefix)
    try:
        with open_admin(settings.kafka) as admin:
            counts = partition_counts(admin)
            planned = plan_topics(settings, counts.get(interactions, 0))
            present = [topic.name for topic in planned if topic.name in counts]
            policies = _cleanup_policies(admin, present) if present else {}
    except BrokerError as error:
        yield Finding("broker", False, str(error))
        return
    yield Finding("broker", True, f"{settings.kafka.bootstrap_servers} answers, {len(counts)} topics")
    for topic in planned:
        yield _check_topic(topic, counts, policies, settings)


def check_model(model: ModelSettings) -> Iterator[Finding]:
    """The model store holds a bundle that can be served."""
    from stream.engine.bundle import load_bundle

    try:
        bundle = load_bundle(model.store, model.name)
    except (BundleError, ConfigurationError) as error:
        yield Finding("bundle", False, str(error))
        return
    manifest = bundle.manifest
    yield Finding("bundle", True, f"{manifest.model} {manifest.version} in {model.store}, {manifest.n_items} items")


def _check_java(java: str) -> Finding:
    said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30)
    quoted = said.stderr.partition('"')[2].partition('"')[0]
    major = quoted.partition(".")[0]
    enough = major.isdigit() and int(major) >= _OLDEST_JAVA
    found = f"{quoted or 'of unknown version'} at {java}"
    return Finding("java", enough, found if enough else f"{found}: install Java {_OLDEST_JAVA} or newer")


def _cleanup_policies(admin: Any, names: list[str]) -> dict[str, str]:
    """Cleanup policy by topic, without those that the broker does not tell."""
    from kafka.admin import ConfigResource, ConfigResourceType

    # All settings of a topic: asked for a single one, the embedded broker hangs up.
    told = admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name, None) for name in names], config_filter="all"
    )
    by_topic = told.get("topic", {})
    return {name: values["cleanup.policy"]["value"] for name, values in by_topic.items() if "cleanup.policy" in values}


def _check_topic(
    topic: PlannedTopic, counts: Mapping[str, int], policies: Mapping[str, str], settings: Settings
) -> Finding:
    count, policy = counts.get(topic.name), policies.get(topic.name)
    prefix, app_id = settings.kafka.topic_prefix, settings.worker.app_id
    if count is None:
        remedy = f"missing: fewstep topics create --topic-prefix {prefix} --app-id {app_id}"
        return Finding(topic.name, False, remedy)
    if topic.co_partitioned and topic.partitions and count != topic.partitions:
        detail = f"{count} partitions, but interactions has {topic.partitions}: recreate it with as many"
        return Finding(topic.name, False, detail)
    if policy not in (None, topic.cleanup):
        detail = f"cleanup.policy is {policy}: set it to {topic.cleanup} (kafka-configs.sh --alter)"
        return Finding(topic.name, False, detail)
    parts = f"{count} partition{'' if count == 1 else 's'}"
    return Finding(topic.name, True, f"{parts}, {policy or 'this broker does not tell the cleanup policy'}")
