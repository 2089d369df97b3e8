"""When a worker is ready, and when its process should end."""

import pytest

from stream.shell.health import Stillness, View, fatality, obstacle

SOUND = View("running", partitions=4, beat_age=0.4, fetch_age=0.3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stage": "starting"}, "starting"),
        ({"stage": "stopping"}, "stopping"),
        ({"crashed": True}, "crashed"),
        ({"beat_age": 6.0}, "event loop is blocked"),
        ({"rebalancing": True}, "rebalance"),
        ({"recovering": True}, "recovery"),
        ({"fetch_age": 11.0}, "no answer from Kafka"),
        ({"lag": 5, "still": 11.0}, "none is applied"),
    ],
)
def test_a_worker_that_makes_no_progress_is_not_ready_and_says_why(change: dict[str, object], reason: str) -> None:
    assert obstacle(SOUND, patience_s=10) is None
    assert reason in str(obstacle(SOUND._replace(**change), patience_s=10))


@pytest.mark.parametrize(
    "change",
    [{"lag": 100_000}, {"partitions": 0, "fetch_age": 900.0}, {"step_age": 20.0, "fetch_age": 20.0}],
    ids=["far behind but moving", "nothing assigned", "a long step"],
)
def test_a_worker_that_only_looks_idle_is_ready(change: dict[str, object]) -> None:
    assert obstacle(SOUND._replace(**change), patience_s=10) is None


def test_the_process_ends_for_a_stall_and_for_a_step_without_end() -> None:
    limits = {"stall_timeout_s": 120.0, "step_timeout_s": 60.0}
    assert fatality(SOUND._replace(lag=9, still=119.0, step_age=59.0), **limits) is None
    assert "crashed" in str(fatality(SOUND._replace(crashed=True), **limits))
    assert "no progress for 121 s" in str(fatality(SOUND._replace(still=121.0), **limits))
    assert "step has been running for 61 s" in str(fatality(SOUND._replace(step_age=61.0), **limits))


def test_a_worker_that_hears_nothing_of_kafka_counts_as_behind() -> None:
    assert not SOUND.is_behind
    assert SOUND._replace(fetch_age=30.0).is_behind
    assert not SOUND._replace(fetch_age=30.0, partitions=0).is_behind


def test_stillness_grows_only_while_something_waits_and_nothing_moves() -> None:
    times = iter([0.0, 1.0, 5.0, 6.0, 9.0, 10.0])
    stillness = Stillness(clock=lambda: next(times))
    measured = [
        stillness.measure(position, is_behind=is_behind)
        for position, is_behind in [(0, True), (0, True), (1, True), (1, True), (1, False)]
    ]
    assert measured == [0, 4, 0, 3, 0]
