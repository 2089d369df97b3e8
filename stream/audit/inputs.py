"""What the input topics say of the users whose lists are audited."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import orjson

from schemas import Role, topic_name
from stream.clients.whole_topic import WholeTopic
from stream.core.decode import Forget, Profile, Request, decode
from stream.core.events import Event
from stream.core.fold import UserKey
from stream.core.records import Record
from stream.core.state import EMPTY, UserState, apply_event
from stream.settings import Settings, StateSettings


@dataclass
class Inputs:
    """Decoded records by user, in order; `profiles` and `requests` also by offset. `first` as in WholeTopic."""

    events: dict[UserKey, list[tuple[int, Event | Forget]]] = field(default_factory=dict)
    states: dict[tuple[UserKey, int], UserState] = field(default_factory=dict)
    """The fold of a user's events up to the offsets that were asked for."""
    profiles: dict[UserKey, dict[int, bytes]] = field(default_factory=dict)
    """Flat JSON objects, as a row holds them."""
    forgotten_by_users_topic: set[UserKey] = field(default_factory=set)
    requests: dict[tuple[UserKey, int], Request] = field(default_factory=dict)
    first: dict[tuple[Role, int], int] = field(default_factory=dict)
    users_compacted: set[int] = field(default_factory=set)
    """Partitions of the users topic in which records are missing."""


def read_inputs(settings: Settings, offsets: Mapping[UserKey, Collection[int]]) -> Inputs:
    """Read the three input topics as a worker with these settings reads them. Raises BrokerError.

    `offsets` are those of the interactions at which the users' states are wanted; other users are passed over.
    """
    inputs = Inputs()
    newest: dict[UserKey, UserState] = {}
    for role in (Role.INTERACTIONS, Role.USERS, Role.REQUESTS):
        topic = WholeTopic(settings.kafka, topic_name(role, settings.kafka.topic_prefix))
        for raw in topic:
            record = Record(role, raw.topic, raw.partition, raw.offset, raw.timestamp, raw.key, raw.value, raw.headers)
            decoded = decode(record, settings.limits)
            if isinstance(decoded, Event | Forget | Profile | Request):
                user = record.partition, decoded.key
                if user not in offsets:
                    continue
                _keep(inputs, user, record, decoded)
                if role is Role.INTERACTIONS and isinstance(decoded, Event | Forget):
                    newest[user] = fold_event(newest.get(user, EMPTY), decoded, record.offset, settings.state)
                    if record.offset in offsets[user]:
                        inputs.states[user, record.offset] = newest[user]
        inputs.first |= {(role, partition): offset for partition, offset in topic.first.items()}
        if role is Role.USERS:
            inputs.users_compacted = {partition for partition, gaps in topic.gaps.items() if gaps}
            inputs.users_compacted |= {partition for partition, offset in topic.first.items() if offset}
    return inputs


def fold_event(state: UserState, decoded: Event | Forget, offset: int, config: StateSettings) -> UserState:
    """The state after one more record of the interactions topic."""
    return EMPTY if isinstance(decoded, Forget) else apply_event(state, decoded, offset, config)[0]


def _keep(inputs: Inputs, user: UserKey, record: Record, decoded: Event | Forget | Profile | Request) -> None:
    if isinstance(decoded, Request):
        inputs.requests[user, record.offset] = decoded
    elif isinstance(decoded, Profile):
        inputs.profiles.setdefault(user, {})[record.offset] = orjson.dumps(decoded.features)
    elif record.role is Role.INTERACTIONS:
        inputs.events.setdefault(user, []).append((record.offset, decoded))
    else:
        inputs.forgotten_by_users_topic.add(user)
