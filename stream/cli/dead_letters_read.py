"""Reads dead letters as `stream.core.letters` writes them."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from schemas import KafkaSettings, Role, topic_name
from stream.clients.whole_topic import WholeTopic

REDRIVEN_HEADER = "fewstep-redriven"
"""On a record that was sent again: partition and offset at which it was refused in this topic, as `2:15`."""
_CONNECT = "__connect.errors."
_OURS = {
    "fewstep-reason",
    "fewstep-detail",
    "fewstep-payload",
    *(
        _CONNECT + name
        for name in ("topic", "partition", "offset", "stage", "exception.class.name", "exception.message")
    ),
}


class Letter(NamedTuple):
    """One dead letter. `source` is topic, partition and offset; `headers` those of the record that was refused.

    `redriven` says that this record was a copy which a redrive had sent: it was refused at least twice.
    """

    partition: int
    offset: int
    timestamp_ms: int
    reason: str
    detail: str
    source: tuple[str, int, int] | None
    is_reference: bool
    size: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    redriven: bool


def read_letters(kafka: KafkaSettings, *, reasons: Collection[str] | None = None) -> Iterator[Letter]:
    """All dead letters, or those with these reasons. Raises BrokerError."""
    for record in WholeTopic(kafka, topic_name(Role.DEAD_LETTERS, kafka.topic_prefix)):
        letter = _parse(record)
        if not reasons or letter.reason in reasons:
            yield letter


def _parse(record: Any) -> Letter:
    ours, on_record = _parted(record.headers)
    theirs = tuple((name, content) for name, content in on_record if name != REDRIVEN_HEADER)
    reference = ours.get("fewstep-payload") == b"reference"
    return Letter(
        record.partition,
        record.offset,
        record.timestamp,
        _text(ours.get("fewstep-reason")) or "unknown",
        _text(ours.get("fewstep-detail")),
        _source(ours),
        reference,
        _size_told(record.value) if reference else len(record.value or b""),
        record.key,
        record.value,
        theirs,
        redriven=len(theirs) < len(on_record),
    )


def _parted(headers: Sequence[tuple[str, bytes]]) -> tuple[dict[str, bytes], list[tuple[str, bytes]]]:
    """Our headers stand first, each once; what follows under the same name was on the record itself."""
    ours: dict[str, bytes] = {}
    theirs: list[tuple[str, bytes]] = []
    for name, content in headers:
        if name in _OURS and name not in ours and not theirs:
            ours[name] = content
        else:
            theirs.append((name, content))
    return ours, theirs


def _source(ours: dict[str, bytes]) -> tuple[str, int, int] | None:
    partition, offset = (ours.get(_CONNECT + name, b"") for name in ("partition", "offset"))
    if not (partition.isdigit() and offset.isdigit()):
        return None
    return _text(ours.get(_CONNECT + "topic")), int(partition), int(offset)


def _size_told(value: bytes | None) -> int:
    try:
        return int(orjson.loads(value or b"")["size"])
    except (ValueError, TypeError, KeyError):
        return len(value or b"")


def _text(content: bytes | None) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in (content or b"").decode(errors="replace"))
