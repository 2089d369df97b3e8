"""One broker for the whole run, and topic names of its own for each test."""

from collections.abc import Iterator
from itertools import count

import pytest

from stream.broker import Broker, open_broker

_NAME = pytest.StashKey[str]()
_NUMBERS = count(1)


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A running broker: Apache Kafka where KAFKA_HOME is set, else the embedded one."""
    with open_broker() as running:
        request.config.stash[_NAME] = running.name
        yield running


@pytest.fixture
def prefix() -> str:
    """A topic prefix (and app id) that no other test uses."""
    return f"t{next(_NUMBERS)}-"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which broker the results hold for; not in the header, which -q leaves out."""
    terminalreporter.write_line(f"broker: {config.stash.get(_NAME, 'not needed')}")
