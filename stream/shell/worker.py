"""The worker process: bundle, topics, app, signals, exit codes."""

import asyncio
import gc
import logging
import signal
from collections.abc import Mapping
from time import monotonic
from typing import Any

from stream.settings import Settings
from stream.shell.agent import StepFunction
from stream.shell.app import WorkerApp, create_app
from stream.shell.failstop import fail_stop, start_watchdog

REPORT_EVERY_S = 5.0
STOP_WITHIN_S = 30.0
"""A graceful stop that takes longer is ended hard; Kubernetes kills after 30 s by default."""

logger = logging.getLogger("fewstep.worker")


def serve(settings: Settings, step: StepFunction, *, partitions: int, dead_letter_partitions: int) -> None:
    """Run the worker until SIGTERM or SIGINT; returns after a clean stop.

    `partitions` is the count of the co-partitioned topics. Any failure while running ends the process, exit code 70.
    """

    async def main() -> None:
        app = create_app(settings, step, partitions=partitions, dead_letter_partitions=dead_letter_partitions)
        start_watchdog(lambda: _is_behind(app), lambda: _position(app), timeout_s=settings.worker.stall_timeout_s)
        await _run(app)

    asyncio.run(main())


def _is_behind(app: WorkerApp) -> bool:
    consumer: Any = app._consumer
    return consumer is not None and (bool(app.rebalancing) or bool(app.in_recovery) or sum(consumer.lag().values()) > 0)


def _position(app: WorkerApp) -> object:
    consumer: Any = app._consumer
    if consumer is None:
        return None
    recovered = dict(app.tables.recovery.active_offsets)
    return consumer.epoch, dict(consumer.applied), recovered


async def _run(app: WorkerApp) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    await app.start()
    gc.collect()
    gc.freeze()  # what was made so far lives as long as the process: no collection needs to look at it again
    report = loop.create_task(_report(app))
    await app.wait(stop)
    report.cancel()
    if app.crashed:
        fail_stop(f"the Faust app crashed: {app.crash_reason!r}", app.crash_reason)
    try:
        async with asyncio.timeout(STOP_WITHIN_S):
            app.consumer.stop_flow()
            await app.consumer.quiesce()  # the poll in hand is finished and committed before anything closes
            await app.delivery.end()
            await app.stop()
    except TimeoutError as error:
        fail_stop(f"could not stop within {STOP_WITHIN_S:.0f} s", error)
    if app.crashed:
        fail_stop(f"the Faust app crashed while stopping: {app.crash_reason!r}", app.crash_reason)
    logger.info("stopped, everything applied is committed; totals %s", _line(app.progress.counts))


async def _report(app: WorkerApp) -> None:
    """One line when the worker is ready, and one every few seconds while it works."""
    seen, since, ready = 0, monotonic(), False
    while True:
        await asyncio.sleep(0.1 if not ready else REPORT_EVERY_S)
        consumer: Any = app.consumer
        if not ready:
            ready = bool(consumer.applied) and not app.rebalancing
            if ready:
                logger.info("ready: %d partitions, lag %d", len(consumer.applied), sum(consumer.lag().values()))
            continue
        counts, now = app.progress.counts, monotonic()
        if counts["events"] != seen:
            rate = (counts["events"] - seen) / (now - since)
            logger.info("%.0f events/s, lag %d; totals %s", rate, sum(consumer.lag().values()), _line(counts))
        seen, since = counts["events"], now


def _line(counts: Mapping[str, int]) -> str:
    return " ".join(f"{name}={count}" for name, count in sorted(counts.items()) if count)
