"""The end of a worker that cannot go on: at once, without a shutdown path that could commit or publish half a poll."""

import logging
import os
import sys
import threading
from collections.abc import Callable
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


def start_watchdog(fatality: Callable[[], str | None], *, every_s: float) -> None:
    """Ask from a thread, so that a blocked event loop is noticed too, and end the process when there is an answer.

    A consumer that silently stops fetching is a known failure of long-running Faust workers; a restart cures it.
    """

    def watch() -> None:
        while True:
            threading.Event().wait(every_s)
            try:
                why = fatality()
            except Exception as error:  # noqa: BLE001 - a watchdog that died would be noticed by nobody
                fail_stop(f"the watchdog failed: {type(error).__name__}: {error}", error)
            if why is not None:
                fail_stop(f"{why}; ending, so that a restart can cure it")

    threading.Thread(target=watch, name="watchdog", daemon=True).start()
