"""The end of a worker that cannot go on: at once, without a shutdown path that could commit or publish half a poll."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from time import monotonic
from typing import NoReturn

EXIT_FAILED = 70
"""EX_SOFTWARE. A supervisor restarts the worker at once: nothing unapplied was committed."""

logger = logging.getLogger("fewstep.worker")


def fail_stop(why: str, error: BaseException | None = None, *, exit_code: int = EXIT_FAILED) -> NoReturn:
    """Log one line (with --verbose the traceback too) and end the process."""
    logger.critical("%s", why, exc_info=error if logger.isEnabledFor(logging.DEBUG) else None)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def start_watchdog(is_behind: Callable[[], bool], progress: Callable[[], object], *, timeout_s: float) -> None:
    """Watch from a thread, so that a blocked event loop is noticed too.

    Ends the process when `is_behind` has held for `timeout_s` seconds without `progress` changing. A consumer that
    silently stops fetching is a known failure of long-running Faust workers; a restart cures it.
    """

    def watch() -> None:
        seen, since = progress(), monotonic()
        while True:
            threading.Event().wait(min(1.0, timeout_s / 4))
            now = progress()
            if now != seen or not is_behind():
                seen, since = now, monotonic()
            elif monotonic() - since > timeout_s:
                fail_stop(
                    f"no progress for {timeout_s:.0f} s with records waiting; ending, so that a restart can cure it"
                )

    threading.Thread(target=watch, name="watchdog", daemon=True).start()
