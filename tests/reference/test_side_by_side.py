"""The core and the reference are driven side by side: any records, any polls, crashes, redelivery, restarts.

FEWSTEP_TEST_EXAMPLES sets how many sequences are drawn; the default is small enough for every run of the suite.
"""

import os
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from reference.lists import disagreements
from reference.worker import Expected, Reference, same_person
from tiny_bundle import DAY, DAY_ZERO, write_tiny_bundle

import stream.core.fold
import stream.core.lists
import stream.core.step
from schemas import Role
from stream.core.codec import decode_row
from stream.core.decode import Event
from stream.core.records import Message, Outcome, Record
from stream.core.step import COUNTERS, Step
from stream.engine.bundle import Bundle, load_bundle
from stream.settings import ListSettings, Settings, StateSettings

EXAMPLES = int(os.environ.get("FEWSTEP_TEST_EXAMPLES", "60"))
# Small, so that windows overflow, rings forget and lists run out within a few records.
SETTINGS = Settings(state=StateSettings(window=4, event_ids=3, seen_items=3), lists=ListSettings(length=6, reasons=2))
N_ITEMS = 24
PARTITIONS = 2

USERS = st.sampled_from(["ann", "bob", "é"])
ITEMS = st.integers(0, N_ITEMS + 1).map("i{}".format)  # the last two are unknown to the bundle
# A second apart or days: with equal times, steps back, and both rows of the prior.
TIMES = st.integers(0, 12).map(lambda step: DAY_ZERO + step * 1000) | st.integers(0, 12).map(
    lambda step: DAY_ZERO + step * DAY
)
ACTIONS = st.sampled_from(
    [("like", None), ("view", None), ("rating", 4.0), ("rating", 3.25), ("skip", 1.0), ("purchase", None)]
)
BAD = st.sampled_from(
    [
        (b"ann", b"{"),
        (b"ann", b"\xff"),
        (b"ann", b"[]"),
        (b"ann", b'{"event_type":"like"}'),
        (b"ann", b'{"item_id":"i1","event_type":"like","timestamp":1700000000}'),
        (b"ann", b'{"item_id":"i1","event_type":"like","timestamp":"2199-01-01T00:00:00Z"}'),
        (b"ann", b'{"item_id":"i1","event_type":"dance"}'),
        (b"ann", b'{"item_id":"i1","event_type":"like","schema_version":9}'),
        (None, b'{"item_id":"i1","event_type":"like"}'),
        (b"\xff", b'{"item_id":"i1","event_type":"like"}'),
        (b"x" * 257, b'{"item_id":"i1","event_type":"like"}'),
        (b"ann", b" " * 70_000),
        (None, None),
    ]
)
FILTERS = st.sampled_from(
    [{}, {"categories": ["drama"]}, {"domains": ["books"], "exclude_items": ["i1", "gone"]}, {"categories": ["x"]}]
)


