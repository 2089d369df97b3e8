"""Which state a list was made from, and when no state explains it."""

from typing import Any

import pytest

from schemas import Role
from stream.audit.history import InexplicableError, Unchecked, states_at
from stream.audit.inputs import Inputs, fold_event
from stream.core.decode import Event, Forget
from stream.core.provenance import STATE_HEADER, StateVersion, read_state_version, state_header
from stream.core.state import EMPTY
from stream.settings import StateSettings

ANN = (0, b"ann")
CONFIG = StateSettings(window=3)


def event(item: str, event_id: str | None = None) -> Event:
    return Event(b"ann", item, "like", None, 1_700_000_000_000, event_id)


def inputs(*records: Event | Forget, **changes: Any) -> Inputs:
    """Records at offsets 10, 11, ..."""
    found = Inputs(events={ANN: list(enumerate(records, 10))}, first={(Role.INTERACTIONS, 0): 0}, **changes)
    state = EMPTY
    for offset, record in found.events[ANN]:
        state = found.states[ANN, offset] = fold_event(state, record, offset, CONFIG)
    return found


def items_at(found: Inputs, interactions: int, events: int, users: int = -1) -> list[list[str]] | Unchecked:
    states = states_at(ANN, StateVersion(interactions, users, events, 0), found, CONFIG)
    return states if isinstance(states, Unchecked) else [[one.item_id for one in state.support] for state in states]


def test_a_state_is_the_fold_of_the_events_up_to_its_offset():
    found = inputs(event("a"), event("b"), Forget(b"ann"), event("c"))
    assert items_at(found, -1, 0) == [[]]
    assert items_at(found, 11, 2) == [["a", "b"]]
    assert items_at(found, 13, 1) == [["c"]]


def test_an_event_that_was_applied_twice_or_not_at_all_is_inexplicable():
    found = inputs(event("a"), event("b"))
    for interactions, events in ((11, 3), (11, 1), (12, 2)):
        with pytest.raises(InexplicableError):
            items_at(found, interactions, events)


def test_a_user_forgotten_by_the_users_topic_has_the_last_events_only():
    found = inputs(event("a"), event("b"), event("c"), forgotten_by_users_topic={ANN})
    assert items_at(found, 12, 2) == [["b", "c"]]
    repeated = inputs(event("a", "x"), event("b", "x"), event("c"), forgotten_by_users_topic={ANN})
    assert items_at(repeated, 12, 2) == [["b", "c"], ["a", "c"]]


def test_what_retention_or_compaction_removed_is_neither_right_nor_wrong():
    found = inputs(event("a"), event("b"))
    found.first[Role.INTERACTIONS, 0] = 11
    assert items_at(found, 10, 1) is Unchecked.RETENTION
    assert items_at(found, 11, 5) is Unchecked.RETENTION
    found = inputs(event("a"), event("b"), users_compacted={0})
    assert items_at(found, 11, 1) is Unchecked.COMPACTION
    assert items_at(found, 11, 2, users=4) is Unchecked.COMPACTION


def test_a_profile_that_should_be_there_and_is_not_is_inexplicable():
    found = inputs(event("a"), profiles={ANN: {4: b'{"age":7}'}})
    (state,) = states_at(ANN, StateVersion(10, 4, 1, 0), found, CONFIG)
    assert (state.features, state.users_offset) == (b'{"age":7}', 4)
    with pytest.raises(InexplicableError):
        items_at(found, 10, 1, users=5)


def test_the_header_says_what_it_was_made_from():
    state = EMPTY._replace(interactions_offset=7, users_offset=2, events=5)
    assert read_state_version([("other", b""), state_header(state, 9)]) == (7, 2, 5, 9, "")
    assert read_state_version([]) is None
    assert read_state_version([(STATE_HEADER, b"{}")]) is None
