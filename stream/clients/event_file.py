"""Canonical files: JSON Lines of interactions or items, plain or gzip, checked line by line."""

import gzip
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, NamedTuple, cast

from pydantic import ValidationError

from schemas import InteractionEvent, Item
from schemas.errors import DataError, complaint


class FileEvent(NamedTuple):
    """An interaction as it stands in the file, with what replaying needs to know of it."""

    user_id: str
    timestamp_ms: int | None
    value: bytes


def read_events(path: Path) -> Iterator[FileEvent]:
    """All interactions of a file, in its order. Raises DataError naming file and line."""
    for number, line in _lines(path):
        try:
            event = InteractionEvent.model_validate_json(line)
        except ValidationError as error:
            raise _line_error(path, number, error) from None
        if event.user_id is None:
            raise DataError(f"{path}:{number}: user_id is missing, it becomes the record's key: add it to the line")
        yield FileEvent(event.user_id, event.timestamp, line)


def read_titles(path: Path) -> dict[str, str]:
    """Title, or else id, by item id. Raises DataError naming file and line."""
    titles = {}
    for number, line in _lines(path):
        try:
            item = Item.model_validate_json(line)
        except ValidationError as error:
            raise _line_error(path, number, error) from None
        titles[item.item_id] = item.title or item.item_id
    return titles


def in_rounds(events: Iterable[FileEvent], count: int) -> list[list[FileEvent]]:
    """The first `count` events of every user: round r holds each user's r-th, users in order of appearance."""
    by_user: defaultdict[str, list[FileEvent]] = defaultdict(list)
    for event in events:
        if len(by_user[event.user_id]) < count:
            by_user[event.user_id].append(event)
    rounds = [[own[number] for own in by_user.values() if len(own) > number] for number in range(count)]
    return [events for events in rounds if events]


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines without those that are blank. Raises DataError if the file cannot be read."""
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                if stripped := line.strip():
                    yield number, stripped
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path} cannot be read: {reason}; name a .jsonl or .jsonl.gz file") from error


def _open(path: Path) -> IO[bytes]:
    return cast(BufferedReader, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _line_error(path: Path, number: int, error: ValidationError) -> DataError:
    remedy = "correct the line" if path.name.endswith((".jsonl", ".jsonl.gz")) else "give a .jsonl or .jsonl.gz file"
    return DataError(f"{path}:{number}: {complaint(error)}; {remedy}")
