"""Rows about users, brought together user by user without holding them all.

Few rows stay in memory, as one bucket. Many are dealt to files by a hash of the user id, and come back a bucket at a
time: all rows of a user in one bucket, in the order they were added.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl

MEMORY_ROWS = 2_000_000
"""More rows go to disk."""
BUCKETS = 64
_HASH_SEED = 0x5EED


class Buckets:
    """Frames with a `user_id` column. To be closed, or used in a `with`."""

    def __init__(self, *, memory_rows: int = MEMORY_ROWS) -> None:
        self._memory_rows = memory_rows
        self._held: list[pl.DataFrame] = []
        self._rows = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files = 0

    def __enter__(self) -> "Buckets":
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def __len__(self) -> int:
        """Rows added."""
        return self._rows

    @property
    def on_disk(self) -> bool:
        """Whether there is more than one bucket."""
        return self._folder is not None

    def add(self, frame: pl.DataFrame) -> None:
        """Add rows."""
        self._held.append(frame)
        self._rows += len(frame)
        if self.on_disk or self._rows > self._memory_rows:
            self.spill()

    def spill(self) -> None:
        """Deal what is held to files."""
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="fewstep-")
        for frame in self._held:
            bucket = (pl.col("user_id").hash(_HASH_SEED) % BUCKETS).alias("bucket")
            parts = frame.with_columns(bucket).partition_by("bucket", include_key=False, as_dict=True)
            for (number,), part in parts.items():
                part.write_ipc(Path(self._folder.name) / f"{number:02}-{self._files:08}.arrow")
            self._files += 1
        self._held = []

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Each bucket, as one frame; `bucket(n)` gives the same again."""
        return (self.bucket(number) for number in range(BUCKETS if self.on_disk else 1))

    def bucket(self, number: int) -> pl.DataFrame:
        """One bucket. An empty frame without columns where nothing was ever put into it."""
        if self._folder is None:
            return pl.concat(self._held) if self._held else pl.DataFrame()
        paths = sorted(Path(self._folder.name).glob(f"{number:02}-*.arrow"))
        return pl.concat([pl.read_ipc(path) for path in paths]) if paths else pl.DataFrame()
