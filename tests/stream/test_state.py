"""The support set: order, bounds, deduplication."""

from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from schemas import Role
from stream.core.events import Event
from stream.core.state import (
    EMPTY,
    EVENT_ID_HASH_BYTES,
    ITEM_HASH_BYTES,
    Change,
    SupportEvent,
    apply_event,
    apply_profile,
    item_hash,
    offset_of,
    shrink,
)
from stream.settings import StateSettings

CONFIG = StateSettings(window=4, event_ids=3, seen_items=2)


def event(item, at, *, event_id=None, event_type="like", value=None):
    return Event(b"ann", item, event_type, value, at, event_id)


def folded(*events, config=CONFIG):
    state = EMPTY
    for offset, one in enumerate(events):
        state, _ = apply_event(state, one, offset, config)
    return state


def items(state):
    return [one.item_id for one in state.support]


def seen(state):
    return [state.seen[at : at + ITEM_HASH_BYTES] for at in range(0, len(state.seen), ITEM_HASH_BYTES)]


def test_events_stand_in_order_of_time():
    state = folded(event("a", 10, event_type="rating", value=4.5), event("b", 20, event_type="view"))
    assert state.support == [SupportEvent("a", "rating", 4.5, 10), SupportEvent("b", "view", None, 20)]
    assert state.events == 2


def test_a_late_event_keeps_its_place():
    state, change = apply_event(folded(event("a", 10), event("c", 30)), event("b", 20), 9, CONFIG)
    assert items(state) == ["a", "b", "c"]
    assert change is Change.LATE
    assert state.interactions_offset == 9


def test_events_of_one_time_stand_in_order_of_arrival():
    assert items(folded(event("a", 10), event("c", 20), event("b", 10), event("d", 20))) == ["a", "b", "c", "d"]


def test_the_oldest_event_leaves_a_full_window_and_is_remembered():
    state = folded(*(event(item, at) for at, item in enumerate("abcdef")))
    assert items(state) == ["c", "d", "e", "f"]
    assert seen(state) == [item_hash(b"a"), item_hash(b"b")]
    assert state.events == 6


def test_an_event_older_than_a_full_window_leaves_at_once_and_is_remembered():
    state = folded(*(event(item, 10 + at) for at, item in enumerate("abcd")), event("z", 1))
    assert items(state) == ["a", "b", "c", "d"]
    assert seen(state) == [item_hash(b"z")]


def test_the_ring_of_seen_items_is_bounded_and_holds_an_item_once():
    state = folded(*(event(item, at) for at, item in enumerate("ababcdefgh")))
    assert seen(state) == [item_hash(b"c"), item_hash(b"d")]
    state = folded(*(event(item, at) for at, item in enumerate("abacdef")))
    assert seen(state) == [item_hash(b"b"), item_hash(b"a")]


def test_an_applied_offset_changes_nothing():
    state = folded(event("a", 10), event("b", 20))
    assert apply_event(state, event("z", 30), 1, CONFIG) == (state, Change.REDELIVERED)
    assert apply_event(state, event("z", 30), 0, CONFIG) == (state, Change.REDELIVERED)


def test_a_known_event_id_only_advances_the_offset():
    state = folded(event("a", 10, event_id="e1"))
    assert apply_event(state, event("a", 10, event_id="e1"), 5, CONFIG) == (
        state._replace(interactions_offset=5),
        Change.DUPLICATE,
    )


def test_the_ring_of_event_ids_is_bounded():
    state = folded(*(event("a", at, event_id=f"e{at}") for at in range(4)))
    assert apply_event(state, event("a", 10, event_id="e0"), 9, CONFIG)[1] is Change.APPLIED
    assert apply_event(state, event("a", 10, event_id="e1"), 9, CONFIG)[1] is Change.DUPLICATE


def test_events_without_an_id_are_told_apart_by_offset():
    assert items(folded(event("a", 10), event("a", 10))) == ["a", "a"]


def test_rings_may_be_switched_off():
    config = StateSettings(window=1, event_ids=0, seen_items=0)
    state = folded(event("a", 1, event_id="e"), event("b", 2, event_id="e"), config=config)
    assert (items(state), state.seen, state.event_ids) == (["b"], b"", b"")


def test_a_profile_replaces_the_one_before_and_leaves_the_support_set():
    state = folded(event("a", 10))
    state, change = apply_profile(state, b'{"age":31}', 4)
    assert change is Change.APPLIED
    assert (state.features, items(state), offset_of(state, Role.USERS)) == (b'{"age":31}', ["a"], 4)
    assert apply_profile(state, b"{}", 4) == (state, Change.REDELIVERED)
    assert offset_of(state, Role.INTERACTIONS) == 0


def test_a_smaller_window_lets_the_oldest_leave():
    state = folded(*(event(item, at) for at, item in enumerate("abcd")))
    assert items(shrink(state, StateSettings(window=2))) == ["c", "d"]
    assert shrink(state, CONFIG) is state


EVENTS = st.lists(
    st.builds(
        event,
        st.text(min_size=1, max_size=4),
        st.integers(10**11, 2**53 - 1) | st.integers(10**11, 10**11 + 5),
        event_type=st.sampled_from(["view", "rating", "þumal"]),
        value=st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 3.5, 5.0]),
    ),
    max_size=12,
)


@given(EVENTS)
def test_folding_equals_a_stable_sort_whose_newest_are_kept(events):
    config = StateSettings(window=5)
    state, expected = EMPTY, []
    for offset, one in enumerate(events):
        state, _ = apply_event(state, one, offset, config)
        expected = sorted([*expected, one], key=lambda other: other.timestamp_ms)[-5:]
    assert state.support == [SupportEvent(one.item_id, one.event_type, one.value, one.timestamp_ms) for one in expected]


def test_bytes_that_match_across_two_entries_of_a_ring_are_no_known_id():
    digest = blake2b(b"e1", digest_size=EVENT_ID_HASH_BYTES).digest()
    state = EMPTY._replace(event_ids=b"abc" + digest + b"def")
    assert apply_event(state, event("a", 10, event_id="e1"), 0, CONFIG)[1] is Change.APPLIED
    state = EMPTY._replace(event_ids=b"abc" + digest + b"def" + digest)
    assert apply_event(state, event("a", 10, event_id="e1"), 0, CONFIG)[1] is Change.DUPLICATE
