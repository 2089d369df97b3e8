"""The composition root: settings and a step become a Faust app. The only module that wires Faust together."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import faust
from faust.channels import Channel

from schemas import KafkaSettings, Role, topic_name
from schemas.errors import FewstepError
from schemas.security import security_options
from stream.settings import Settings
from stream.shell.agent import Progress, StepFunction, Topics, work
from stream.shell.consumer import BatchTransport, CustodyError
from stream.shell.delivery import AtLeastOnce, Delivery, LocalRows
from stream.shell.failstop import fail_stop
from stream.shell.letter_limit import LetterLimit
from stream.shell.overlay import Overlay
from stream.shell.placement import Placement
from stream.shell.polls import Poll
from stream.shell.preflight import note_topics
from stream.shell.recovery import BatchTableManager
from stream.shell.rows import SupportSets
from stream.shell.transactions import COMMIT_MARKERS, ExactlyOnce, new_producer
from stream.topics import TABLE, changelog_topic

INPUTS = (Role.INTERACTIONS, Role.REQUESTS, Role.USERS)
"""The co-partitioned inputs."""

MAX_REQUEST_BYTES = 1_000_000
"""Below Kafka's default message.max.bytes of 1,048,588."""


class WorkerApp(faust.App):
    """A Faust app whose consumer delivers polls."""

    polls: "asyncio.Queue[Poll]"
    support_sets: SupportSets
    progress: Progress
    delivery: Delivery
    topic_note: str
    """Goes beside every committed offset: the ids of the source topics."""
    fetch_max_wait_ms: int
    catch_up: Callable[[], Awaitable[None]] | None = None
    """Awaited before anything of newly assigned partitions is read"""

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)


class PollChannel(Channel[Poll]):
    """The agent's inbox: one plain queue, which flow control never clears."""

    @property
    def queue(self) -> Any:
        """The queue that the consumer puts polls into."""
        return self.app.polls


def create_app(
    settings: Settings,
    step: StepFunction,
    *,
    partitions: int,
    dead_letter_partitions: int,
    topic_ids: Mapping[str, str] | None = None,
) -> WorkerApp:
    """Build the worker's Faust app; it is returned, not started.

    `partitions` is the partition count of the co-partitioned topics, found out beforehand; `topic_ids` go beside the
    committed offsets.
    """
    app = WorkerApp(settings.worker.app_id, **_faust_options(settings, partitions))
    app.fetch_max_wait_ms = settings.kafka.fetch_max_wait_ms
    app.progress = Progress()
    app.topic_note = note_topics(topic_ids or {})
    app.polls = app.FlowControlQueue(maxsize=0, clear_on_resume=False)
    topics = Topics(
        roles={topic_name(role, settings.kafka.topic_prefix): role for role in INPUTS},
        changelog=changelog_topic(settings.worker.app_id),
        recommendations=topic_name(Role.RECOMMENDATIONS, settings.kafka.topic_prefix),
        dead_letters=topic_name(Role.DEAD_LETTERS, settings.kafka.topic_prefix),
        dead_letter_partitions=dead_letter_partitions,
    )
    app.support_sets = SupportSets(app, name=TABLE, partitions=partitions)
    app.tables.add(app.support_sets)
    for name in topics.roles:  # subscribed through the conductor; the records do not pass through it
        app.topics.add(app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"))
    app.delivery = _delivery(app, settings, topics)
    limit = LetterLimit(share=settings.limits.dead_letter_share, window=settings.limits.dead_letter_window)
    _add_agent(app, step, topics, limit, Placement(app.progress, partitions=partitions))
    return app


def _delivery(app: WorkerApp, settings: Settings, topics: Topics) -> Delivery:
    store = app.support_sets.data
    if settings.worker.delivery == "at_least_once":
        return AtLeastOnce(lambda: app.producer._ensure_producer(), topics, LocalRows(store, app.progress, markers=0))
    return ExactlyOnce(
        partial(new_producer, settings.kafka, max_request_bytes=MAX_REQUEST_BYTES),
        topics,
        LocalRows(store, app.progress, markers=COMMIT_MARKERS),
        app_id=settings.worker.app_id,
        topic_note=app.topic_note,
        timeout_s=settings.kafka.request_timeout_s,
    )


def _add_agent(app: WorkerApp, step: StepFunction, topics: Topics, limit: LetterLimit, placement: Placement) -> None:
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="step")
    rows = app.support_sets

    apply = partial(
        work,
        step=step,
        overlay=Overlay(lambda partition, key: rows.data.read(partition, key)),
        deliver=app.delivery.deliver,
        topics=topics,
        executor=executor,
        limit=limit,
        full_poll=app.conf.broker_max_poll_records,
        progress=app.progress,
    )

    async def apply_or_end(poll: Poll) -> None:
        with _no_way_out():
            await apply(poll, custody=app.consumer)

    async def adapt(stream: AsyncIterator[Poll]) -> None:
        # No exception may leave this body: Faust would acknowledge what was in hand and start the agent anew.
        with _no_way_out():
            async with asyncio.TaskGroup() as polls:
                async for poll in stream:
                    placement.look(poll)
                    polls.create_task(apply_or_end(poll))

    app.agent(PollChannel(app), name="adapt", concurrency=1)(adapt)


