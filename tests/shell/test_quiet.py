"""A client that retries hundreds of times a second gets one line for all of it."""

import logging

from stream.shell.quiet import OncePerInterval


def record(text: str, *arguments: object, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("aiokafka", level, "", 0, text, arguments, None)


def test_records_of_one_kind_pass_once_per_interval_and_say_how_many_were_held_back() -> None:
    now = 0.0
    quiet = OncePerInterval(interval_s=10, clock=lambda: now)
    passed = []
    for step in range(25):
        now = float(step)
        one = record("no node %s", step)
        if quiet.filter(one):
            passed.append(one.getMessage())
    assert passed == ["no node 0", "no node 10 (9 more like this)", "no node 20 (9 more like this)"]


def test_kinds_do_not_hide_each_other() -> None:
    quiet = OncePerInterval(clock=lambda: 0.0)
    assert quiet.filter(record("lost"))
    assert quiet.filter(record("found"))
    assert quiet.filter(record("lost", level=logging.CRITICAL))
    assert not quiet.filter(record("lost"))


def test_what_is_no_warning_always_passes() -> None:
    quiet = OncePerInterval(clock=lambda: 0.0)
    assert [quiet.filter(record("rate", level=logging.INFO)) for _ in range(3)] == [True] * 3
