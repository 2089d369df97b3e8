"""The archive: Parquet files of interactions, profiles and items, and numbered commits that say which of them count.

    <archive>/commits/00000012.json          State: live files, and how far each topic was read
    <archive>/interactions/00000012-<hex>.parquet
    <archive>/profiles/..., items/..., forget/...

A commit is created and never overwritten; files that no commit names do not count. So what a commit says happened whole
or not at all: a kill at any point neither loses nor doubles an event, because positions and files change together, and
of two writers one fails. A file is named after the commit that it was written for: once that commit exists, a file of
its number that is not live is waste.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from typing import Annotated
from uuid import uuid4

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from meta.store import Store, create_file, list_names, open_store, read_file, remove, remove_unfinished, write_file
from schemas import rfc3339
from schemas.errors import DataError, RefusedError

FORMAT_VERSION = 1
PART_ROWS = 250_000
"""Rows of a full part: what is in memory at once."""
KINDS = ("interactions", "profiles", "items", "forget")
_COMMITS = "commits"
_REMEMBERED = 5
_PARTIAL_AGE = timedelta(hours=1)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Part(_Frozen):
    """One file of the archive."""

    kind: str
    name: str
    rows: Annotated[int, Field(ge=0)]
    first_ms: Annotated[int, Field(description="Oldest event time in it; 0 where it holds no events")] = 0
    last_ms: int = 0


class State(_Frozen):
    """What the archive holds."""

    format_version: int = FORMAT_VERSION
    number: Annotated[int, Field(ge=0)] = 0
    committed_at: str = ""
    positions: Annotated[dict[str, dict[int, int]], Field(description="Next offset by topic and partition")] = {}
    parts: Annotated[tuple[Part, ...], Field(description="Oldest first: in the order in which they were read")] = ()
    events: Annotated[int, Field(description="Events that were ever added")] = 0
    duplicates: int = 0
    refused: Annotated[int, Field(description="Records that could not be read")] = 0
    expired: Annotated[int, Field(description="Records that a topic dropped before they were read")] = 0
    erased: Annotated[int, Field(description="Events of users who were forgotten")] = 0

    def of(self, kind: str) -> list[Part]:
        """The live files of a kind, oldest first."""
        return [part for part in self.parts if part.kind == kind]

    @property
    def rows(self) -> int:
        """Events that it holds now."""
        return sum(part.rows for part in self.of("interactions"))


@dataclass(frozen=True)
class Archive:
    """An opened archive."""

    store: Store

    def state(self) -> State:
        """The newest commit, an empty state before the first. Raises DataError where it cannot be read."""
        names = list_names(self.store, _COMMITS)
        if not names:
            return State()
        content = read_file(self.store, _COMMITS, names[-1]) or b""
        try:
            state = State.model_validate_json(content)
        except ValidationError:
            raise DataError(
                f"commit {names[-1]} of archive {self.store.url} cannot be read: another version of fewstep wrote it,"
                " or it is damaged; delete it to go back to the one before"
            ) from None
        return state

    def write(self, state: State, kind: str, frame: pl.DataFrame) -> Part:
        """Write a file for the commit after `state`; it counts once that names it."""
        name = f"{state.number + 1:08}-{uuid4().hex[:8]}.parquet"
        buffer = BytesIO()
        frame.write_parquet(buffer)
        write_file(self.store, buffer.getvalue(), kind, name)
        times = frame["timestamp"] if kind == "interactions" and len(frame) else None
        span = {} if times is None else {"first_ms": times.min(), "last_ms": times.max()}
        return Part.model_validate({"kind": kind, "name": name, "rows": len(frame)} | span)

    def read(self, part: Part, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The rows of a file. Raises DataError where it is gone or damaged."""
        content = read_file(self.store, part.kind, part.name)
        if content is None:
            raise DataError(
                f"{part.kind}/{part.name} of archive {self.store.url} is gone: another refresh rewrote it; run again"
            )
        try:
            return pl.read_parquet(BytesIO(content), columns=None if columns is None else list(columns))
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"{part.kind}/{part.name} of archive {self.store.url} is damaged ({_line(error)}): restore it"
            ) from None

    def commit(self, before: State, after: State, now: datetime) -> State:
        """Make `after` the successor of `before`. Raises RefusedError where another writer was faster."""
        moment = rfc3339(round(now.timestamp() * 1000))
        state = after.model_copy(update={"number": before.number + 1, "committed_at": moment})
        if not create_file(self.store, state.model_dump_json().encode() + b"\n", _COMMITS, f"{state.number:08}.json"):
            raise RefusedError(
                f"another refresh writes to archive {self.store.url} at the same time; run again when it is through"
            )
        return state

    def tidy(self, state: State, now: datetime) -> None:
        """Delete files that do not count and commits that are superseded."""
        live = {(part.kind, part.name) for part in state.parts}
        for kind in KINDS:
            for name in list_names(self.store, kind):
                number = name.partition("-")[0]
                if (kind, name) not in live and number.isdigit() and int(number) <= state.number:
                    remove(self.store, kind, name)
            remove_unfinished(self.store, kind, before=now - _PARTIAL_AGE)
        for name in list_names(self.store, _COMMITS)[:-_REMEMBERED]:
            remove(self.store, _COMMITS, name)


def open_archive(url: str) -> Archive:
    """Open an archive; nothing is read yet. Raises ConfigurationError for a URL that no installed filesystem serves."""
    return Archive(open_store(url, "archive"))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
