"""Commands of `fewstep` run as real processes."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from schemas.errors import FewstepError
from stream.broker import tethered
from stream.shell.failstop import EXIT_FAILED

STOP_WITHIN_S = 10.0


def run(arguments: Sequence[str], *, home: Path) -> str:
    """Run `fewstep ARGUMENTS` in the foreground; its progress goes to our stderr, its output is given back.

    What it leaves in the folder for temporary files, it leaves in `home`. Raises FewstepError if it fails; what went
    wrong it has already said.
    """
    done = subprocess.run(_command(arguments), stdout=subprocess.PIPE, text=True, check=False, env=_environment(home))
    if done.returncode == -signal.SIGINT or done.returncode == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if done.returncode != 0:
        raise FewstepError(f"fewstep {arguments[0]} failed with exit code {done.returncode}, see above")
    return done.stdout


class SupervisedWorker:
    """`fewstep worker` as a child process that is started again when it ends with exit code 70.

    That is what a supervisor does in production: the worker ends itself rather than risk losing an event.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._arguments, self._log = arguments, log
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self.restarts = 0
        self.failure: str | None = None
        """Why it is not running, once it ended with another exit code."""

    def __enter__(self) -> Self:
        # Started here and not in the thread below: a child is tied to the life of the thread that starts it.
        self._launch()
        threading.Thread(target=self._watch, name="supervisor", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_WITHIN_S)
        finally:  # also on a second Ctrl-C
            process.kill()
            process.wait()

    def _launch(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    str(Path(tethered.__file__)),
                    str(os.getpid()),
                    *_command(self._arguments),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(self._log.parent),
                start_new_session=True,  # Ctrl-C reaches the demo alone, which then ends it in good order
            )

    def _watch(self) -> None:
        while self._process is not None:
            code = self._process.wait()
            if self._stopping.is_set():
                return
            if code != EXIT_FAILED:
                lines = self._log.read_text(errors="replace").strip().splitlines() or ["it wrote nothing"]
                self.failure = f"the worker ended with exit code {code}: {lines[-1]}"
                return
            self.restarts += 1
            self._launch()


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "stream", *arguments]


def _environment(home: Path) -> dict[str, str]:
    """Ours, but libraries that cache in the folder for temporary files do it in `home`, which is deleted in the end."""
    return {**os.environ, "TMPDIR": str(home)}
