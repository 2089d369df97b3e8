"""Reads and writes files of wire messages: JSON Lines (`.jsonl`, `.jsonl.gz`) and Parquet with the same columns."""

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import BaseModel, ValidationError

from schemas import SCHEMA_VERSION
from schemas.errors import ConfigurationError, DataError, complaint

M = TypeVar("M", bound=BaseModel)
FORMATS = (".jsonl", ".jsonl.gz", ".parquet")


def read(path: Path, model: type[M]) -> Iterator[tuple[int, M]]:
    """Yield (line number from 1, message) of a file; in Parquet a line is a row.

    Raises DataError naming file and line for a missing file, an unknown format, a line that `model` refuses, and a
    schema version that this build does not know.
    """
    yield from _parquet(path, model) if path.name.endswith(".parquet") else _json_lines(path, model)


@contextmanager
def writing(path: Path) -> Iterator[IO[str]]:
    """Give a file to write to, gzip where `path` ends in `.gz`; it appears at `path` whole or not at all.

    Raises DataError where the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(partial, "wt") if path.name.endswith(".gz") else partial.open("w", encoding="utf-8") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"cannot write {path}: {reason}; choose a folder that can be written") from None
    finally:
        with suppress(OSError):  # it has become the file, or could not be made
            partial.unlink()


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, bytes) of a text file's lines, empty ones left out.

    Raises DataError for a missing or damaged file and for an unknown format.
    """
    if not path.name.endswith(FORMATS[:2]):
        raise DataError(f"{path}: unknown format; give a file that ends in {', '.join(FORMATS)}")
    try:
        with gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> DataError:
    """The error for a file that cannot be opened or is cut short."""
    reason = getattr(error, "strerror", None) or error
    return DataError(f"cannot read {path}: {reason}; check the path and the file")


def _json_lines(path: Path, model: type[M]) -> Iterator[tuple[int, M]]:
    for number, line in lines_of(path):
        try:
            message = model.model_validate_json(line)
        except ValidationError as error:
            raise DataError(f"{path}, line {number}: {complaint(error)}; correct or remove the line") from None
        _require_known_version(message, f"{path}, line {number}")
        yield number, message


def _parquet(path: Path, model: type[M]) -> Iterator[tuple[int, M]]:
    try:
        import polars
    except ImportError:
        raise ConfigurationError(f"{path}: Parquet needs polars; install fewstep[train], or give .jsonl") from None
    try:
        frame = polars.read_parquet(path)
    except (OSError, polars.exceptions.PolarsError) as error:
        raise unreadable(path, error) from None
    yield from read_frame(frame, path, model)


def read_frame(frame: Any, path: Path, model: type[M], *, first: int = 1) -> Iterator[tuple[int, M]]:
    """Yield (row number, message) of a polars frame whose first row is row `first` of the file at `path`.

    Raises DataError for a row that `model` refuses.
    """
    for number, row in enumerate(frame.iter_rows(named=True), start=first):
        try:
            message = model.model_validate(_present(row))
        except ValidationError as error:
            raise DataError(f"{path}, row {number}: {complaint(error)}; correct or remove the row") from None
        _require_known_version(message, f"{path}, row {number}")
        yield number, message


def _require_known_version(message: BaseModel, where: str) -> None:
    version = getattr(message, "schema_version", SCHEMA_VERSION)
    if version > SCHEMA_VERSION:
        raise DataError(f"{where}: schema_version {version} is newer than {SCHEMA_VERSION}; upgrade fewstep")


def _present(row: dict[str, Any]) -> dict[str, Any]:
    # A column holds null where a JSON line simply lacks the field, down into structs such as `features`.
    return {
        name: _present(value) if isinstance(value, dict) else value for name, value in row.items() if value is not None
    }
