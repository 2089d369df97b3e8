"""Run as a script beside a broker: once the process that started it is gone, ends the broker and deletes its files.

However that process ends, SIGKILL included, the kernel closes its end of our standard input. Each line until then is
the process group of the broker that runs now, 0 for none.
"""

import contextlib
import os
import shutil
import signal
import sys


def _bury(directory: str) -> None:
    group = 0
    for line in sys.stdin:
        group = int(line)
    if group:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            os.killpg(group, signal.SIGKILL)
    for _ in range(3):  # a broker that is just dying may still create a file
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    _bury(sys.argv[1])
