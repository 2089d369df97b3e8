"""Arrays that live on disk while a process needs them, so that memory does not grow with the data.

The files lie in the folder for temporary files (TMPDIR) and have no name any more: they are gone with the process,
however it ends. The operating system keeps in memory what is in use and may drop the rest at any time.
"""

import tempfile
from collections.abc import Sequence
from typing import Any, overload

import numpy as np


class ColumnWriter:
    """Collects pieces of one column and gives them as one array at the end; in memory where there is only one piece."""

    def __init__(self, dtype: Any, *, width: int | None = None) -> None:
        self._dtype, self._width = np.dtype(dtype), width
        self._first: np.ndarray | None = None
        self._file: Any = None
        self._length = 0

    def append(self, piece: np.ndarray) -> None:
        """Add rows (n,) or (n, width)."""
        piece = np.ascontiguousarray(piece, dtype=self._dtype)
        if self._length == 0:
            self._first = piece
        else:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the array
                self._rows().tofile(self._file)
                self._first = None
            piece.tofile(self._file)
        self._length += len(piece)

    def close(self) -> np.ndarray:
        """The whole column (n,) or (n, width)."""
        if self._file is None:
            return self._rows()
        shape = (self._length,) if self._width is None else (self._length, self._width)
        with self._file:
            self._file.flush()
            if 0 in shape:  # nothing can be mapped
                return np.empty(shape, dtype=self._dtype)
            return np.asarray(np.memmap(self._file, dtype=self._dtype, mode="r+", shape=shape))

    def _rows(self) -> np.ndarray:
        if self._first is None:
            return np.empty((0,) if self._width is None else (0, self._width), dtype=self._dtype)
        return self._first


class Texts(Sequence[str]):
    """A sequence of texts in two arrays: UTF-8 bytes, and where each begins."""

    def __init__(self, data: np.ndarray, starts: np.ndarray) -> None:
        self._data, self._starts = data, starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "Texts": ...
    def __getitem__(self, index: int | slice) -> "str | Texts":
        """A text, or a range of them that shares the arrays."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                raise ValueError("texts are sliced without a step")
            return Texts(self._data, self._starts[start : max(start, stop) + 1])
        row = range(len(self))[index]
        return bytes(self._data[self._starts[row] : self._starts[row + 1]]).decode()


class TextWriter:
    """Collects pieces of a column of texts."""

    def __init__(self) -> None:
        self._data, self._lengths = ColumnWriter(np.uint8), ColumnWriter(np.int64)

    def append(self, texts: Sequence[str]) -> None:
        """Add rows."""
        encoded = [text.encode() for text in texts]
        self._data.append(np.frombuffer(b"".join(encoded), dtype=np.uint8))
        self._lengths.append(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)))

    def close(self) -> Texts:
        """All of them."""
        return Texts(self._data.close(), np.concatenate([[0], np.cumsum(self._lengths.close())]))
