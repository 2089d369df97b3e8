"""Runs fewstep and kills it at a named place of its code, as SIGKILL would at that moment:

    KILLED_AT="before 2 meta.refresh.archive:Archive.commit" python tests/killed_at.py refresh ...

The process dies before or after that call of the function, counted from 1. Without KILLED_AT it runs as ever.
"""

import os
import signal
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

PROGRAM = str(__file__)


def arm(point: str) -> None:
    """Replace the function by one that dies."""
    when, number, where = point.split()
    module, _, path = where.partition(":")
    *parents, name = path.split(".")
    owner: Any = import_module(module)
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, name, dying(getattr(owner, name), int(number), before=when == "before"))


def dying(function: Callable[..., Any], number: int, *, before: bool) -> Callable[..., Any]:
    """The function, which ends the process at its call of that number."""
    calls = 0

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if before and calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **options)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


if __name__ == "__main__":
    if where_to_die := os.environ.pop("KILLED_AT", None):
        arm(where_to_die)
    from stream.__main__ import main

    main()
