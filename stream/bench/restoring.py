"""Runs a worker, or stock Faust, with a clock around Faust's recovery: from its first changelog read to its end.

python -m stream.bench.restoring FIGURES worker ...
python -m stream.bench.restoring FIGURES restore LANE
"""

import json
import sys
from functools import wraps
from importlib import import_module
from pathlib import Path
from runpy import run_module
from time import time
from typing import Any

RECOVERY = "faust.tables.recovery"
"""By name: only the shell imports what is Faust's. The worker's recovery is a subclass, and calls both methods."""


def install(figures: Path) -> None:
    """Leave `began` and `ended`, wall-clock seconds, in a file whenever a recovery has ended.

    Raises AttributeError if Faust's methods are no longer there.
    """
    recovery = import_module(RECOVERY).Recovery
    started, ended = recovery._set_recovery_started, recovery._set_recovery_ended
    began: list[float] = []

    @wraps(started)
    def starts(self: Any) -> None:
        began.append(time())
        started(self)

    @wraps(ended)
    def ends(self: Any) -> None:
        running = self.in_recovery
        ended(self)
        if running and began:
            complete = figures.with_suffix(".part")
            complete.write_text(json.dumps({"began": began[0], "ended": time()}))
            complete.rename(figures)

    recovery._set_recovery_started, recovery._set_recovery_ended = starts, ends


def main() -> None:
    """Run the command line after FIGURES."""
    install(Path(sys.argv.pop(1)))
    run_module("stream" if sys.argv[1] == "worker" else "stream.bench.variants", run_name="__main__")


if __name__ == "__main__":
    main()
