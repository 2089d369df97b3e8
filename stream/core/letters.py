"""Turns a rejection into a dead letter that can be understood, and sent again, on its own."""

from collections.abc import Sequence
from hashlib import sha256

import orjson

from stream.core.decode import Refusal, Rejection
from stream.core.records import Message, Record

MOST_HEADERS = 32
"""Original headers that a dead letter keeps."""
MOST_HEADER_BYTES = 8192
"""Bytes of names and values of all original headers that it keeps."""
LONGEST_REFERENCED_KEY = 1024

_CONNECT = "__connect.errors."


def dead_letter(record: Record, rejection: Rejection) -> Message:
    """The dead letter of a record: its key and bytes, with the context in headers.

    A record that is too large goes by reference: a JSON object with topic, partition, offset, size and sha256. The
    names `__connect.errors.*` are those of Kafka Connect (KIP-298), so that tools for its dead letters read ours.
    """
    headers = [
        ("fewstep-reason", rejection.reason.encode()),
        ("fewstep-detail", rejection.detail.encode()),
        (_CONNECT + "topic", record.topic.encode()),
        (_CONNECT + "partition", b"%d" % record.partition),
        (_CONNECT + "offset", b"%d" % record.offset),
        (_CONNECT + "stage", b"VALUE_CONVERTER"),
        (_CONNECT + "exception.class.name", f"{Rejection.__module__}.{Rejection.__qualname__}".encode()),
        (_CONNECT + "exception.message", f"{rejection.reason}: {rejection.detail}".encode()),
    ]
    key, value = record.key, record.value
    if rejection.reason is Refusal.TOO_LARGE:
        headers.append(("fewstep-payload", b"reference"))
        key, value = _reference(record)
    return Message(record.partition, key, value, (*headers, *_kept(record.headers)))


def _reference(record: Record) -> tuple[bytes | None, bytes]:
    value = record.value or b""
    reference = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "size": len(value),
        "sha256": sha256(value).hexdigest(),
    }
    short = record.key is not None and len(record.key) <= LONGEST_REFERENCED_KEY
    return record.key if short else None, orjson.dumps(reference)


def _kept(headers: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    kept, size = [], 0
    for name, content in headers[:MOST_HEADERS]:
        size += len(name.encode()) + len(content or b"")
        if size > MOST_HEADER_BYTES:
            break
        kept.append((name, content))
    return kept
