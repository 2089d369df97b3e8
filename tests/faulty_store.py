"""A store on a local disk that dies at its n-th change, as a process that is killed there would leave it."""

from typing import Any

from fsspec.implementations.local import LocalFileSystem


class KilledError(BaseException):
    """The process is gone: nothing catches this."""


class FaultyFileSystem(LocalFileSystem):
    """Counts changes; the one numbered `dies_at` (from 1 on) is not made any more."""

    cachable = False

    def __init__(self, dies_at: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.changes, self.dies_at = 0, dies_at

    def _change(self) -> None:
        self.changes += 1
        if self.changes == self.dies_at:
            raise KilledError

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        """Write, and die with half of it written where this is the change."""
        self.changes += 1
        if self.changes == self.dies_at:
            super().pipe_file(path, value[: len(value) // 2], **options)
            raise KilledError
        super().pipe_file(path, value, **options)

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        """Move."""
        self._change()
        super().mv(path1, path2, **options)

    def rm_file(self, path: str) -> None:
        """Delete a file."""
        self._change()
        super().rm_file(path)

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Delete."""
        self._change()
        super().rm(path, recursive=recursive, maxdepth=maxdepth)
