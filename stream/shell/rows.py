"""The local copy of the changelog: one row of bytes per user, kept by partition.

A row belongs to the partition that its events arrive on, so every access names the partition. The changelog offset up
to which a partition's rows are complete is kept beside them, in the same write: recovery resumes from there.
"""

import logging
import shutil
from collections.abc import Iterable, Sequence
from typing import Any

import faust
from faust.stores import memory, rocksdb
from faust.types import TP
from rocksdict import WriteBatch

from schemas.errors import StateError
from stream.core.records import Message

ROCKSDB_OPTIONS = {
    # Faust's defaults are 2 GiB of cache and three buffers of 64 MiB for every partition.
    "block_cache_size": 8 * 1024 * 1024,
    "write_buffer_size": 4 * 1024 * 1024,
    "max_write_buffer_number": 2,
}


logger = logging.getLogger("fewstep.worker")


class MemoryRows(memory.Store):
    """Rows in dictionaries. A partition that stays assigned keeps its rows over a rebalance."""

    def open(self, partitions: Iterable[int]) -> None:
        """Nothing to open."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._rows: dict[int, dict[bytes, bytes]] = {}
        self._offsets: dict[int, int] = {}

    def read(self, partition: int, key: bytes) -> bytes | None:
        """The row of this user on this partition."""
        rows = self._rows.get(partition)
        return rows.get(key) if rows is not None else None

    def restore(self, tp: TP, records: Sequence[Any], last_offset: int) -> None:
        """Apply changelog records in order; rows are then complete up to `last_offset`."""
        self.write(tp, ((record.key, record.value) for record in records), last_offset)

    def write(self, tp: TP, rows: Iterable[tuple[bytes, bytes | None]], last_offset: int | None) -> None:
        """Set rows (None deletes) and, unless it is None, the offset up to which they are complete."""
        mine = self._rows.setdefault(tp.partition, {})
        for key, value in rows:
            if value is None:
                mine.pop(key, None)
            else:
                mine[key] = value
        if last_offset is not None:
            self._offsets[tp.partition] = last_offset

    def persisted_offset(self, tp: TP) -> int | None:
        """The changelog offset up to which this partition's rows are complete."""
        return self._offsets.get(tp.partition)

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Drop the rows of partitions that others serve now."""
        for tp in revoked:
            if tp.topic in self.table.changelog_topic.topics:
                self._rows.pop(tp.partition, None)
                self._offsets.pop(tp.partition, None)


class RocksRows(rocksdb.Store):
    """Rows in one RocksDB per partition, below Faust's data directory."""

    def open(self, partitions: Iterable[int]) -> None:
        """Open the databases of partitions; a damaged one is put aside, and recovery fills a new one.

        Raises StateError for one that cannot be opened otherwise, such as by a second worker on the same directory.
        """
        for partition in partitions:
            try:
                self._db_for_partition(partition)
            except Exception as error:  # rocksdict has no error of its own
                path = self.partition_path(partition)
                if "Corruption" not in str(error):
                    raise StateError(
                        f"local state {path} cannot be opened ({' '.join(str(error).split())[:200]}): give each worker "
                        "a state.data_dir of its own, or delete this one, so that it is rebuilt from the changelog"
                    ) from error
                aside = path.with_suffix(".damaged")
                shutil.rmtree(aside, ignore_errors=True)
                path.rename(aside)
                logger.warning("local state %s is damaged: put aside, and rebuilt from the changelog", path)
                self._db_for_partition(partition)

    def read(self, partition: int, key: bytes) -> bytes | None:
        """The row of this user on this partition."""
        row: bytes | None = self._db_for_partition(partition).get(key)
        return row

    def restore(self, tp: TP, records: Sequence[Any], last_offset: int) -> None:
        """Apply changelog records in order; rows are then complete up to `last_offset`."""
        self.write(tp, ((record.key, record.value) for record in records), last_offset)

    def write(self, tp: TP, rows: Iterable[tuple[bytes, bytes | None]], last_offset: int | None) -> None:
        """Set rows (None deletes) and, in the same write, the offset up to which they are complete."""
        batch = WriteBatch(raw_mode=True)
        for key, value in rows:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        if last_offset is not None:
            batch.put(self.offset_key, str(last_offset).encode())
        self._db_for_partition(tp.partition).write(batch)


class SupportSets(faust.Table):
    """The Faust table of support sets, on one of the stores above."""

    def _new_store(self) -> MemoryRows | RocksRows:
        if self.app.conf.store.scheme == "memory":
            return MemoryRows("memory://", self.app, self, table_name=self.name)
        return RocksRows("rocksdb://", self.app, self, table_name=self.name, options=dict(ROCKSDB_OPTIONS))


def write_acknowledged(
    store: MemoryRows | RocksRows, tp: TP, rows: Sequence[Message], first_offset: int, *, markers: int = 0
) -> bool:
    """Write rows whose changelog records were acknowledged from `first_offset` on; True if the rows stay complete.

    `markers` is how many offsets the end of their transaction takes behind them.

    If another producer wrote in between (a worker that lost the partition and does not know it yet), the rows are
    written but the persisted offset stays, so that the next recovery reads the stretch again.
    """
    held = store.persisted_offset(tp)
    complete = first_offset == (-1 if held is None else held) + 1
    last_offset = first_offset + len(rows) - 1 + markers if complete else None
    store.write(tp, ((row.key or b"", row.value) for row in rows), last_offset)
    return complete