@contextmanager
def _no_way_out() -> Iterator[None]:
    """End the process by whatever is raised inside."""
    try:
        yield
    except CustodyError as error:
        fail_stop(str(error), error)
    except FewstepError as error:  # the operator has to act first, a restart alone would end here again
        fail_stop(str(error), error, exit_code=error.exit_code)
    except Exception as error:  # noqa: BLE001 - whatever it is, going on could lose events
        fail_stop(f"a poll could not be applied: {type(error).__name__}: {error}", error)


def _credentials(kafka: KafkaSettings) -> Any:
    options = security_options(kafka)
    context = options.get("ssl_context")
    if kafka.uses_sasl:
        return faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None


def _faust_options(settings: Settings, partitions: int) -> dict[str, Any]:
    """Every Faust option that matters is set here; defaults are not relied on."""
    kafka, worker = settings.kafka, settings.worker
    return {
        "broker": [f"aiokafka://{address.strip()}" for address in kafka.bootstrap_servers.split(",")],
        "broker_credentials": _credentials(kafka),
        "autodiscover": False,
        "origin": None,
        "store": "memory://" if settings.state.store == "memory" else "rocksdb://",
        "datadir": str(settings.state.data_dir),
        "topic_partitions": partitions,
        "topic_allow_declare": False,  # topics are created by tool; the worker needs no right to create
        "topic_disable_leader": True,
        "table_standby_replicas": 0,
        "TableManager": BatchTableManager,
        "agent_supervisor": "mode.CrashingSupervisor",  # a net: the agent's body lets nothing out
        "processing_guarantee": "at_least_once",  # deduplication makes it exact; Faust's exactly_once is not
        "stream_wait_empty": False,  # the consumer's quiesce waits for the poll in hand
        "recovery_consistency_check": False,  # BatchRecovery checks against fetch answers
        "broker_session_timeout": kafka.session_timeout_s,
        "broker_heartbeat_interval": kafka.session_timeout_s / 5,
        "broker_request_timeout": max(kafka.request_timeout_s, kafka.session_timeout_s),
        "broker_commit_interval": worker.commit_interval_s,
        "broker_commit_every": None,
        "broker_max_poll_records": worker.poll_records,
        "broker_check_crcs": False,
        "consumer_auto_offset_reset": "earliest",
        "producer_acks": -1,
        "producer_request_timeout": kafka.request_timeout_s,
        "producer_max_batch_size": MAX_REQUEST_BYTES,
        "producer_max_request_size": MAX_REQUEST_BYTES,
        "stream_recovery_delay": 0.0,
        "web_enabled": False,
        "web_tables_enabled": False,
        "web_router_enabled": False,
    }
