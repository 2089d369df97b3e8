"""The worker of the demo: a real process, and a supervisor as production has one."""

import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from stream.children import end, fewstep, last_words, launch
from stream.shell.failstop import EXIT_FAILED


class SupervisedWorker:
    """`fewstep worker` as a child process that is started again when it ends with exit code 70.

    That is what a supervisor does in production: the worker ends itself rather than risk losing an event.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._arguments, self._log = arguments, log
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self.failure: str | None = None
        """Why it is not running, once it ended with another exit code."""

    def __enter__(self) -> Self:
        # Started here and not in the thread below: a child is tied to the life of the thread that starts it.
        self._launch()
        threading.Thread(target=self._watch, name="supervisor", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self._process is not None:
            end(self._process)

    def _launch(self) -> None:
        self._process = launch(fewstep(self._arguments), self._log)

    def _watch(self) -> None:
        while self._process is not None:
            code = self._process.wait()
            if self._stopping.is_set():
                return
            if code != EXIT_FAILED:
                self.failure = f"the worker ended with exit code {code}: {last_words(self._log)}"
                return
            self._launch()