class SideBySide(RuleBasedStateMachine):
    """Appends to a log, hands it to the core in polls of any size, and lets the worker die on the way."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.bundle = bundle
        self.step = Step(bundle, SETTINGS)
        self.log: list[Record] = []
        self.offsets: dict[tuple[Role, int], int] = {}
        self.at = self.committed = 0
        self.rows: dict[tuple[int, bytes], bytes] = {}
        self.changelog: list[Message] = []
        self.lists: dict[tuple[int, bytes], bytes | None] = {}
        self.reference = self._new_reference()

    # -- what is sent

    @rule(
        user=USERS, item=ITEMS, at=TIMES, action=ACTIONS, event_id=st.none() | st.integers(0, 6), part=st.integers(0, 1)
    )
    def event(self, user: str, item: str, at: int, action: tuple[str, Any], event_id: int | None, part: int) -> None:
        value = {"item_id": item, "event_type": action[0], "value": action[1], "timestamp": at, "event_id": event_id}
        self._append(Role.INTERACTIONS, user.encode(), value, part)

    @rule(user=USERS, other=USERS, item=ITEMS, part=st.integers(0, 1))
    def event_that_names_its_user_and_has_no_time(self, user: str, other: str, item: str, part: int) -> None:
        value = {"user_id": user, "item_id": item, "event_type": "view", "unknown": [1]}
        self._append(Role.INTERACTIONS, other.encode(), value, part)

    @rule(user=USERS, city=st.sampled_from(["Aachen", "Bergen", "Cadiz"]), age=st.none() | st.integers(20, 40))
    def profile(self, user: str, city: str, age: int | None) -> None:
        features = {"city": city} if age is None else {"city": city, "age": age}
        self._append(Role.USERS, user.encode(), {"features": features}, 0)

    @rule(user=USERS, n=st.none() | st.integers(1, 30), filters=FILTERS, at=st.none() | TIMES, part=st.integers(0, 1))
    def request(self, user: str, n: int | None, filters: dict[str, Any], at: int | None, part: int) -> None:
        self._append(Role.REQUESTS, user.encode(), {"n": n, "filters": filters, "timestamp": at}, part)

    @rule(user=USERS, role=st.sampled_from([Role.INTERACTIONS, Role.USERS]), part=st.integers(0, 1))
    def forget(self, user: str, role: Role, part: int) -> None:
        self._append(role, user.encode(), None, part)

    @rule(bad=BAD)
    def bad(self, bad: tuple[bytes | None, bytes | None]) -> None:
        self._append(Role.INTERACTIONS, bad[0], bad[1], 0)

    # -- what the worker does

    @precondition(lambda self: self.at < len(self.log))
    @rule(size=st.integers(1, 12), reached=st.sampled_from([frozenset({0, 1})] * 5 + [frozenset({0}), frozenset()]))
    def poll(self, size: int, reached: frozenset[int]) -> None:
        """One poll; what it writes may reach only some partitions before the worker dies."""
        records = self.log[self.at : self.at + size]
        outcome = self.step(records, lambda partition, key: self.rows.get((partition, key)), clock_ms=DAY_ZERO)
        before = dict(self.reference.people)
        self._compare(outcome, self.reference.take(records))
        self._write(outcome, reached)
        self.at += len(records)
        if len(reached) < PARTITIONS:
            now = self.reference.people
            self.reference.people = {
                user: people[user] for people, here in ((before, False), (now, True)) for user in people
                if (user[0] in reached) is here
            }  # fmt: skip
            self.restart()

    @rule()
    def commit(self) -> None:
        self.committed = self.at

    @rule()
    def restart(self) -> None:
        """Nothing is left but the changelog and the committed offset."""
        self.step = Step(self.bundle, SETTINGS)
        self.rows = {}
        for message in self.changelog:
            self._store(message)
        self.at = self.committed

    def teardown(self) -> None:
        """When all is said: rows and lists are those of a worker that took everything in one poll."""
        while self.at < len(self.log):
            self.poll(5, frozenset({0, 1}))
        undisturbed = Step(self.bundle, SETTINGS)(self.log, lambda *_: None, clock_ms=DAY_ZERO)
        rows = {(row.partition, row.key): row.value for row in undisturbed.rows if row.value is not None}
        assert self.rows == rows
        lists = {(one.partition, one.key): one.value for one in undisturbed.recommendations if _is_update(one)}
        assert self.lists == lists
        whole = self._new_reference()
        whole.take(self.log)
        assert whole.people.keys() == self.rows.keys()
        assert all(same_person(decode_row(row, user[1]), whole.people[user]) for user, row in self.rows.items())

    # -- how it is done

    def _new_reference(self) -> Reference:
        return Reference(SETTINGS, self.bundle.catalog.item_ids)

    def _append(self, role: Role, key: bytes | None, value: Any, partition: int) -> None:
        offset = self.offsets.get((role, partition), -1) + 1
        self.offsets[role, partition] = offset
        data = orjson.dumps(value) if isinstance(value, dict) else value
        moment = DAY_ZERO + 13 * DAY + len(self.log)
        self.log.append(Record(role, f"fewstep-{role}", partition, offset, moment, key, data))

    def _write(self, outcome: Outcome, reached: frozenset[int]) -> None:
        for message in outcome.rows:
            if message.partition in reached:
                self.changelog.append(message)
                self._store(message)
        for message in outcome.recommendations:
            if message.partition in reached and _is_update(message):
                self.lists[message.partition, message.key or b""] = message.value

    def _store(self, message: Message) -> None:
        user = message.partition, message.key or b""
        if message.value is None:
            self.rows.pop(user, None)
        else:
            self.rows[user] = message.value

    def _compare(self, outcome: Outcome, expected: Expected) -> None:
        assert {(row.partition, row.key) for row in outcome.rows} == expected.rows.keys()
        for row in outcome.rows:
            person = expected.rows[row.partition, row.key or b""]
            assert (row.value is None) == (person is None)
            if row.value is not None and person is not None:
                assert same_person(decode_row(row.value, row.key or b""), person)
        forgotten = sorted((one.partition, one.key) for one in outcome.recommendations if one.value is None)
        assert forgotten == sorted(user for user, person in expected.rows.items() if person is None)
        self._compare_lists([one for one in outcome.recommendations if one.value is not None], expected)
        letters = [
            (letter.partition, int(headers["__connect.errors.offset"]), headers["fewstep-reason"].decode())
            for letter in outcome.dead_letters
            for headers in (dict(letter.headers),)
        ]
        assert letters == expected.letters
        assert outcome.counts == {name: expected.counts[name] for name in COUNTERS}

    def _compare_lists(self, found: list[Message], expected: Expected) -> None:
        told = {(one.user, one.source): one for one in expected.lists}
        assert len(found) == len(told) == len(expected.lists)
        for message in found:
            one = orjson.loads(message.value or b"")
            source = one["source"]["topic"], one["source"]["partition"], one["source"]["offset"]
            wanted = told[(message.partition, message.key or b""), source]
            window, reasons = SETTINGS.state.window, SETTINGS.lists.reasons
            assert disagreements(one, wanted, self.bundle, window=window, reasons=reasons) == []


def _is_update(message: Message) -> bool:
    """True for lists of events and profiles: which of them is a user's last does not depend on the polls."""
    return message.value is None or b'"topic":"fewstep-requests"' not in message.value


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    store = tmp_path_factory.mktemp("models")
    write_tiny_bundle(store, n_items=N_ITEMS, withdrawn=(N_ITEMS - 1,))
    return load_bundle(str(store), "default")


