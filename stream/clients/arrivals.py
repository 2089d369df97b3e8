"""Wait until the worker has answered a round of events with lists."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from time import monotonic
from typing import Any

from pydantic import ValidationError

from schemas import KafkaSettings, Recommendation, Role, topic_name
from schemas.errors import BrokerError, DataError, complaint
from stream.clients.connect import broker_errors, open_consumer
from stream.clients.outbox import Position

# A worker that starts up or rebalances is silent for up to 12 s.
_PATIENCE_S = 60.0
_POLL_MS = 200


def parse_list(record: Any) -> Recommendation:
    """The list in a consumed record. Raises DataError naming its position."""
    try:
        return Recommendation.model_validate_json(record.value)
    except ValidationError as error:
        raise DataError(
            f"{record.topic}, partition {record.partition}, offset {record.offset} is not a recommendation: "
            f"{complaint(error)}; upgrade fewstep or check who writes there"
        ) from None


def open_lists(kafka: KafkaSettings, *, from_beginning: bool = False) -> AbstractContextManager[Any]:
    """A consumer of all lists. Raises BrokerError if Kafka or the topic is missing."""
    return open_consumer(kafka, topic_name(Role.RECOMMENDATIONS, kafka.topic_prefix), from_beginning=from_beginning)


def wait_for_lists(consumer: Any, sent: Iterable[tuple[str, Position]], kafka: KafkaSettings, topic: str) -> None:
    """Return when each user has a list that includes the record at that position of an input topic, or a newer one.

    Raises BrokerError if no list arrives for a minute.
    """
    missing = dict(sent)
    deadline = monotonic() + _PATIENCE_S
    with broker_errors(kafka):
        while missing:
            records = [one for many in consumer.poll(timeout_ms=_POLL_MS).values() for one in many]
            for record in records:
                if record.value is not None:
                    _strike_out(missing, parse_list(record), topic)
            if records:
                deadline = monotonic() + _PATIENCE_S
            elif monotonic() > deadline:
                raise BrokerError(
                    f"no list for {len(missing)} users at {kafka.bootstrap_servers} for {_PATIENCE_S:.0f} s: "
                    "start the worker, and look for their events among the dead letters"
                )


def _strike_out(missing: dict[str, Position], answer: Recommendation, topic: str) -> None:
    wanted = missing.get(answer.user_id)
    source = answer.source
    if wanted and (source.topic, source.partition) == (topic, wanted.partition) and source.offset >= wanted.offset:
        del missing[answer.user_id]
