"""A small served bundle, and what brings records to a step."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import orjson
import pytest
from tiny_bundle import DAY_ZERO, write_tiny_bundle

from schemas import Role
from stream.core.records import Outcome, Record
from stream.core.step import Step
from stream.engine.bundle import Bundle, load_bundle
from stream.settings import Settings

# The same examples in every run, and no judgment by the clock of a busy machine.
hypothesis.settings.register_profile(
    "seeded", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("seeded")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """40 items, the last of them withdrawn."""
    store = tmp_path_factory.mktemp("models")
    write_tiny_bundle(store, withdrawn=(39,))
    return load_bundle(str(store), "default")


@dataclass
class Polls:
    """Numbers records by topic as a broker would, and keeps the rows that steps wrote as a store would."""

    step: Step
    rows: dict[tuple[int, bytes], bytes] = field(default_factory=dict)
    offsets: dict[Role, int] = field(default_factory=dict)

    def record(self, role: Role, key: str | None, value: Any, **changes: Any) -> Record:
        """A record at the next offset; `value` is written as JSON unless it is bytes or None."""
        offset = self.offsets.get(role, -1) + 1
        self.offsets[role] = offset
        data = value if value is None or isinstance(value, bytes) else orjson.dumps(value)
        record = Record(
            role, f"fewstep-{role}", 0, offset, DAY_ZERO + offset, None if key is None else key.encode(), data
        )
        return record._replace(**changes)

    def event(self, user: str, item: str, **fields: Any) -> Record:
        """An interaction of type like, one second after the one before unless told otherwise."""
        at = DAY_ZERO + 1000 * (self.offsets.get(Role.INTERACTIONS, -1) + 1)
        value = {"item_id": item, "event_type": "like", "timestamp": at} | fields
        return self.record(Role.INTERACTIONS, user, value)

    def run(self, *records: Record) -> Outcome:
        """One poll."""
        outcome = self.step(records, lambda partition, key: self.rows.get((partition, key)), clock_ms=DAY_ZERO)
        for row in outcome.rows:
            assert row.key is not None
            if row.value is None:
                self.rows.pop((row.partition, row.key), None)
            else:
                self.rows[row.partition, row.key] = row.value
        return outcome


@pytest.fixture
def polls(bundle: Bundle) -> Polls:
    """Polls of a worker with default settings."""
    return Polls(Step(bundle, Settings()))


@pytest.fixture
def polls_with(bundle: Bundle) -> Callable[..., Polls]:
    """Polls of a worker with other settings, given by section."""

    def make(**sections: Any) -> Polls:
        return Polls(Step(bundle, Settings(**sections)))

    return make


@pytest.fixture
def damaged_store(tmp_path: Path) -> Path:
    """A model store of its own, to be damaged."""
    write_tiny_bundle(tmp_path)
    return tmp_path
