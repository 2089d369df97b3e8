"""The program `fewstep` with one protection switched off: python tests/faults/unprotected.py PROTECTION ARGUMENT..."""

import asyncio
import sys
from typing import Any


def without_acknowledgement() -> None:
    """Messages are handed to the producer and applied at once, as if the broker had acknowledged them."""
    from stream.shell import publisher

    acknowledged = publisher.publish
    under_way = set()

    async def at_once(producer: Any, messages: Any) -> Any:
        task = asyncio.ensure_future(acknowledged(producer, messages))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        return dict.fromkeys(messages, -1)

    publisher.publish = at_once


SWITCHES = {"acknowledgement": without_acknowledgement}


if __name__ == "__main__":
    SWITCHES[sys.argv.pop(1)]()
    from stream.__main__ import main

    main()
