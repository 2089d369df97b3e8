"""Commands run as processes of their own that end together with this one, whichever way it ends."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from schemas.errors import FewstepError
from stream.broker import tethered

STOP_WITHIN_S = 10.0


def environment(home: Path) -> dict[str, str]:
    """Ours, but libraries that cache in the folder for temporary files do it in `home`, which is deleted in the end."""
    return {**os.environ, "TMPDIR": str(home)}


def fewstep(arguments: Sequence[str]) -> list[str]:
    """The command line of `fewstep ARGUMENTS`, in this Python."""
    return [sys.executable, "-m", "stream", *arguments]


def run(arguments: Sequence[str], *, home: Path) -> str:
    """Run `fewstep ARGUMENTS` in the foreground; its progress goes to our stderr, its output is given back.

    What it leaves in the folder for temporary files, it leaves in `home`. Raises FewstepError if it fails; what went
    wrong it has already said.
    """
    done = subprocess.run(fewstep(arguments), stdout=subprocess.PIPE, text=True, check=False, env=environment(home))
    if done.returncode == -signal.SIGINT or done.returncode == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if done.returncode != 0:
        raise FewstepError(f"fewstep {arguments[0]} failed with exit code {done.returncode}, see above")
    return done.stdout


def launch(command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """Start a command in the background; what it says is appended to `log`, its temporary files lie beside it.

    The process is tied to the life of the *thread* that calls this (Linux).
    """
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(tethered.__file__)), str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment(log.parent),
            start_new_session=True,  # Ctrl-C reaches us alone, and we then end it in good order
        )


def end(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, and SIGKILL if it does not end in time; returns when it is gone."""
    process.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_WITHIN_S)
    finally:  # also on a second Ctrl-C
        process.kill()
        process.wait()


def last_words(log: Path) -> str:
    """The last line of a log, for an error message."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it wrote nothing"
