"""Apache Kafka from `KAFKA_HOME`: the broker that proves."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from schemas.errors import BrokerError
from stream.broker.process import HOST, BrokerProcess, free_port

# Any 16 bytes in URL-safe base64 name a cluster; a fixed one saves a JVM start.
_CLUSTER_ID = "ZmV3c3RlcC1icm9rZXItMQ"
# Formatting takes a second; this is for a machine that swaps.
_FORMAT_TIMEOUT_S = 60.0
_HEAP = "-Xms256m -Xmx512m"
# One broker that is its own controller. Everything internal has one replica, a group forms at once (the default waits
# 3 s for more members), a message may be as large as a test needs it, and a crashed broker is let in again after 4 s,
# when its old session has expired (9 s by default).
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
num.partitions=4
auto.create.topics.enable=false
message.max.bytes=10485760
replica.fetch.max.bytes=10485760
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.backoff.ms=1000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=4000
"""


class ApacheKafka(BrokerProcess):
    """A single KRaft node. Raises BrokerError if `home` holds no Kafka or the machine no Java."""

    keeps_data = True

    def __init__(self, home: Path | str | None = None, *, port: int = 0, more_properties: str = "") -> None:
        """`more_properties` come last and so outrank ours; `{host}`, `{port}`, `{controller_port}` are filled in."""
        super().__init__(port=port)
        self._properties = _PROPERTIES + more_properties
        self._home = find_kafka(home)
        self.name = f"Apache Kafka {kafka_version(self._home)}"

    def _prepare(self, directory: Path, port: int) -> None:
        controller_port = free_port(other_than=port)
        properties = directory / "server.properties"
        properties.write_text(
            self._properties.format(host=HOST, port=port, controller_port=controller_port, data=directory / "data")
        )
        result = subprocess.run(
            [self._home / "bin" / "kafka-storage.sh", "format", "-t", _CLUSTER_ID, "-c", properties],
            cwd=directory,
            env=_environment(directory),
            capture_output=True,
            text=True,
            timeout=_FORMAT_TIMEOUT_S,
        )
        if result.returncode:
            said = (result.stderr or result.stdout).strip().split("\n")[-1]
            raise BrokerError(f"{self.name} cannot format its storage in {directory}: {said}")

    def _command(self, directory: Path, port: int) -> tuple[list[str], Mapping[str, str]]:
        script = str(self._home / "bin" / "kafka-server-start.sh")
        return [script, str(directory / "server.properties")], _environment(directory)


def find_kafka(home: Path | str | None = None) -> Path:
    """The directory of Apache Kafka: `home`, else `KAFKA_HOME`. Raises BrokerError naming what is missing."""
    named = str(home or os.environ.get("KAFKA_HOME", ""))
    if not named:
        raise BrokerError("KAFKA_HOME is not set: unpack Apache Kafka and point KAFKA_HOME at it")
    path = Path(named).resolve()
    if not (path / "bin" / "kafka-server-start.sh").is_file():
        raise BrokerError(
            f"KAFKA_HOME {path} has no bin/kafka-server-start.sh: point it at an unpacked Apache Kafka or unset it"
        )
    find_java()
    return path


def find_java() -> str:
    """The Java that Kafka's scripts will use. Raises BrokerError if there is none."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which(str(Path(home) / "bin" / "java")) if home else shutil.which("java")
    if java is None:
        place = f"JAVA_HOME {home}" if home else "the PATH"
        raise BrokerError(f"no Java in {place}, Apache Kafka needs it: install Java 17 or newer, or unset KAFKA_HOME")
    return java


def kafka_version(home: Path) -> str:
    """The version that the jars of `home` carry, `of unknown version` if none does."""
    for jar in sorted((home / "libs").glob("kafka-clients-*.jar")):
        return jar.stem.removeprefix("kafka-clients-")
    return "of unknown version"


def _environment(directory: Path) -> dict[str, str]:
    # The scripts would log into KAFKA_HOME, which may not be ours to write to.
    return {**os.environ, "KAFKA_HEAP_OPTS": _HEAP, "LOG_DIR": str(directory / "logs")}
