"""Which broker to run on."""

import os
from typing import Literal, assert_never

from stream.broker.apache_kafka import ApacheKafka
from stream.broker.embedded import EmbeddedBroker
from stream.broker.protocol import Broker

BrokerKind = Literal["auto", "kafka", "embedded"]


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
