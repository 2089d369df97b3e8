"""Interactions as producers write them."""

from typing import Any

EPOCH_MS = 1_700_000_000_000


def interaction(user: str, number: int, **changes: Any) -> tuple[str, dict[str, Any]]:
    """The n-th event of a user."""
    fields = {
        "event_id": f"{user}-{number}",
        "user_id": user,
        "item_id": f"i{number}",
        "event_type": "view",
        "timestamp": EPOCH_MS + number * 1000,
    }
    return user, fields | changes
