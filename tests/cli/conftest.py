"""The real command line as a subprocess, and plug-ins to feed it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Run

from stream.broker import Broker
from stream.clients.provision import create_topics
from stream.settings import Settings


@pytest.fixture
def fewstep(tmp_path: Path) -> Run:
    """Runs `fewstep ARGUMENTS` in an empty directory, without settings from the environment but those given."""

    def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FEWSTEP_")}
        command = [sys.executable, "-m", "stream", *arguments]
        environment = {**inherited, "COLUMNS": "200", **variables}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    return run


@pytest.fixture
def settings(broker: Broker, prefix: str) -> Settings:
    """Settings of the running broker with a topic prefix and app id of this test's own."""
    return Settings.load(
        kafka={"bootstrap_servers": broker.bootstrap_servers, "topic_prefix": prefix}, worker={"app_id": prefix}
    )


@pytest.fixture
def created(settings: Settings) -> Settings:
    """The same after `fewstep topics create`."""
    create_topics(settings, partitions=4, replication_factor=1)
    return settings


@pytest.fixture
def at(settings: Settings) -> list[str]:
    """The flags that point a command at the running broker and this test's topics."""
    kafka = settings.kafka
    return ["--bootstrap-servers", kafka.bootstrap_servers, "--topic-prefix", kafka.topic_prefix]


@pytest.fixture
def plug_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Installs a module as command `grow`; gives the PYTHONPATH that makes it visible."""

    def install(source: str) -> str:
        site = tmp_path_factory.mktemp("site")
        (site / "garden.py").write_text(source)
        metadata = site / "garden-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: garden\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text("[fewstep.commands]\ngrow = garden:grow\n")
        return str(site)

    return install
