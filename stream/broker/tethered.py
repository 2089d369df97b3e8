"""Run as a script: becomes the given command, which the kernel then ends together with its parent (Linux).

It is a process of its own and not a hook between fork and exec, because Python code there can deadlock once the
parent has threads, and every Kafka client has.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _become(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel was told
            raise SystemExit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
