"""The state of a user at the moment of a list, folded from the inputs alone."""

from enum import StrEnum

from schemas import Role
from stream.audit.inputs import Inputs, fold_event
from stream.core.decode import Forget
from stream.core.fold import UserKey
from stream.core.provenance import StateVersion
from stream.core.state import EMPTY, UserState
from stream.settings import StateSettings


class Unchecked(StrEnum):
    """Why a list cannot be computed again. It is counted apart: neither right nor wrong."""

    NO_PROVENANCE = "no-provenance"
    """It has no header `fewstep-state`: an older build wrote it."""
    RETENTION = "retention"
    """An input that it includes is no longer in the topic."""
    COMPACTION = "compaction"
    """The users topic is compacted, and no longer holds the profile, or what made the worker forget the user."""
    LISTINGS = "listings"
    """It was made when the items topic said something else than what it says now."""
    NO_BUNDLE = "no-bundle"
    """The model store does not have the model version that it names."""


class InexplicableError(Exception):
    """No fold of the inputs gives a state of this version: an event was lost, or applied twice."""


def states_at(
    user: UserKey, version: StateVersion, inputs: Inputs, config: StateSettings
) -> list[UserState] | Unchecked:
    """The state of this version, or the few that it can have been.

    Raises InexplicableError with one line on what does not add up.
    """
    states = _after_interactions(user, version, inputs, config)
    if isinstance(states, Unchecked) or version.users < 0:
        return states
    features = inputs.profiles.get(user, {}).get(version.users)
    if features is None:
        if user[0] in inputs.users_compacted:
            return Unchecked.COMPACTION
        raise InexplicableError(f"the users topic has no profile of this user at offset {version.users}")
    return [state._replace(features=features, users_offset=version.users) for state in states]


def _after_interactions(
    user: UserKey, version: StateVersion, inputs: Inputs, config: StateSettings
) -> list[UserState] | Unchecked:
    if version.interactions < 0:
        return [EMPTY]
    first = inputs.first.get((Role.INTERACTIONS, user[0]), 0)
    if version.interactions < first:
        return Unchecked.RETENTION
    state = inputs.states.get((user, version.interactions))
    if state is None:
        raise InexplicableError(f"the interactions topic has no event of this user at offset {version.interactions}")
    if state.events >= version.events and _forgotten_otherwise(user, version, inputs):
        found = _since_forgotten(user, version, inputs, config)
        if found:
            return found
    if state.events == version.events:
        return [state]
    if state.events < version.events:
        if first:
            return Unchecked.RETENTION
        raise InexplicableError(f"{version.events} events were applied, the topic holds {state.events}")
    if user[0] in inputs.users_compacted:
        return Unchecked.COMPACTION
    raise InexplicableError(f"{version.events} events were applied, the topic holds more, and nothing forgot them")


def _forgotten_otherwise(user: UserKey, version: StateVersion, inputs: Inputs) -> bool:
    """True if a record of the users topic, or one after these events, can have made the worker forget the user.

    A tombstone after them can: it was applied, then a worker died, and the events came again.
    """
    later = (at > version.interactions and isinstance(decoded, Forget) for at, decoded in inputs.events[user])
    return user in inputs.forgotten_by_users_topic or any(later)


def _since_forgotten(user: UserKey, version: StateVersion, inputs: Inputs, config: StateSettings) -> list[UserState]:
    """The states that some last events give which are as many as the version says.

    The topics do not tell when the user was forgotten. There is more than one such state where event ids repeat.
    """
    records = [(at, decoded) for at, decoded in inputs.events[user] if at <= version.interactions]
    found: list[UserState] = []
    for start in reversed(range(len(records))):
        state = EMPTY
        for at, decoded in records[start:]:
            state = fold_event(state, decoded, at, config)
        if state.events == version.events and state not in found:
            found.append(state)
        if state.events > version.events:
            break
    return found
