"""Looks at a running app for probes, metrics and watchdog; every call may come from another thread than the app's."""

from collections.abc import Callable
from time import monotonic, time
from typing import Any

from stream.engine.watch import Snapshot
from stream.settings import Settings
from stream.shell.app import WorkerApp
from stream.shell.failstop import start_watchdog
from stream.shell.health import Stillness, View, fatality, obstacle
from stream.shell.metrics import WorkerCollector, make_registry
from stream.shell.web import make_site, serve_site


class Lookout:
    """Where the worker stands. The process sets `stage`; the rest is read from the app."""

    def __init__(self, app: WorkerApp) -> None:
        self._app = app
        self._stillness = Stillness()
        self.stage = "starting"

    def view(self) -> View:
        """The worker as it is now."""
        app, now = self._app, monotonic()
        consumer: Any = app._consumer
        if consumer is None:
            return View(self.stage, beat_age=now - app.progress.beat)
        if self.stage == "starting" and app.tables.recovery.completed.is_set():
            self.stage = "running"
        began = app.progress.step_began
        seen = View(
            self.stage,
            crashed=bool(app.crashed),
            rebalancing=bool(app.rebalancing),
            recovering=bool(app.in_recovery),
            partitions=len(consumer.applied),
            lag=sum(consumer.lag().values()),
            beat_age=now - app.progress.beat,
            fetch_age=max(0.0, time() - consumer.answered_ms / 1000) if consumer.answered_ms else 0.0,
            step_age=0.0 if began is None else now - began,
        )
        position = app.progress.polls, app.tables.recovery.restored
        is_behind = seen.is_behind or (self.stage == "starting" and seen.recovering)
        return seen._replace(still=self._stillness.measure(position, is_behind=is_behind))

    def recovery_remaining(self) -> int:
        """Changelog records still to be read."""
        return int(self._app.tables.recovery.remaining()) if self._app._consumer is not None else 0


def start_watching(app: WorkerApp, settings: Settings, *, served: Callable[[], Snapshot]) -> Lookout:
    """Start the watchdog and, where a port is set, probes and metrics. Raises ConfigurationError if it is taken."""
    lookout = Lookout(app)
    worker = settings.worker

    def why_end() -> str | None:
        return fatality(lookout.view(), stall_timeout_s=worker.stall_timeout_s, step_timeout_s=worker.step_timeout_s)

    def why_not_ready() -> str | None:
        return obstacle(lookout.view(), patience_s=settings.kafka.session_timeout_s)

    start_watchdog(why_end, every_s=min(1.0, worker.stall_timeout_s / 4, worker.step_timeout_s / 4))
    if settings.web.port is not None:
        collector = WorkerCollector(
            app.progress,
            view=lookout.view,
            is_ready=lambda: why_not_ready() is None,
            recovery_remaining=lookout.recovery_remaining,
            served=served,
        )
        registry = make_registry(collector, app.progress)
        site = make_site(settings.web, registry=registry, is_live=lambda: why_end() is None, obstacle=why_not_ready)
        serve_site(site, settings.web)
    return lookout
