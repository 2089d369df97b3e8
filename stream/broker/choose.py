"""Which broker to run on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple, assert_never

from stream.broker.apache_kafka import ApacheKafka
from stream.broker.embedded import EmbeddedBroker
from stream.broker.protocol import Broker

BrokerKind = Literal["auto", "kafka", "embedded"]


class Reached(NamedTuple):
    """A broker that answers."""

    name: str
    bootstrap_servers: str
    pid: int | None
    """Process id, where it is one of our own."""


def open_broker(kind: BrokerKind = "auto", *, port: int = 0) -> Broker:
    """A broker that is not started yet; `auto` is Apache Kafka where KAFKA_HOME is set, else the embedded one.

    `port` 0 picks a free one. Raises BrokerError if what the broker needs is not installed.
    """
    if kind == "auto":
        kind = "kafka" if os.environ.get("KAFKA_HOME") else "embedded"
    match kind:
        case "kafka":
            return ApacheKafka(port=port)
        case "embedded":
            return EmbeddedBroker(port=port)
        case _:
            assert_never(kind)


@contextmanager
def reach_broker(bootstrap_servers: str | None) -> Iterator[Reached]:
    """The broker at `bootstrap_servers`, or else one that lives as long as the context.

    Raises BrokerError if a broker of our own cannot start.
    """
    if bootstrap_servers is not None:
        yield Reached("your Kafka", bootstrap_servers, None)
        return
    with open_broker() as broker:
        yield Reached(broker.name, broker.bootstrap_servers, broker.pid)
