"""A broker to run on: Apache Kafka from `KAFKA_HOME`, or an embedded one. For demos and tests, not for production."""

from stream.broker.apache_kafka import ApacheKafka
from stream.broker.choose import BrokerKind, open_broker
from stream.broker.embedded import EmbeddedBroker
from stream.broker.protocol import Broker

__all__ = ["ApacheKafka", "Broker", "BrokerKind", "EmbeddedBroker", "open_broker"]
