"""The worker process: bundle, topics, app, signals, exit codes."""

import asyncio
import gc
import logging
import signal
from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Any

from stream.engine.watch import Watch
from stream.settings import Settings
from stream.shell.agent import Progress
from stream.shell.app import WorkerApp, create_app
from stream.shell.broadcast import catch_up, follow_broadcasts, loading
from stream.shell.failstop import fail_stop
from stream.shell.health import BEAT_S
from stream.shell.preflight import Cluster
from stream.shell.watch import Lookout, start_watching

REPORT_EVERY_S = 5.0
STOP_WITHIN_S = 30.0
"""A graceful stop that takes longer is ended hard; Kubernetes kills after 30 s by default."""
COLLECT_EVERY_S = 5.0

logger = logging.getLogger("fewstep.worker")


def serve(settings: Settings, watch: Watch, cluster: Cluster) -> None:
    """Run the worker until SIGTERM or SIGINT; returns after a clean stop.

    `watch` owns what serves and is kept informed. Any failure of the stream ends the process, exit code 70. Raises
    ConfigurationError if the web port is taken.
    """

    async def main() -> None:
        with loading() as load:
            app = create_app(
                settings, watch.serving, partitions=cluster.partitions,
                dead_letter_partitions=cluster.dead_letter_partitions, topic_ids=cluster.topic_ids,
            )  # fmt: skip
            app.catch_up = partial(catch_up, watch, load)
            lookout = start_watching(app, settings, served=watch.snapshot)
            following = asyncio.create_task(follow_broadcasts(settings, watch, load))
            await _run(app, lookout)
            following.cancel()

    asyncio.run(main())


async def _run(app: WorkerApp, lookout: Lookout) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    beat = loop.create_task(_beat(app.progress))
    await _start(app, stop)
    gc.collect()
    gc.freeze()  # what was made so far lives as long as the process: no collection needs to look at it again
    gc.disable()
    collecting = loop.create_task(_collect())
    report = loop.create_task(_report(app))
    await app.wait(stop)
    lookout.stage = "stopping"
    report.cancel()
    collecting.cancel()
    if app.crashed:
        fail_stop(f"the Faust app crashed: {app.crash_reason!r}", app.crash_reason)
    await _stop(app)
    beat.cancel()
    logger.info("stopped, everything applied is committed; totals %s", _line(app.progress.counts))


async def _collect() -> None:
    """Look for garbage in cycles now and then, not whenever so many objects were made: a poll makes tens of thousands,
    and none of them is in one."""
    while True:
        await asyncio.sleep(COLLECT_EVERY_S)
        gc.collect()


async def _beat(progress: Progress) -> None:
    while True:
        progress.beat = monotonic()
        await asyncio.sleep(BEAT_S)


async def _start(app: WorkerApp, stop: asyncio.Event) -> None:
    """Start the app; a signal meanwhile does not wait for it, since nothing is in hand yet."""
    starting, stopping = asyncio.ensure_future(app.start()), asyncio.ensure_future(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        if starting.exception() is not None:
            fail_stop(f"the Faust app could not start: {starting.exception()!r}", starting.exception())
    elif stop.is_set():
        fail_stop("stopped before it had started", exit_code=0)


async def _stop(app: WorkerApp) -> None:
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
