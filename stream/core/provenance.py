"""What a list was made from, as a header of its message: the state version, and the `now` that it holds for.

With the input topics and the bundle that the list names, that is all that it takes to compute it again.
"""

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream.core.state import UserState

STATE_HEADER = "fewstep-state"


class StateVersion(NamedTuple):
    """Newest offsets that the user's state includes (-1: none), events applied in all, and event time in milliseconds.

    `listings` is that of the catalog. Two lists of one user with the same version, `source` and model version are the
    same list, published twice.
    """

    interactions: int
    users: int
    events: int
    now_ms: int
    listings: str = ""


def state_header(state: UserState, now_ms: int, listings: str = "") -> tuple[str, bytes]:
    """The header of a list made for this state and moment, from a catalog over which `listings` were laid."""
    return STATE_HEADER, b'{"interactions":%d,"users":%d,"events":%d,"now":%d%b}' % (
        state.interactions_offset,
        state.users_offset,
        state.events,
        now_ms,
        b',"listings":"%b"' % listings.encode() if listings else b"",
    )


def read_state_version(headers: Sequence[tuple[str, bytes]]) -> StateVersion | None:
    """The version in a message's headers; None if there is none, as in lists of older builds, or it is damaged."""
    for name, content in headers:
        if name == STATE_HEADER:
            try:
                return StateVersion(**_Header.model_validate_json(content).model_dump())
            except ValidationError:
                return None
    return None


class _Header(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    interactions: int
    users: int
    events: int
    now_ms: int = Field(alias="now")
    listings: str = ""
