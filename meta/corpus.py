"""A whole world of interactions, and how it becomes canonical files."""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Set
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from meta.files import writing
from schemas import InteractionEvent, Item, UserProfile
from schemas.errors import DataError

PART_ROWS = 500_000


class Corpus(NamedTuple):
    """Catalog, profiles, and events in the order of their times."""

    items: list[Item]
    users: list[UserProfile]
    events: Callable[[], Iterator[InteractionEvent]]
    """Starts over with every call"""
    truth: list[dict[str, Any]] = []
    """What was planted, where the world is made up"""


def write(
    corpus: Corpus,
    out: Path,
    *,
    held_out: Set[str] = frozenset(),
    warm_up: float | None = None,
    parquet: bool = False,
) -> dict[str, int]:
    """Write interactions.jsonl, items.jsonl, users.jsonl, and truth.jsonl where there is one; gives lines per file.

    Events of the user ids in `held_out` go to held-out.jsonl instead, and those after the share `warm_up` of all events
    to stream.jsonl. With `parquet` the events of each are a folder of Parquet files, for histories of many millions.
    Raises DataError where `out` cannot be written.
    """
    counts = {
        "items.jsonl": _write_all(out / "items.jsonl", corpus.items),
        "users.jsonl": _write_all(out / "users.jsonl", corpus.users),
    }
    if corpus.truth:
        counts["truth.jsonl"] = _write_all(out / "truth.jsonl", corpus.truth)
    sink = _parts if parquet else _lines
    names = ["interactions", *(["held-out"] if held_out else []), *(["stream"] if warm_up is not None else [])]
    last = math.inf if warm_up is None else round(warm_up * sum(1 for _ in corpus.events()))
    with ExitStack() as stack:
        writers = {name: stack.enter_context(sink(out, name)) for name in names}
        suffix = "" if parquet else ".jsonl"
        counts |= {name + suffix: 0 for name in names}
        for number, event in enumerate(corpus.events()):
            name = "stream" if number >= last else "interactions"
            name = "held-out" if event.user_id in held_out else name
            writers[name](event)
            counts[name + suffix] += 1
    return counts


@contextmanager
def _lines(out: Path, name: str) -> Iterator[Callable[[InteractionEvent], object]]:
    with writing(out / f"{name}.jsonl") as file:
        yield lambda event: file.write(_line(event))


@contextmanager
def _parts(out: Path, name: str) -> Iterator[Callable[[InteractionEvent], object]]:
    """Files of PART_ROWS events below a folder of this name; the folder appears whole or not at all."""
    import polars

    folder, partial = out / name, out / f".{name}.{os.getpid()}"
    held: list[dict[str, Any]] = []
    written = count(0)

    def flush() -> None:
        frame = polars.DataFrame(held, schema_overrides={"value": polars.Float64}, infer_schema_length=None)
        frame.write_parquet(partial / f"part-{next(written):05}.parquet")
        held.clear()

    def add(event: InteractionEvent) -> None:
        held.append(event.model_dump(exclude={"context", "schema_version"}))
        if len(held) == PART_ROWS:
            flush()

    try:
        partial.mkdir(parents=True)
        yield add
        if held:
            flush()
        if folder.exists():
            raise DataError(f"{folder} exists; choose another folder, or remove it first")
        partial.rename(folder)
    except OSError as error:
        raise DataError(
            f"cannot write {folder}: {error.strerror or error}; choose a folder that can be written"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def with_least_value(corpus: Corpus, least: float) -> Corpus:
    """The corpus without events of a lower value; events without a value stay."""
    return corpus._replace(
        events=lambda: (event for event in corpus.events() if event.value is None or event.value >= least)
    )


def _write_all(path: Path, rows: list[Any]) -> int:
    with writing(path) as file:
        file.writelines(_line(row) for row in rows)
    return len(rows)


def _line(row: BaseModel | dict[str, Any]) -> str:
    if isinstance(row, dict):
        return json.dumps(row) + "\n"
    return row.model_dump_json(exclude_defaults=True) + "\n"
