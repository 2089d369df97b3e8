"""Reads files of the model store, an fsspec URL or a path, and nothing outside of it."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
from fsspec.implementations.local import LocalFileSystem

from schemas.errors import BundleError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Store(NamedTuple):
    """An opened model store: the filesystem, the path of the store on it, and the URL for messages."""

    filesystem: Any
    root: str
    url: str


def open_store(url: str) -> Store:
    """Open a store; nothing is read yet. Raises BundleError for a URL that no installed filesystem serves."""
    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError, OSError) as error:
        raise BundleError(f"model store {url} cannot be opened: {_line(error)}; correct model.store") from error
    return Store(filesystem, root.rstrip("/"), url)


def read_file(store: Store, *names: str, size: int | None = None) -> bytes:
    """The content of the file `<store>/<name>/<name>...`; `size` is what it must have, checked before it is read.

    Raises BundleError for a name that could leave the store, a file that is missing or of another size, and anything
    that the filesystem reports.
    """
    path = "/".join((store.root, *names))
    where = f"{'/'.join(names)} of model store {store.url}"
    for name in names:
        if not _NAME.fullmatch(name):
            raise BundleError(f"{name!r} is no name within model store {store.url}: use letters, digits, '.', '_', '-'")
    if isinstance(store.filesystem, LocalFileSystem) and not _is_within(path, store.root):
        raise BundleError(f"{where} is a link out of the store: publish the bundle with the file itself")
    try:
        found = None if size is None else store.filesystem.size(path)
        content: bytes = store.filesystem.cat_file(path) if found == size else b""
    except FileNotFoundError as error:
        raise BundleError(
            f"{where} does not exist: publish the model, or correct model.store, model.name or model.challenger"
        ) from error
    except Exception as error:  # remote filesystems have errors of their own, without a common base
        raise BundleError(f"{where} cannot be read: {_line(error)}; check the store and its rights") from error
    if found != size:
        raise BundleError(f"{where} has {found} bytes, its manifest says {size}: publish the model again")
    return content


def _is_within(path: str, root: str) -> bool:
    return Path(path).resolve().is_relative_to(Path(root).resolve())


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
