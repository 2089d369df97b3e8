"""`fewstep arms`: what two workers measured adds up, and what is no worker is one line."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import Run

from stream.broker.process import free_port
from stream.core.tally import Sums
from stream.settings import WebSettings
from stream.shell.agent import Progress
from stream.shell.health import View
from stream.shell.metrics import WorkerCollector, make_registry
from stream.shell.web import make_site, serve_site


def worker(measures: dict[tuple[str, str], Sums]) -> str:
    """A worker's metrics, without the worker; gives their address."""
    served: Any = SimpleNamespace(
        model="m", version="v1", swaps=0, refused=0, problem=None, items=1, items_refused=0, measures=measures
    )
    progress, settings = Progress(), WebSettings(port=free_port())
    collector = WorkerCollector(
        progress, view=lambda: View("running"), is_ready=bool, recovery_remaining=lambda: 0, served=lambda: served
    )
    registry = make_registry(collector, progress)
    serve_site(make_site(settings, registry=registry, is_live=bool, obstacle=lambda: None), settings)
    return f"http://127.0.0.1:{settings.port}/metrics"


def test_arms_of_all_workers_are_added_up_and_compared(fewstep: Run) -> None:
    one = worker({("m", "v1"): Sums(100, 20, 30.0, 400.0, 50.0, 60.0), ("m", "v2"): Sums(10, 5, 6.0, 30.0, 8.0, 9.0)})
    other = worker({("m", "v1"): Sums(300, 60, 90.0, 1200.0, 150.0, 180.0)})
    done = fewstep("arms", one, other, "--json")
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert (first["model"], first["version"], first["events"], first["hit_rate"]) == ("m", "v1", 400, 0.2)
    assert first["loss"] == pytest.approx(4.0)
    assert first["hit_rate_low"] < 0.2 < first["hit_rate_high"]
    assert (second["version"], second["hit_rate"]) == ("v2", 0.5)
    assert "m v2: 10 events, HR@10 0.5000 [" in fewstep("arms", one).stdout


def test_without_measures_it_says_what_to_do_and_a_wrong_address_is_named(fewstep: Run) -> None:
    assert "nothing is measured yet" in fewstep("arms", worker({})).stdout
    for url in (f"http://127.0.0.1:{free_port()}/metrics", "nowhere", "http://a:b/metrics"):
        done = fewstep("arms", url)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert url in done.stderr
