"""What a worker tells Prometheus: `fewstep_*`, seconds, `_total`; no user, key or item is ever a label."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from stream.core.step import COUNTERS
from stream.core.tally import Sums
from stream.engine.watch import Snapshot
from stream.shell.agent import Progress
from stream.shell.health import View

PREQUENTIAL = "fewstep_prequential_"
"""Before the names of `Sums`: what workers tell can be added up, and `fewstep arms` does."""
LABELLED = ("dead_letters",)
"""Counters that are told by label instead."""


class WorkerCollector(Collector):
    """Reads the worker at each scrape, so that nothing is counted twice over."""

    def __init__(
        self,
        progress: Progress,
        *,
        view: Callable[[], View],
        is_ready: Callable[[], bool],
        recovery_remaining: Callable[[], int],
        served: Callable[[], Snapshot],
    ) -> None:
        self._progress, self._view, self._is_ready = progress, view, is_ready
        self._recovery_remaining, self._served = recovery_remaining, served

    def collect(self) -> Iterator[Metric]:
        """All metrics but those of the process."""
        view, progress = self._view(), self._progress
        gauges = {
            "ready": (int(self._is_ready()), "1 while progress is possible"),
            "partitions": (view.partitions, "Source partitions that this worker serves"),
            "lag_records": (view.lag, "Records fetched or known of, and not applied"),
            "recovery_remaining_records": (self._recovery_remaining(), "Changelog records still to be read"),
            "fetch_age_seconds": (view.fetch_age, "Since Kafka last answered a fetch"),
            "still_seconds": (view.still, "For how long records have been waiting without progress"),
        }
        for name, (value, meaning) in gauges.items():
            yield GaugeMetricFamily(f"fewstep_{name}", meaning, value=value)
        counts = dict(progress.counts)
        for name in (*COUNTERS, *sorted(counts.keys() - set(COUNTERS))):
            if name not in LABELLED:
                count = counts.get(name, 0)
                yield CounterMetricFamily(f"fewstep_{name}", f"Count of {name} since the start", value=count)
        yield CounterMetricFamily("fewstep_polls", "Polls applied since the start", value=progress.polls)
        letters = CounterMetricFamily("fewstep_dead_letters", "Records refused since the start", labels=["reason"])
        for reason, count in sorted(dict(progress.letters).items()):
            letters.add_metric([reason], count)
        yield letters
        yield from _bundle_metrics(self._served())


def _bundle_metrics(served: Snapshot) -> Iterator[Metric]:
    value = {"model": served.model, "version": served.version}
    yield InfoMetricFamily("fewstep_bundle", "The bundle that is served", value=value)
    yield CounterMetricFamily("fewstep_bundle_swaps", "Bundles taken over since the start", value=served.swaps)
    yield CounterMetricFamily("fewstep_bundles_refused", "Bundles refused since the start", value=served.refused)
    meaning = "1 while the store names a bundle that is not served, for the reason in the log"
    yield GaugeMetricFamily("fewstep_bundle_problem", meaning, value=int(served.problem is not None))
    yield GaugeMetricFamily("fewstep_items", "Items that lists may hold", value=served.items)
    meaning = "Records of the items topic that could not be read or kept since the start"
    yield CounterMetricFamily("fewstep_items_refused", meaning, value=served.items_refused)
    for name in Sums._fields:
        gauge = GaugeMetricFamily(
            f"{PREQUENTIAL}{name}",
            f"Sum of {name.replace('_', ' ')} over the measured events of a week of event time",
            labels=["model", "version"],
        )
        for arm, sums in served.measures.items():
            gauge.add_metric(arm, getattr(sums, name))
        yield gauge


def make_registry(collector: WorkerCollector, progress: Progress) -> CollectorRegistry:
    """A registry of its own: two workers in one process do not meet."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    registry.register(progress.step_seconds)
    ProcessCollector(registry=registry)
    return registry
