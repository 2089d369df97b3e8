"""Probes and metrics over real HTTP: who is let in, what is told, and what is not."""

import http.client
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from schemas.errors import ConfigurationError
from stream.broker.process import free_port
from stream.core.records import Message, Outcome
from stream.core.tally import Sums
from stream.settings import Settings, WebSettings
from stream.shell.agent import Progress
from stream.shell.health import View
from stream.shell.metrics import WorkerCollector, make_registry
from stream.shell.web import REQUESTS_AT_ONCE, Bucket, make_site, serve_site

TOKEN = "a-token-of-some-length"


class Answer(NamedTuple):
    status: int
    text: str


MEASURES = {("films", "v1"): Sums(events=8, hits=3, loss=16.0)}
SERVED: Any = SimpleNamespace(
    model="films", version="v1", swaps=2, refused=1, problem="not sound", items=40, items_refused=5, measures=MEASURES
)


class State:
    """What the site is told of the worker."""

    obstacle: str | None = None
    alive = True


def serve(state: State, **settings: Any) -> Callable[..., Answer]:
    web = Settings.load(web={"port": free_port(), **settings}).web
    progress = Progress()
    letters = [Message(0, b"ann", b"x", (("fewstep-reason", b"future"), ("fewstep-reason", b"ann")))]
    progress.note(Outcome(dead_letters=letters, counts={"events": 3, "dead_letters": 1}))
    progress.step_seconds.observe(0.02)
    collector = WorkerCollector(
        progress,
        view=lambda: View("running", partitions=4, lag=7),
        is_ready=lambda: state.obstacle is None,
        recovery_remaining=lambda: 0,
        served=lambda: SERVED,
    )
    registry = make_registry(collector, progress)
    serve_site(make_site(web, registry=registry, is_live=lambda: state.alive, obstacle=lambda: state.obstacle), web)

    def ask(path: str, *, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", web.port or 0, timeout=10)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode())
        finally:
            connection.close()

    return ask


def test_ready_follows_the_worker_and_gives_the_reason() -> None:
    state = State()
    ask = serve(state)
    assert ask("/ready") == (200, '{"ready": true, "reason": null}')
    state.obstacle = "recovery"
    assert ask("/ready") == (503, '{"ready": false, "reason": "recovery"}')
    assert ask("/live").status == 200
    state.alive = False
    assert ask("/live").status == 503


def test_metrics_tell_counts_and_seconds_and_no_user() -> None:
    text = serve(State())("/metrics").text
    for line in (
        "fewstep_events_total 3.0",
        'fewstep_dead_letters_total{reason="future"} 1.0',
        "fewstep_lag_records 7.0",
        "fewstep_ready 1.0",
        'fewstep_step_seconds_bucket{le="0.025"} 1.0',
        'fewstep_bundle_info{model="films",version="v1"} 1.0',
        "fewstep_bundle_swaps_total 2.0",
        "fewstep_bundles_refused_total 1.0",
        "fewstep_bundle_problem 1.0",
        "fewstep_items_refused_total 5.0",
        'fewstep_prequential_hits{model="films",version="v1"} 3.0',
        "process_resident_memory_bytes",
    ):
        assert line in text
    assert "ann" not in text


@pytest.mark.parametrize(
    ("given", "status"),
    [(None, 401), (f"Bearer {TOKEN}x", 401), (f"Basic {TOKEN}", 401), ("Bearer \xe9", 401), (f"Bearer {TOKEN}", 200)],
)
def test_metrics_need_the_token_where_one_is_set_and_probes_do_not(given: str | None, status: int) -> None:
    ask = serve(State(), token=TOKEN)
    headers = {} if given is None else {"Authorization": given}
    assert ask("/metrics", **headers).status == status
    assert ask("/ready").status == 200


def test_beyond_the_loopback_there_are_no_metrics_without_a_token() -> None:
    ask = serve(State(), bind="0.0.0.0")
    assert ask("/metrics").status == 403
    assert ask("/live").status == 200


def test_every_other_path_and_method_is_unknown() -> None:
    ask = serve(State())
    for path in ("/", "/table/support-sets/ann", "/router/support-sets/ann", "/performance/", "/graph", "/metrics/ann"):
        assert ask(path).status == 404
    assert ask("/ready", method="POST").status == 405


def test_a_request_with_a_body_is_refused() -> None:
    assert serve(State())("/ready", body=b"x" * 100).status == 413


def test_too_many_requests_are_turned_away() -> None:
    ask = serve(State())
    answers: list[int] = []

    def flood() -> None:
        answers.extend(ask("/live").status for _ in range(REQUESTS_AT_ONCE))

    threads = [threading.Thread(target=flood) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) == {200, 429}


def test_a_bucket_refills_with_time() -> None:
    now = 0.0
    bucket = Bucket(rate=2, size=1, clock=lambda: now)
    assert [bucket.take(), bucket.take()] == [True, False]
    now = 0.5
    assert [bucket.take(), bucket.take()] == [True, False]


def test_a_port_that_is_taken_is_named() -> None:
    port = free_port()
    settings = WebSettings(port=port)
    progress = Progress()
    site = [
        make_site(settings, registry=make_registry(_silent(progress), progress), is_live=bool, obstacle=lambda: None)
        for _ in range(2)
    ]
    serve_site(site[0], settings)
    with pytest.raises(ConfigurationError, match=rf"cannot listen on 127\.0\.0\.1:{port} .*--web-port"):
        serve_site(site[1], settings)


def _silent(progress: Progress) -> WorkerCollector:
    return WorkerCollector(
        progress, view=lambda: View("running"), is_ready=bool, recovery_remaining=lambda: 0, served=lambda: SERVED
    )
