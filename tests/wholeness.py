"""What has to hold of all that a deployment wrote while versions changed."""

from collections.abc import Sequence
from typing import Any

import orjson
from deployment import Deployment

from schemas import Role
from stream.core.codec import decode_row


def assert_counted_once(served: Deployment, events: int) -> None:
    """The support sets have seen so many events."""
    rows = served.changelog().last.items()
    assert sum(decode_row(row or b"", key).events for key, row in rows) == events


def published(served: Deployment) -> list[dict[str, Any]]:
    """All lists, those of a user in order."""
    records = served.records(served.topic(Role.RECOMMENDATIONS))
    return [orjson.loads(record.value) for record in records if record.value is not None]


def assert_not_doubled(lists: Sequence[dict[str, Any]]) -> None:
    """Nothing that a user did was answered twice."""
    sources = [(one["user_id"], *one["source"].values()) for one in lists]
    assert len(set(sources)) == len(sources)


def assert_not_mixed(lists: Sequence[dict[str, Any]], versions: Sequence[str]) -> None:
    """A user's version only moves on in the order in which they were served, and the lists of a poll have the same."""
    reached: dict[str, int] = {}
    polls: dict[tuple[int, str], set[str]] = {}
    for one in lists:
        user, version = one["user_id"], one["model_version"]
        assert version in versions[reached.get(user, 0) :], f"the versions of {user} fall"
        reached[user] = versions.index(version, reached.get(user, 0))
        polls.setdefault((one["source"]["partition"], one["generated_at"]), set()).add(version)
    assert all(len(of_poll) == 1 for of_poll in polls.values())
