"""The shell overrides and calls named parts of Faust and aiokafka: they must be there, with the same signatures."""

import asyncio
import inspect

import pytest
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import TopicPartitionState
from faust.stores import memory, rocksdb
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport import consumer as transport
from faust.transport.drivers import aiokafka as driver
from mode.services import ServiceTask

RELIED_ON = [
    (driver.AIOKafkaConsumerThread, "_create_worker_consumer", "(self, transport)"),
    (
        driver.AIOKafkaConsumerThread,
        "_fetch_records",
        "(self, consumer, active_partitions, timeout=None, max_records=None)",
    ),
    (driver.Consumer, "_new_consumer_thread", "(self)"),
    (driver.Consumer, "_drain_messages", "(self, fetcher)"),
    (driver.Consumer, "_getmany", "(self, active_partitions, timeout)"),
    (driver.Consumer, "_get_active_partitions", "(self)"),
    (driver.Consumer, "wait_for_stopped_flow", "(self)"),
    (driver.Consumer, "_filter_tps_with_pending_acks", "(self, topics=None)"),
    (driver.Consumer, "_new_offset", "(self, tp)"),
    (driver.Consumer, "perform_seek", "(self)"),
    (driver.Consumer, "_commit", "(self, offsets)"),
    (driver.Consumer, "on_partitions_assigned", "(self, assigned, generation_id=0)"),
    (driver.Consumer, "on_partitions_revoked", "(self, revoked)"),
    (driver.Consumer, "commit", "(self, topics=None, start_new_transaction=True)"),
    (Recovery, "on_rebalance", "(self, assigned, revoked, newly_assigned, generation_id=0)"),
    (Recovery, "need_recovery", "(self)"),
    (Recovery, "_set_recovery_started", "(self)"),
    (Recovery, "_set_recovery_ended", "(self)"),
    (Recovery, "on_recovery_completed", "(self, generation_id=0)"),
    (memory.Store, "on_rebalance", "(self, assigned, revoked, newly_assigned, generation_id=0)"),
    (memory.Store, "persisted_offset", "(self, tp)"),
    (rocksdb.Store, "_db_for_partition", "(self, partition)"),
    (rocksdb.Store, "persisted_offset", "(self, tp)"),
    (Fetcher, "fetched_records", "(self, partitions, timeout=0, max_records=None)"),
]


def _bare(function: object) -> str:
    signature = inspect.signature(function)  # type: ignore[arg-type]
    parameters = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


@pytest.mark.parametrize(("owner", "name", "signature"), RELIED_ON, ids=lambda value: getattr(value, "__name__", value))
def test_faust_still_has_the_method_with_its_signature(owner: type, name: str, signature: str) -> None:
    assert _bare(getattr(owner, name)) == signature


def test_faust_still_keeps_recovery_in_its_table_manager_and_slurps_changelogs_in_a_task() -> None:
    assert isinstance(inspect.getattr_static(TableManager, "recovery"), property)
    assert isinstance(inspect.getattr_static(Recovery, "_slurp_changelogs"), ServiceTask)


def test_faust_still_drains_in_a_task_of_its_fetcher() -> None:
    assert isinstance(inspect.getattr_static(transport.Fetcher, "_fetcher"), ServiceTask)
    assert driver.Transport.Fetcher is transport.Fetcher


def test_a_partition_of_aiokafka_still_tells_position_and_highwater() -> None:
    async def made() -> TopicPartitionState:
        state = TopicPartitionState(assignment=None)
        state.seek(7)
        return state

    state = asyncio.run(made())
    assert (state.has_valid_position, state.position, state.highwater) == (True, 7, None)
