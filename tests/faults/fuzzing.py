"""Makes records that nobody would send on purpose, and takes what the decoder made of them as far as a worker would."""

import random
from collections.abc import Callable

import orjson

from schemas import Role
from stream.core.codec import decode_row, encode
from stream.core.decode import Decoded, Event, Forget, Profile, Refusal, Rejection, Request, decode
from stream.core.records import Record
from stream.core.state import EMPTY, apply_event, apply_profile
from stream.settings import LimitSettings, StateSettings

NOW = 1_700_000_000_000
LIMITS = LimitSettings()
STATE = StateSettings()
ROLES = (Role.INTERACTIONS, Role.REQUESTS, Role.USERS)
STRUCTURED = ("content-type", b"application/cloudevents+json")

# What a field may hold, as JSON text: the plain, the odd, and what is no JSON at all.
PLAIN = ['"i1"', '"ann"', "4", "4.5", "1700000000000", '"2023-11-14T22:13:20Z"', '"like"', '"rating"', "true", "null"]
ODD = [
    "{}", "[]", '""', "0", "-1", "-0", "1e308", "1e309", "-1e309", "1E-400", "NaN", "Infinity", "-Infinity", "0x10",
    "9" * 400, "9" * 5000, "-" + "9" * 25, "9223372036854775808", "18446744073709551616", "1." + "3" * 2000, "1e99999",
    '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\\ufeff"', '"' + "x" * 300 + '"', '"\u202e\u0007"', '"\\x"', "'i1'",
    "[" * 60, "[" * 5000, '{"a":' * 3000, "[" * 200 + "]" * 200, '{"a":' * 200 + "1" + "}" * 200, '{"a":1,"a":2}',
    '"0001-01-01T00:00:00Z"', '"9999-12-31T23:59:59.999999+23:59"', '"2023-02-30T00:00:00Z"', '"20231114T221320Z"',
    '"2023-W46-2T00:00:00+00:00:01"', "9007199254740992", "1700000000", "100000000000.5", '"1700000000000"', "tru", "",
]  # fmt: skip
NAMES = {
    Role.INTERACTIONS: ["item_id", "event_type", "value", "timestamp", "event_id", "user_id", "context"],
    Role.REQUESTS: ["n", "filters", "context", "timestamp", "user_id"],
    Role.USERS: ["features", "user_id"],
}
OTHER_NAMES = ["schema_version", "data", "id", "time", "specversion", "x", "", "item_id", "user_id", "\\u0069tem_id"]
FLAT = ['{"a":1}', '{"a":"b","c":2.5}', '{"a":true}', '{"categories":["drama"]}', '{"exclude_items":["i1",7]}']
ODD_FLAT = ['{"a":18446744073709551616}', '{"a":-1e999}', '{"a":[]}', '{"":""}', '{"\\ud800":1}', '{"domains":"x"}']
KEYS = [b"ann", b"", None, b"\xff", b"\xed\xa0\x80", b"k" * 257, "é".encode() * 200, b"\x00", b"ann\n"]


def fuzzed_record(rng: random.Random) -> Record:
    """A valid message of an input topic, with none, some or much of it bent."""
    role = rng.choice(ROLES)
    text = _object(rng, role)
    headers: list[tuple[str, bytes]] = []
    if rng.random() < 0.3:
        text, headers = _cloudevent(rng, text)
    value: bytes | None = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.25:
        for _ in range(rng.choice((1, 1, 2, 8))):
            value = rng.choice(BENDS)(rng, value or b"")
    if rng.random() < 0.01:
        value = None
    timestamp = rng.choice((NOW, NOW, NOW, -1, 0, 2**53, 2**63 - 1))
    return Record(role, "topic", 0, 0, timestamp, rng.choice(KEYS), value, headers)


def taken_apart(record: Record) -> Decoded:
    """Decode, and use what was decoded as a worker does. Raises AssertionError if it is neither value nor reason."""
    decoded = decode(record, LIMITS)
    if isinstance(decoded, Rejection):
        assert decoded.reason in Refusal
        assert decoded.detail.isprintable()
        assert 0 < len(decoded.detail) <= 200
        return decoded
    assert isinstance(decoded, Event | Request | Profile | Forget)
    assert 0 < len(decoded.key.decode()) <= 256
    if isinstance(decoded, Event):
        state, _ = apply_event(EMPTY, decoded, 0, STATE)
        assert decode_row(encode(state), decoded.key).support[0][:3] == decoded[1:4]
    elif isinstance(decoded, Profile):
        state, _ = apply_profile(EMPTY, orjson.dumps(decoded.features), 0)
        assert decode_row(encode(state), decoded.key) == state
    return decoded


def _object(rng: random.Random, role: Role) -> str:
    names = NAMES[role]
    fields = [(name, _usual(rng, name)) for name in names if rng.random() < 0.85]
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 5))):
        name = rng.choice(names) if rng.random() < 0.7 else rng.choice(OTHER_NAMES)
        fields.insert(
            rng.randrange(len(fields) + 1), (name, rng.choice(ODD if rng.random() < 0.3 else PLAIN + FLAT + ODD_FLAT))
        )
    return "{" + ",".join(f'"{name}":{text}' for name, text in fields) + "}"


def _usual(rng: random.Random, name: str) -> str:
    if name in ("context", "features"):
        return rng.choice(FLAT[:3])
    if name == "filters":
        return rng.choice(FLAT[3:])
    usual = {"event_type": '"rating"', "value": "4", "timestamp": str(NOW), "n": "5"}
    return usual.get(name, f'"{name[0]}{rng.randrange(1000)}"')


def _cloudevent(rng: random.Random, text: str) -> tuple[str, list[tuple[str, bytes]]]:
    if rng.random() < 0.5:
        odd = rng.choice(ODD if rng.random() < 0.4 else PLAIN)
        around = [f'"data":{text}', f'"id":{odd}', f'"time":{rng.choice(PLAIN + ODD[:6])}', '"specversion":"1.0"']
        return "{" + ",".join(rng.sample(around, rng.randrange(1, 5))) + "}", [STRUCTURED]
    contents = [b"1.0", b"c1", b"2023-11-14T22:13:20Z", b"", b"\xff", b"noon", b"x" * 300]
    return text, [
        (name, rng.choice(contents)) for name in ("ce_specversion", "ce_id", "ce_time", "CE_ID", "content-type")
    ]


def _flip(rng: random.Random, value: bytes) -> bytes:
    at = rng.randrange(len(value) + 1)
    return value[:at] + bytes((rng.randrange(256),)) + value[at + 1 :]


def _cut(rng: random.Random, value: bytes) -> bytes:
    return value[: rng.randrange(len(value) + 1)]


def _insert(rng: random.Random, value: bytes) -> bytes:
    at = rng.randrange(len(value) + 1)
    piece = rng.choice(
        (b"\xc0\xaf", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x00", b"{", b"[", b'"', b",", b"\\u12", b" " * 9)
    )
    return value[:at] + piece * rng.choice((1, 1, 3, 2000)) + value[at:]


def _repeat(rng: random.Random, value: bytes) -> bytes:
    start, end = sorted(rng.randrange(len(value) + 1) for _ in range(2))
    return value[:end] + value[start:end] + value[end:]


def _wrap(rng: random.Random, value: bytes) -> bytes:
    depth = rng.choice((1, 10, 150, 250, 20_000))
    return b"[" * depth + value + b"]" * rng.choice((depth, 0))


BENDS: list[Callable[[random.Random, bytes], bytes]] = [_flip, _flip, _cut, _insert, _repeat, _wrap]
