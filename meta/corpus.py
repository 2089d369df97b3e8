"""A whole world of interactions, and how it becomes canonical files."""

import json
from collections.abc import Callable, Iterator, Set
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from meta.files import writing
from schemas import InteractionEvent, Item, UserProfile


class Corpus(NamedTuple):
    """Catalog, profiles, and events in the order of their times."""

    items: list[Item]
    users: list[UserProfile]
    events: Callable[[], Iterator[InteractionEvent]]
    """Starts over with every call"""
    truth: list[dict[str, Any]] = []
    """What was planted, where the world is made up"""


def write(corpus: Corpus, out: Path, *, held_out: Set[str] = frozenset()) -> dict[str, int]:
    """Write interactions.jsonl, items.jsonl, users.jsonl, and truth.jsonl where there is one; gives lines per file.

    Events of the user ids in `held_out` go to held-out.jsonl instead. Raises DataError where `out` cannot be written.
    """
    counts = {
        "items.jsonl": _write_all(out / "items.jsonl", corpus.items),
        "users.jsonl": _write_all(out / "users.jsonl", corpus.users),
        "interactions.jsonl": 0,
    }
    if corpus.truth:
        counts["truth.jsonl"] = _write_all(out / "truth.jsonl", corpus.truth)
    if held_out:
        counts["held-out.jsonl"] = 0
    with ExitStack() as stack:
        names = ["interactions.jsonl", "held-out.jsonl"] if held_out else ["interactions.jsonl"]
        opened = {name: stack.enter_context(writing(out / name)) for name in names}
        for event in corpus.events():
            name = "held-out.jsonl" if event.user_id in held_out else "interactions.jsonl"
            opened[name].write(_line(event))
            counts[name] += 1
    return counts


def _write_all(path: Path, rows: list[Any]) -> int:
    with writing(path) as file:
        file.writelines(_line(row) for row in rows)
    return len(rows)


def _line(row: BaseModel | dict[str, Any]) -> str:
    if isinstance(row, dict):
        return json.dumps(row) + "\n"
    return row.model_dump_json(exclude_defaults=True) + "\n"
