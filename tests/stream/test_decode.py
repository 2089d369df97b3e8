"""Every record is read as what it asks for, or refused with a reason; nothing raises."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import Filters, Role
from stream.core.decode import Forget, Profile, Refusal, Rejection, Request, decode
from stream.core.events import Event, plain_event
from stream.core.records import Record
from stream.settings import LimitSettings

NOW = 1_700_000_000_000
LIMITS = LimitSettings()
EVENT = {"item_id": "i1", "event_type": "rating", "value": 4, "timestamp": NOW, "event_id": "e1"}


def record(value, *, role=Role.INTERACTIONS, key=b"ann", headers=(), timestamp=NOW):
    data = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    return Record(role, "topic", 3, 7, timestamp, key, data, headers)


def refused(value, **changes):
    found = decode(record(value, **changes), LIMITS)
    assert isinstance(found, Rejection), found
    return found.reason


def test_an_event_is_read():
    assert decode(record(EVENT), LIMITS) == Event(b"ann", "i1", "rating", 4.0, NOW, "e1")


def test_what_an_event_lacks_comes_from_its_record():
    found = decode(record({"item_id": 5, "event_type": "view"}, timestamp=NOW + 9), LIMITS)
    assert found == Event(b"ann", "5", "view", None, NOW + 9, None)


def test_the_user_of_the_value_wins_over_the_key():
    assert decode(record(EVENT | {"user_id": "bob"}), LIMITS).key == b"bob"
    assert decode(record(EVENT | {"user_id": "bob"}, key=b"\xff"), LIMITS).key == b"bob"


def test_a_request_is_read():
    value = {"n": 3, "filters": {"categories": ["drama"]}, "timestamp": "2023-11-14T22:13:20Z"}
    found = decode(record(value, role=Role.REQUESTS), LIMITS)
    assert found == Request(b"ann", 3, Filters(categories=["drama"]), NOW)


def test_a_profile_is_read():
    assert decode(record({"features": {"age": 31}}, role=Role.USERS), LIMITS) == Profile(b"ann", {"age": 31})


@pytest.mark.parametrize("role", [Role.INTERACTIONS, Role.USERS])
def test_a_null_value_forgets_the_user(role):
    assert decode(record(None, role=role), LIMITS) == Forget(b"ann")


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a":' + b"[" * 5000, b'{"item_id":' + b"9" * 5000 + b"}"]
)
def test_what_is_no_json_object_is_malformed(value):
    assert refused(value) is Refusal.MALFORMED


@pytest.mark.parametrize(
    "change",
    [
        {"item_id": None},
        {"item_id": ""},
        {"value": float("nan")},
        {"value": float("inf")},
        {"value": "much"},
        {"timestamp": "yesterday"},
        {"timestamp": "2026-01-31T12:00:00"},
        {"timestamp": 1_700_000_000},
        {"timestamp": float("inf")},
        {"context": {"deep": [1]}},
        {"schema_version": 0},
    ],
)
def test_a_field_that_cannot_be_read_makes_an_event_invalid(change):
    assert refused(EVENT | change) is Refusal.INVALID


def test_an_unknown_filter_is_not_skipped():
    assert refused({"filters": {"color": "red"}}, role=Role.REQUESTS) is Refusal.INVALID


def test_a_number_that_rows_cannot_hold_makes_a_profile_invalid():
    assert refused({"features": {"age": 2**63}}, role=Role.USERS) is Refusal.INVALID


def test_a_newer_schema_is_named_whatever_else_it_changed():
    assert refused(EVENT | {"schema_version": 2}) is Refusal.NEWER_SCHEMA
    assert refused({"schema_version": 2, "things": []}) is Refusal.NEWER_SCHEMA


def test_a_record_over_the_limit_is_refused_before_it_is_parsed():
    assert refused(b"{" * (LIMITS.event_bytes + 1)) is Refusal.TOO_LARGE
    assert refused(EVENT, key=b"k" * (LIMITS.event_bytes + 1)) is Refusal.TOO_LARGE
    padded = json.dumps(EVENT).encode().ljust(LIMITS.event_bytes)
    assert isinstance(decode(record(padded), LIMITS), Event)


def test_a_user_has_to_be_named():
    assert refused(EVENT, key=None) is Refusal.NO_USER
    assert refused(None, key=None) is Refusal.NO_KEY
    assert refused(None, role=Role.REQUESTS) is Refusal.MALFORMED


@pytest.mark.parametrize("key", [b"\xff", b"k" * 257])
def test_a_key_that_has_to_name_the_user_must_be_readable(key):
    assert refused(EVENT, key=key) is Refusal.BAD_KEY
    assert refused(None, key=key) is Refusal.BAD_KEY


def test_only_configured_event_types_are_accepted():
    assert refused(EVENT | {"event_type": "poke"}) is Refusal.UNKNOWN_EVENT_TYPE
    assert isinstance(decode(record(EVENT | {"event_type": "poke"}), LimitSettings(event_types=("poke",))), Event)


def test_an_event_too_far_in_the_future_is_refused():
    skew = round(LIMITS.future_skew_s * 1000)
    assert refused(EVENT | {"timestamp": NOW + skew + 1}) is Refusal.FUTURE
    assert isinstance(decode(record(EVENT | {"timestamp": NOW + skew}), LIMITS), Event)


def test_without_any_timestamp_an_event_is_invalid_but_its_own_suffices():
    assert refused({"item_id": "i", "event_type": "view"}, timestamp=-1) is Refusal.INVALID
    assert decode(record(EVENT, timestamp=-1), LIMITS).timestamp_ms == NOW


def test_the_detail_never_quotes_the_payload():
    secret = "hunter2"
    for change in ({"value": secret}, {"timestamp": secret}, {"context": {secret: []}}, {"event_type": secret}):
        assert secret not in decode(record(EVENT | change), LIMITS).detail


def test_a_structured_cloudevent_is_unwrapped():
    headers = (("Content-Type", b"application/cloudevents+json; charset=utf-8"),)
    data = {"item_id": "i1", "event_type": "view"}
    envelope = {"specversion": "1.0", "id": "c1", "time": "2023-11-14T22:13:20Z", "subject": "bob", "data": data}
    assert decode(record(envelope, headers=headers), LIMITS) == Event(b"ann", "i1", "view", None, NOW, "c1")
    envelope["data"] = EVENT | {"timestamp": NOW - 5}
    assert decode(record(envelope, headers=headers), LIMITS) == Event(b"ann", "i1", "rating", 4.0, NOW - 5, "e1")


def test_a_binary_cloudevent_gives_its_id_and_time():
    headers = (("ce_specversion", b"1.0"), ("ce_id", b"c2"), ("ce_time", b"2023-11-14T22:13:20Z"))
    value = {"item_id": "i1", "event_type": "view"}
    assert decode(record(value, headers=headers), LIMITS) == Event(b"ann", "i1", "view", None, NOW, "c2")


@pytest.mark.parametrize("envelope", [b"[]", b"{", {"data": 5}, {"data": {}, "id": 5}, {"data": {}, "id": ""}])
def test_a_broken_envelope_is_malformed(envelope):
    headers = (("content-type", b"application/cloudevents+json"),)
    assert refused(envelope, headers=headers) is Refusal.MALFORMED


def test_a_time_of_an_envelope_that_cannot_be_read_is_invalid():
    headers = (("ce_specversion", b"1.0"), ("ce_time", b"noon"))
    assert refused({"item_id": "i1", "event_type": "view"}, headers=headers) is Refusal.INVALID


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from([*EVENT, "user_id", "schema_version", "context", "features", "filters", "n", "data", "id"])
VALUES = (
    st.none()
    | st.binary(max_size=60)
    | st.dictionaries(FIELDS, JSON, max_size=6).map(lambda change: json.dumps(EVENT | change).encode())
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["content-type", "ce_specversion", "ce_id", "ce_time", "other"]),
        st.none() | st.binary(max_size=12) | st.just(b"application/cloudevents+json"),
    ),
    max_size=3,
)


@given(
    st.sampled_from([Role.INTERACTIONS, Role.REQUESTS, Role.USERS]),
    st.none() | st.binary(max_size=20),
    VALUES,
    HEADERS,
    st.integers(-1, 2**63 - 1),
)
def test_no_bytes_make_it_raise(role, key, value, headers, timestamp):
    found = decode(Record(role, "topic", 0, 0, timestamp, key, value, headers), LIMITS)
    if isinstance(found, Rejection):
        assert found.detail.isprintable()
        assert 0 < len(found.detail) <= 200
    else:
        assert 1 <= len(found.key.decode()) <= 256


SCALARS = st.sampled_from(
    [
        "null", "true", "false", "0", "-0", "1", "4", "4.0", "-0.0", "1e400", "1E+2", "1.", "01", "0.1e-400", "NaN",
        "Infinity", "1700000000000", "1700000000000.5", "99999999999", "100000000000", "9007199254740992",
        "123456789012345678901234567890", "9" * 400, '""', '"i1"', '"1"', '"view"', '"rating"', '"poke"',
        '"2023-11-14T22:13:20Z"', '"2023-11-14"', '"\\u00e9"', '"\\ud800"', '"\\u0000"', '"\u00e9\u20ac"', '"\t"',
        '"%s"' % ("x" * 256), '"%s"' % ("x" * 257), '"\\x"', "[]", "{}", "[1,]", '{"a":1}', '{"a":null}', '{"a":[1]}',
        '{"a":1,"a":{}}', "[" * 198 + "]" * 198, "[" * 210 + "]" * 210, '{"a":1e999}', "1 2", "",
    ]
)  # fmt: skip
NUMBERS = st.floats().map(repr) | st.integers().map(str) | st.integers(NOW - 9, NOW + 9).map(str)
TEXTS = SCALARS | NUMBERS | st.text(max_size=6).map(json.dumps) | st.text(max_size=6).map(lambda text: f'"{text}"')
PAIRS = st.tuples(FIELDS, TEXTS).map(lambda pair: f'"{pair[0]}":{pair[1]}')


@st.composite
def almost_events(draw):
    """JSON texts of events with some fields replaced, repeated or broken, and at times a few bytes changed."""
    pairs = [f'"{name}":{json.dumps(value)}' for name, value in EVENT.items() if draw(st.integers(0, 9))]
    pairs = draw(st.permutations(pairs + draw(st.lists(PAIRS, max_size=3))))
    joined = draw(st.sampled_from([",", " , ", ",\n"])).join(pairs)
    data = bytearray(f"{{{joined}}}".encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data) + draw(st.sampled_from([b"", b"", b" \n", b"x", b"\xef\xbb\xbf"]))


@given(
    almost_events(),
    st.sampled_from([b"ann", b"\xc3\xa9", b"\xff", b"", b"k" * 257, None]),
    st.sampled_from([NOW, -1, 0, NOW - 86_400_001, 2**60]),
    st.sampled_from([LIMITS, LimitSettings(event_types=("poke", "", "view"))]),
)
@settings(max_examples=int(os.environ.get("FEWSTEP_TEST_EXAMPLES", "1500")))
def test_the_short_way_takes_only_what_the_schema_takes_and_reads_it_the_same(data, key, timestamp, limits):
    short = plain_event(data, key, timestamp, limits)
    # A header that is none of a CloudEvent's makes the same record take the long way.
    long = decode(record(data, key=key, timestamp=timestamp, headers=(("other", b""),)), limits)
    assert short is None or repr(short) == repr(long)


@pytest.mark.parametrize(
    "change", [{}, {"value": None}, {"item_id": 7}, {"context": {"hour": 9}}, {"timestamp": "2023-11-14T22:13:20Z"}]
)
def test_ordinary_events_go_the_short_way(change):
    assert plain_event(json.dumps(EVENT | change).encode(), b"ann", NOW, LIMITS) is not None
