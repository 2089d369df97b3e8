"""The model store: an fsspec URL or a path, read and written by names below it."""

import re
from typing import Any, NamedTuple

import fsspec
from pydantic import ValidationError

from schemas import Latest
from schemas.errors import BundleError, ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Store(NamedTuple):
    """An opened model store: its filesystem, its path on it, and its URL for messages."""

    filesystem: Any
    root: str
    url: str


def open_store(url: str) -> Store:
    """Open a store; nothing is read yet. Raises ConfigurationError for a URL that no installed filesystem serves."""
    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError, OSError) as error:
        raise ConfigurationError(
            f"model store {url} cannot be opened: {_line(error)}; correct --model-store"
        ) from error
    return Store(filesystem, root.rstrip("/"), url)


def path_of(store: Store, *names: str) -> str:
    """The path of a file on the store's filesystem. Raises ConfigurationError for a name that could leave the store."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} is no name in a model store: use letters, digits, '.', '_' and '-'")
    return "/".join((store.root, *names))


def read_file(store: Store, *names: str) -> bytes | None:
    """The content of a file, None where there is none. Raises BundleError for anything else."""
    path = path_of(store, *names)
    try:
        content: bytes = store.filesystem.cat_file(path)
    except FileNotFoundError:
        return None
    except Exception as error:  # remote filesystems have errors of their own, without a common base
        raise BundleError(f"{'/'.join(names)} of model store {store.url} cannot be read: {_line(error)}") from error
    return content


def read_latest(store: Store, model: str) -> Latest | None:
    """Which version of a model is served, None where none is. Raises BundleError where that cannot be read."""
    content = read_file(store, model, "latest.json")
    if content is None:
        return None
    try:
        return Latest.model_validate_json(content)
    except ValidationError as error:
        raise BundleError(f"{model}/latest.json of model store {store.url} is damaged; write it again") from error


def write_file(store: Store, content: bytes, *names: str) -> None:
    """Write a file whole: under another name first, so that no reader meets half of it.

    Raises BundleError where the store cannot be written to.
    """
    path = path_of(store, *names)
    folder, _, name = path.rpartition("/")
    unfinished = f"{folder}/.{name}.unfinished"
    try:
        store.filesystem.makedirs(folder, exist_ok=True)
        store.filesystem.pipe_file(unfinished, content)
        store.filesystem.mv(unfinished, path)
    except Exception as error:  # as above
        raise BundleError(
            f"{'/'.join(names)} of model store {store.url} cannot be written: {_line(error)}; check the store's rights"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
