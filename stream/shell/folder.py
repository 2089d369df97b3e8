"""The folder of the local state: that it can be written, that one worker holds it, and whose rows are in it."""

import fcntl
import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from schemas.errors import ConfigurationError
from stream.settings import Settings
from stream.topics import changelog_topic

_MARK = "changelog.json"


def require_writable(folder: Path) -> None:
    """Make the folder of the local state where it is missing.

    Raises ConfigurationError if nothing can be written there: Faust would fail over it in its start, and a supervisor
    would start the worker again for ever.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"local state cannot be kept in {folder} ({(error.strerror or str(error)).lower()}): correct --data-dir or "
        "state.data_dir, or the rights on it"
    )


def _locked(folder: Path) -> IO[str]:
    """The file that says whose rows these are, locked for as long as it is open. Raises ConfigurationError."""
    with ExitStack() as closing:
        try:
            mark = closing.enter_context((folder / _MARK).open("a+", encoding="utf-8"))
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go of it however the process ends
        except BlockingIOError:
            raise ConfigurationError(
                f"local state {folder} is another worker's: give each worker a --data-dir of its own"
            ) from None
        except OSError as error:
            raise _unusable(folder, error) from error
        closing.pop_all()
        return mark


@contextmanager
def held(settings: Settings, changelog_id: str) -> Iterator[None]:
    """Hold the folder for this process, and keep it to the changelog that its rows are a copy of.

    Raises ConfigurationError where another worker holds it, and where its rows are a copy of another changelog: that of
    another app id, or one that was deleted and created again. Its offsets would then skip what this one holds, and the
    source offsets in its rows would make events look redelivered.
    """
    folder = settings.state.data_dir
    if settings.state.store == "memory":
        yield
        return
    topic = changelog_topic(settings.worker.app_id)
    wanted = json.dumps({"topic": topic, "topic_id": changelog_id})
    with _locked(folder) as mark:
        mark.seek(0)
        found = mark.read()
        if found not in ("", wanted):
            raise ConfigurationError(
                f"local state {folder} is no copy of changelog {topic} as it is now, but of another app id's, or of "
                "one that was deleted: give another --data-dir, or delete this one, so that it is rebuilt"
            )
        if not found:
            mark.write(wanted)
            mark.flush()
        yield
