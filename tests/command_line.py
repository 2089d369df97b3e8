"""What tests of the command line share: running it, and lists as the worker would publish them."""

import subprocess
from collections.abc import Callable
from typing import Any

from schemas import Recommendation, RecommendedItem, Role, Source, topic_name
from schemas.outputs import Reason
from stream.settings import Settings

Run = Callable[..., "subprocess.CompletedProcess[str]"]
"""Runs the program with these arguments; keywords are environment variables."""


def make_list(user: str, settings: Settings, partition: int = 0, offset: int = 0, **changes: Any) -> Recommendation:
    """A list of two items for a user, as the worker would publish it."""
    fields: dict[str, Any] = {
        "user_id": user,
        "model": "m",
        "model_version": "v1",
        "items": [
            RecommendedItem(item_id="i1", score=2.5, reasons=[Reason(item_id="i9", contribution=0.75)]),
            RecommendedItem(item_id="i2", score=1.5),
        ],
        "support_size": 1,
        "source": Source(
            topic=topic_name(Role.INTERACTIONS, settings.kafka.topic_prefix), partition=partition, offset=offset
        ),
        "generated_at": "2026-01-01T00:00:00.000Z",
    }
    return Recommendation(**(fields | changes))
