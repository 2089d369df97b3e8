"""Rows: exact, compact, and refused when they are not what was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import StateError
from stream.core.codec import ROW_VERSION, decode_row, encode
from stream.core.events import Event
from stream.core.state import EMPTY, apply_event, apply_profile
from stream.settings import StateSettings

CONFIG = StateSettings()
DAY = 86_400_000


def full_state():
    state = EMPTY
    for number in range(300):
        event = Event(
            b"u", f"item{number:04d}", "rating", number % 11 / 2, 1_700_000_000_000 + number * 3 * DAY, f"e{number}"
        )
        state, _ = apply_event(state, event, 10**9 + number, CONFIG)
    return state


def test_a_full_row_with_ids_of_eight_characters_fits_into_a_kibibyte():
    state = full_state()
    assert (len(state.codes), len(state.seen), len(state.event_ids)) == (32, 3 * 96, 6 * 32)
    assert len(encode(state)) <= 1024


def test_an_empty_state_survives():
    assert decode_row(encode(EMPTY), b"ann") == EMPTY


STATES = st.lists(
    st.tuples(
        st.text(min_size=1, max_size=6),
        st.sampled_from(["view", "rating", "skip", "listen"]),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.integers(0, 2**53 - 1),
        st.none() | st.text(min_size=1, max_size=3),
    ),
    max_size=40,
)


@given(STATES, st.binary(max_size=9), st.integers(0, 2**62))
def test_a_row_gives_the_state_that_was_written(events, features, offset):
    state, _ = apply_profile(EMPTY, features, offset)
    for number, (item, kind, value, at, event_id) in enumerate(events):
        state, _ = apply_event(state, Event(b"u", item, kind, value, at, event_id), offset + number, CONFIG)
    row = encode(state)
    assert decode_row(row, b"u") == state
    assert encode(decode_row(row, b"u")) == row


def test_a_row_of_a_newer_version_is_refused_with_the_remedy():
    row = bytes([ROW_VERSION + 1]) + encode(full_state())[1:]
    with pytest.raises(StateError, match=r"row format 2, this build reads 1: start the newer build"):
        decode_row(row, b"ann")


@pytest.mark.parametrize("at", [0, 1, 10, 200, -1])
def test_a_changed_byte_is_noticed(at):
    row = bytearray(encode(full_state()))
    row[at] ^= 1
    with pytest.raises(StateError):
        decode_row(bytes(row), b"ann")


@given(st.binary(max_size=80))
def test_foreign_bytes_are_refused(data):
    with pytest.raises(StateError):
        decode_row(data, b"ann")


@pytest.mark.parametrize("size", [0, 1, 4, 20, 60, 500])
def test_a_cut_row_is_refused(size):
    with pytest.raises(StateError, match="is damaged"):
        decode_row(encode(full_state())[:size], b"ann")


def test_the_error_names_the_user_by_a_hash_only():
    with pytest.raises(StateError) as caught:
        decode_row(b"", b"ann@example.org")
    assert "ann" not in str(caught.value)
    assert "sha256:" in str(caught.value)
    assert "\n" not in str(caught.value)
