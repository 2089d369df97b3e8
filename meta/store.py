"""A place for files, an fsspec URL or a path, read and written by names below it: the model store, and the archive."""

import os
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import ValidationError

from schemas import Latest
from schemas.errors import BundleError, ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_UNFINISHED = ".unfinished"


class Store(NamedTuple):
    """An opened store: its filesystem, its path on it, and its URL and what it is for messages."""

    filesystem: Any
    root: str
    url: str
    what: str = "model store"


def open_store(url: str, what: str = "model store") -> Store:
    """Open a store; nothing is read yet. Raises ConfigurationError for a URL that no installed filesystem serves."""
    try:
        filesystem, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except (ValueError, ImportError, OSError) as error:
        raise ConfigurationError(f"{what} {url} cannot be opened: {_line(error)}; correct {_flag(what)}") from error
    return Store(filesystem, root.rstrip("/"), url, what)


def path_of(store: Store, *names: str) -> str:
    """The path of a file on the store's filesystem. Raises ConfigurationError for a name that could leave the store."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} is no name in a {store.what}: use letters, digits, '.', '_' and '-'")
    return "/".join((store.root, *names))


def read_file(store: Store, *names: str) -> bytes | None:
    """The content of a file, None where there is none. Raises BundleError for anything else."""
    path = path_of(store, *names)
    try:
        content: bytes = store.filesystem.cat_file(path)
    except FileNotFoundError:
        return None
    except Exception as error:  # remote filesystems have errors of their own, without a common base
        raise _failed(store, names, "read", error) from error
    return content


def read_latest(store: Store, model: str) -> Latest | None:
    """Which version of a model is served, None where none is. Raises BundleError where that cannot be read."""
    content = read_file(store, model, "latest.json")
    if content is None:
        return None
    try:
        return Latest.model_validate_json(content)
    except ValidationError as error:
        raise BundleError(f"{model}/latest.json of {store.what} {store.url} is damaged; write it again") from error


def write_file(store: Store, content: bytes, *names: str) -> None:
    """Write a file whole: under another name first, so that no reader meets half of it.

    Raises BundleError where the store cannot be written to.
    """
    path = path_of(store, *names)
    unfinished = _unfinished(path)
    try:
        store.filesystem.makedirs(_folder(path), exist_ok=True)
        store.filesystem.pipe_file(unfinished, content)
        store.filesystem.mv(unfinished, path)
    except Exception as error:  # as above
        raise _failed(store, names, "written", error) from error


def create_file(store: Store, content: bytes, *names: str) -> bool:
    """Write a file whole if there is none of this name; False where there is one. Of two writers one gets True.

    On a local disk by a hard link, elsewhere by what the filesystem offers as `mode="create"`: on S3 and Google
    Cloud Storage a conditional request, on others a look beforehand.
    Raises BundleError where the store cannot be written to.
    """
    path = path_of(store, *names)
    filesystem = store.filesystem
    try:
        filesystem.makedirs(_folder(path), exist_ok=True)
        if not isinstance(filesystem, LocalFileSystem):
            filesystem.pipe_file(path, content, mode="create")
            return True
        unfinished = _unfinished(path)
        filesystem.pipe_file(unfinished, content)
        try:
            os.link(unfinished, path)
        finally:
            filesystem.rm_file(unfinished)
    except FileExistsError:
        return False
    except Exception as error:  # as above
        raise _failed(store, names, "written", error) from error
    return True


def require_writable(store: Store, *names: str) -> None:
    """Write to a folder and take it back: better to hear of missing rights before a training than after it.

    Raises BundleError where the folder cannot be written to.
    """
    path = _unfinished(path_of(store, *names, "probe"))
    try:
        store.filesystem.makedirs(_folder(path), exist_ok=True)
        store.filesystem.pipe_file(path, b"")
        store.filesystem.rm_file(path)
    except Exception as error:  # as above
        raise _failed(store, names, "written", error) from error


def list_names(store: Store, *names: str) -> list[str]:
    """Names of what lies in a folder, sorted; empty where there is no such folder. Unfinished files are left out.

    Raises BundleError where it cannot be read.
    """
    path = path_of(store, *names)
    try:
        found = store.filesystem.ls(path, detail=False)
    except FileNotFoundError:
        return []
    except Exception as error:  # as above
        raise _failed(store, names, "listed", error) from error
    leaves = (each.rstrip("/").rpartition("/")[2] for each in found)
    return sorted(leaf for leaf in leaves if _NAME.fullmatch(leaf))


def remove(store: Store, *names: str, first: Iterable[str] = ()) -> None:
    """Delete a file, or a folder with all that is in it, the files named `first` before the others.

    What is not there is no error. Raises BundleError where it cannot be deleted.
    """
    path = path_of(store, *names)
    try:
        for each in (*(path_of(store, *names, name) for name in first), path):
            if store.filesystem.exists(each):
                store.filesystem.rm(each, recursive=True)
    except FileNotFoundError:  # another process tidies up too
        return
    except Exception as error:  # as above
        raise _failed(store, names, "deleted", error) from error


def remove_unfinished(store: Store, *names: str, before: datetime) -> None:
    """Delete what writers that were killed left in a folder before that moment; younger files may be in the making.

    Raises BundleError where it cannot be deleted.
    """
    path = path_of(store, *names)
    try:
        if not store.filesystem.exists(path):
            return
        for each in store.filesystem.ls(path, detail=False):
            if each.endswith(_UNFINISHED) and store.filesystem.modified(each) < before:
                store.filesystem.rm_file(each)
    except FileNotFoundError:  # it was finished meanwhile, or another process tidies up too
        return
    except Exception as error:  # as above
        raise _failed(store, names, "tidied", error) from error


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _unfinished(path: str) -> str:
    # Two processes may write the same file: each under a name of its own.
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.{uuid4().hex}{_UNFINISHED}"


def _failed(store: Store, names: tuple[str, ...], attempt: str, error: Exception) -> BundleError:
    return BundleError(
        f"{'/'.join(names)} of {store.what} {store.url} cannot be {attempt}: {_line(error)}; "
        f"correct {_flag(store.what)}, or check the store's rights"
    )


def _flag(what: str) -> str:
    return f"--{what.replace(' ', '-')}"


def _line(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())[:200] or type(error).__name__
