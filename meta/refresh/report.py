"""What a refresh did and why, as a JSON file beside the archive."""

import json
from datetime import datetime
from typing import Any, NamedTuple

from meta.refresh.archive import Archive, State
from meta.refresh.loading import Check
from meta.store import list_names, remove, write_file

_FOLDER = "reports"
_REMEMBERED = 100


class Report(NamedTuple):
    """`outcome` is `published`, `refused` or `nothing new`."""

    outcome: str
    model: str
    version: str | None
    """The version that was published, or that was refused"""
    served: str | None
    """What is served after it"""
    reasons: list[str]
    archive: dict[str, Any]
    training: dict[str, Any]
    checks: list[Check]
    measures: dict[str, Any]
    seconds: dict[str, float]
    """Wall-clock time by stage"""

    def as_json(self) -> dict[str, Any]:
        """The fields by name."""
        return self._asdict() | {"checks": [check._asdict() for check in self.checks]}


def describe_archive(state: State, before: State) -> dict[str, Any]:
    """What is in the archive, and what this run added."""
    counters = ("events", "duplicates", "refused", "expired", "erased")
    added = {name: getattr(state, name) - getattr(before, name) for name in counters}
    return {"commit": state.number, "rows": state.rows, "parts": len(state.of("interactions")), "added": added}


def write(archive: Archive, report: Report, now: datetime) -> str:
    """Write the report and give its URL; the oldest of many are deleted. It names no user."""
    name = f"{report.model}-{now:%Y%m%dT%H%M%S%fZ}.json"
    write_file(archive.store, (json.dumps(report.as_json(), indent=1) + "\n").encode(), _FOLDER, name)
    for old in list_names(archive.store, _FOLDER)[:-_REMEMBERED]:
        remove(archive.store, _FOLDER, old)
    return f"{archive.store.url.rstrip('/')}/{_FOLDER}/{name}"
