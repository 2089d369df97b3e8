"""A dead letter can be understood and sent again on its own."""

from hashlib import sha256

import orjson

from schemas import Role
from stream.core.decode import Refusal, Rejection
from stream.core.letters import MOST_HEADER_BYTES, MOST_HEADERS, dead_letter
from stream.core.records import Record

RECORD = Record(Role.INTERACTIONS, "fewstep-interactions", 3, 7, 0, b"ann", b"{", (("trace", b"t1"),))
MALFORMED = Rejection(Refusal.MALFORMED, "no JSON")
TOO_LARGE = Rejection(Refusal.TOO_LARGE, "over")


def test_a_dead_letter_keeps_the_record_and_says_where_it_came_from():
    letter = dead_letter(RECORD, MALFORMED)
    assert letter[:3] == (3, b"ann", b"{")
    headers = dict(letter.headers)
    assert headers["fewstep-reason"] == b"malformed"
    assert headers["fewstep-detail"] == b"no JSON"
    assert headers["trace"] == b"t1"
    kept = {name.removeprefix("__connect.errors."): value for name, value in headers.items() if "connect" in name}
    assert kept == {
        "topic": b"fewstep-interactions",
        "partition": b"3",
        "offset": b"7",
        "stage": b"VALUE_CONVERTER",
        "exception.class.name": b"stream.core.decode.Rejection",
        "exception.message": b"malformed: no JSON",
    }
    assert "fewstep-payload" not in headers


def test_a_record_that_is_too_large_goes_by_reference():
    value = b"x" * 100_000
    letter = dead_letter(RECORD._replace(value=value), TOO_LARGE)
    assert letter.key == b"ann"
    assert dict(letter.headers)["fewstep-payload"] == b"reference"
    assert orjson.loads(letter.value) == {
        "topic": "fewstep-interactions",
        "partition": 3,
        "offset": 7,
        "size": 100_000,
        "sha256": sha256(value).hexdigest(),
    }


def test_a_long_key_is_left_out_of_a_reference():
    assert dead_letter(RECORD._replace(key=b"k" * 1024), TOO_LARGE).key == b"k" * 1024
    assert dead_letter(RECORD._replace(key=b"k" * 1025), TOO_LARGE).key is None


def test_original_headers_are_bounded_in_number_and_size():
    ours = len(dead_letter(RECORD._replace(headers=()), MALFORMED).headers)
    many = dead_letter(RECORD._replace(headers=[("h", b"")] * 1000), MALFORMED)
    assert len(many.headers) == ours + MOST_HEADERS
    large = dead_letter(RECORD._replace(headers=[("h", b"x" * (MOST_HEADER_BYTES - 1)), ("i", b"")]), MALFORMED)
    assert len(large.headers) == ours + 1


def test_a_null_key_and_a_null_header_stay_null():
    letter = dead_letter(RECORD._replace(key=None, headers=[("empty", None)]), MALFORMED)
    assert letter.key is None
    assert letter.headers[-1] == ("empty", None)