def drive(bundle: Bundle, *, examples: int, phases: tuple[Phase, ...] = tuple(Phase)) -> None:
    """Draw sequences of up to 50 rules; the same ones in every run."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        lambda: SideBySide(bundle),
        settings=settings(
            max_examples=examples, stateful_step_count=50, deadline=None, derandomize=True, database=None,
            suppress_health_check=checks, phases=phases,
        ),
    )  # fmt: skip


@pytest.mark.timeout(900)
def test_the_core_does_what_the_reference_says(bundle: Bundle) -> None:
    drive(bundle, examples=EXAMPLES)


apply_event = stream.core.fold.apply_event
wanted_lists = stream.core.step.wanted_lists
encode = stream.core.fold.encode
best_rows = stream.core.lists.best_rows
reasons_for = stream.core.lists.reasons_for


def _without_offsets(state: Any, event: Event, offset: int, config: StateSettings) -> Any:
    return apply_event(state._replace(interactions_offset=-1), event, offset, config)


def _without_event_ids(state: Any, event: Event, offset: int, config: StateSettings) -> Any:
    return apply_event(state, event._replace(event_id=None), offset, config)


def _late_as_newest(state: Any, event: Event, offset: int, config: StateSettings) -> Any:
    moment = max(event.timestamp_ms, state.last_ms)
    return apply_event(state, event._replace(timestamp_ms=moment), offset, config)


def _forgetting_what_was_seen(state: Any, event: Event, offset: int, config: StateSettings) -> Any:
    applied, change = apply_event(state, event, offset, config)
    return applied._replace(seen=b""), change


def _by_the_clock(folded: Any, config: Settings) -> Any:
    return [one._replace(now_ms=one.now_ms + 11 * DAY) for one in wanted_lists(folded, config)]


def _row_without_event_ids(state: Any) -> bytes:
    return encode(state._replace(event_ids=b""))


def _second_best(blocks: Any, n: int) -> Any:
    found = best_rows(blocks, n + 1)
    return found._replace(rows=found.rows[:, 1:], scores=found.scores[:, 1:])


def _turned_reasons(*arguments: Any, **options: Any) -> Any:
    rows, values = reasons_for(*arguments, **options)
    return rows[:, :, ::-1], values[:, :, ::-1]


MUTANTS: list[tuple[Any, str, Callable[..., Any]]] = [
    (stream.core.fold, "apply_event", _without_offsets),
    (stream.core.fold, "apply_event", _without_event_ids),
    (stream.core.fold, "apply_event", _late_as_newest),
    (stream.core.fold, "apply_event", _forgetting_what_was_seen),
    (stream.core.step, "wanted_lists", _by_the_clock),
    (stream.core.fold, "encode", _row_without_event_ids),
    (stream.core.lists, "best_rows", _second_best),
    (stream.core.lists, "reasons_for", _turned_reasons),
]


@pytest.mark.parametrize(
    ("module", "name", "mutant"), MUTANTS, ids=[mutant.__name__.strip("_") for *_, mutant in MUTANTS]
)
def test_a_wrong_core_is_told_from_the_reference(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, mutant: Callable[..., Any]
) -> None:
    monkeypatch.setattr(module, name, mutant)
    with pytest.raises((AssertionError, orjson.JSONDecodeError)):  # a mutant may break the list's text too
        drive(bundle, examples=EXAMPLES, phases=(Phase.generate,))
