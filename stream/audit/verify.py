"""Verifies published lists: each is computed again from its inputs and has to be the same, byte for byte."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import orjson

from schemas import Recommendation, Role, topic_name
from schemas.errors import BundleError
from stream.audit.history import InexplicableError, Unchecked, states_at
from stream.audit.inputs import Inputs, read_inputs
from stream.clients.arrivals import parse_list
from stream.clients.whole_topic import WholeTopic
from stream.core.features import encoding_for
from stream.core.fold import Origin, UserKey, Wanted
from stream.core.lists import make_lists
from stream.core.provenance import StateVersion, read_state_version
from stream.core.state import UserState, offset_of
from stream.engine.bundle import Bundle, load_bundle
from stream.engine.live_items import LiveItems
from stream.settings import Settings

_CHUNK = 512
# Stands for the worker's clock, the one field that nothing can foresee.
_CLOCK = "@"


class Published(NamedTuple):
    """A list as it lies in the recommendations topic."""

    partition: int
    offset: int
    value: bytes
    version: StateVersion | None
    told: Recommendation

    @property
    def user(self) -> UserKey:
        """Whose list it is."""
        return self.partition, self.told.user_id.encode()


class Difference(NamedTuple):
    """A list that does not follow from its inputs. Names no user: the position finds the message."""

    partition: int
    offset: int
    detail: str


@dataclass
class Report:
    """How many lists were looked at and what came of it."""

    lists: int = 0
    verified: int = 0
    unchecked: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)


def verify(settings: Settings, *, user: str | None = None, sample: int | None = None, seed: int = 0) -> Report:
    """Verify all lists, those of one user, or a sample of this size drawn by the seed.

    `settings` are those of the worker that wrote them. Raises BrokerError, and DataError for a message that is no list.
    """
    published = _read_published(settings, user, sample, random.Random(seed))
    offsets: dict[UserKey, set[int]] = {}
    for one in published:
        offsets.setdefault(one.user, set()).add(one.version.interactions if one.version else -1)
    inputs = read_inputs(settings, offsets)
    report = Report(lists=len(published))
    by_origin: dict[tuple[str, str, str], list[tuple[Published, list[Wanted]]]] = {}
    for one in published:
        wanted = _wanted(one, inputs, settings)
        if isinstance(wanted, Unchecked):
            report.unchecked[wanted] += 1
        elif isinstance(wanted, Difference):
            report.differences.append(wanted)
        else:
            listings = one.version.listings if one.version else ""
            by_origin.setdefault((one.told.model, one.told.model_version, listings), []).append((one, wanted))
    items = _read_items(settings) if any(listings for *_, listings in by_origin) else LiveItems()
    for (model, version, listings), pairs in by_origin.items():
        if listings not in ("", items.digest):
            report.unchecked[Unchecked.LISTINGS] += len(pairs)
            continue
        try:
            bundle = load_bundle(settings.model.store, model, version)
            bundle = items.over(bundle) if listings else bundle
        except BundleError:
            report.unchecked[Unchecked.NO_BUNDLE] += len(pairs)
            continue
        found = list(_compare(pairs, bundle, settings))
        report.differences += found
        report.verified += len(pairs) - len(found)
    report.differences.sort()
    return report


def _read_items(settings: Settings) -> LiveItems:
    """What the items topic says now."""
    items = LiveItems()
    items.take(
        (record.key, record.value)
        for record in WholeTopic(settings.kafka, topic_name(Role.ITEMS, settings.kafka.topic_prefix))
    )
    return items


def _read_published(settings: Settings, user: str | None, sample: int | None, rng: random.Random) -> list[Published]:
    """The lists to verify; a sample is drawn while reading (Vitter's algorithm R), so that it needs no more memory."""
    kept: list[Published] = []
    seen = 0
    for record in WholeTopic(settings.kafka, topic_name(Role.RECOMMENDATIONS, settings.kafka.topic_prefix)):
        if record.value is None or (user is not None and record.key != user.encode()):
            continue
        version = read_state_version(record.headers)
        seen += 1
        place = len(kept) if sample is None or len(kept) < sample else rng.randrange(seen)
        if sample is not None and place >= sample:
            continue
        kept[place : place + 1] = [
            Published(record.partition, record.offset, record.value, version, parse_list(record))
        ]
    return kept


def _wanted(one: Published, inputs: Inputs, settings: Settings) -> list[Wanted] | Unchecked | Difference:
    """What the list should have been made for; several where the topics leave it open."""
    if one.version is None:
        return Unchecked.NO_PROVENANCE
    try:
        states = states_at(one.user, one.version, inputs, settings.state)
    except InexplicableError as error:
        return Difference(one.partition, one.offset, str(error))
    if isinstance(states, Unchecked):
        return states
    roles = {
        topic_name(role, settings.kafka.topic_prefix): role for role in (Role.INTERACTIONS, Role.USERS, Role.REQUESTS)
    }
    role = roles.get(one.told.source.topic)
    if role is None:
        return Difference(one.partition, one.offset, f"source: {one.told.source.topic} is no input topic")
    if role is Role.REQUESTS:
        return _wanted_by_request(one, states, inputs, settings)
    wanted = []
    for state in states:
        # Without events, `now` is the time of the record that came, which only the header knows.
        now_ms = state.last_ms if state.codes else one.version.now_ms
        origin = Origin(one.told.source.topic, one.partition, offset_of(state, role), now_ms)
        wanted.append(Wanted(one.user, state, settings.lists.length, None, now_ms, origin))
    return wanted


def _wanted_by_request(
    one: Published, states: Sequence[UserState], inputs: Inputs, settings: Settings
) -> list[Wanted] | Unchecked | Difference:
    source = one.told.source
    request = inputs.requests.get((one.user, source.offset))
    if request is None:
        if source.offset < inputs.first.get((Role.REQUESTS, one.partition), 0):
            return Unchecked.RETENTION
        return Difference(one.partition, one.offset, f"source: no request of this user at offset {source.offset}")
    wanted = []
    for state in states:
        now_ms = max(state.last_ms, request.timestamp_ms)
        origin = Origin(source.topic, one.partition, source.offset, now_ms)
        wanted.append(Wanted(one.user, state, request.n or settings.lists.length, request.filters, now_ms, origin))
    return wanted


def _compare(
    pairs: Sequence[tuple[Published, list[Wanted]]], bundle: Bundle, settings: Settings
) -> Iterator[Difference]:
    encoding = encoding_for(bundle.manifest, bundle.catalog, window=settings.state.window)
    for start in range(0, len(pairs), _CHUNK):
        chunk = pairs[start : start + _CHUNK]
        made, _ = make_lists(
            [one for _, wanted in chunk for one in wanted],
            bundle,
            encoding=encoding,
            reasons=settings.lists.reasons,
            generated_at=_CLOCK,
        )
        values = iter(made)
        for one, wanted in chunk:
            possible = [
                value.removesuffix(_CLOCK.encode() + b'"}') + one.told.generated_at.encode() + b'"}'
                for value in islice(values, len(wanted))
            ]
            if one.value not in possible:
                detail = _what_differs(orjson.loads(possible[0]), orjson.loads(one.value))
                yield Difference(one.partition, one.offset, detail)


def _what_differs(expected: dict[str, Any], found: dict[str, Any]) -> str:
    names = [name for name in expected | found if expected.get(name) != found.get(name)]
    return f"{', '.join(names) or 'the text'} not as computed from its inputs"
