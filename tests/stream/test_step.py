"""A step from records to rows, lists and dead letters."""

from itertools import pairwise

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_bundle import DAY_ZERO

from schemas import Recommendation, Role
from schemas.errors import BundleError, StateError
from stream.core.codec import decode_row
from stream.core.lists import fitted
from stream.core.records import Outcome, Record
from stream.core.step import COUNTERS, Step
from stream.settings import ListSettings, Settings, StateSettings


def lists_of(outcome: Outcome):
    return [Recommendation.model_validate_json(one.value) for one in outcome.recommendations if one.value is not None]


def items_of(one):
    return [item.item_id for item in one.items]


def test_an_event_gives_a_row_and_a_list(polls):
    outcome = polls.run(polls.event("ann", "i3"))
    assert [(row.partition, row.key) for row in outcome.rows] == [(0, b"ann")]
    assert [one.item_id for one in decode_row(outcome.rows[0].value, b"ann").support] == ["i3"]
    assert [(one.partition, one.key) for one in outcome.recommendations] == [(0, b"ann")]
    (found,) = lists_of(outcome)
    assert (found.user_id, found.model, found.model_version, found.support_size) == ("ann", "default", "v1", 1)
    assert found.source.model_dump() == {"topic": "fewstep-interactions", "partition": 0, "offset": 0}
    assert found.generated_at == "2023-11-14T22:13:20.000Z"
    assert len(found.items) == 10
    assert outcome.counts == dict.fromkeys(COUNTERS, 0) | {"events": 1, "lists": 1}


def test_several_events_of_a_user_make_one_list_with_the_newest_source(polls):
    outcome = polls.run(polls.event("ann", "i1"), polls.event("bob", "i2"), polls.event("ann", "i3"))
    ann, bob = lists_of(outcome)
    assert (ann.user_id, ann.source.offset, ann.support_size) == ("ann", 2, 2)
    assert (bob.user_id, bob.source.offset) == ("bob", 1)
    assert len(outcome.rows) == 2


def test_a_list_is_ranked_by_the_scores_of_the_graphs(polls, bundle):
    (found,) = lists_of(polls.run(polls.event("ann", "i3")))
    features = {
        "support_items": np.full((8, 1), 3),
        "support_mask": np.ones((8, 1), np.float32),
        "support_kind": np.full((8, 1), bundle.manifest.kinds.kind("like", None)),
        "support_age": np.zeros((8, 1), np.float32),
        "user_features": np.zeros((8, 4), np.float32),
    }
    vectors, parts = bundle.adapt(features)
    scores = bundle.score(vectors, np.zeros(8, np.int64))[0]
    scores[[3, 39]] = -np.inf
    best = np.argsort(-scores, kind="stable")[:10]
    assert items_of(found) == [f"i{row}" for row in best]
    assert [item.score for item in found.items] == pytest.approx(scores[best], rel=1e-5)
    shares = bundle.catalog.vectors[best] @ parts[0, 0]
    expected = [[("i3", pytest.approx(share, rel=1e-5))] if share > 0 else [] for share in shares]
    assert [[(reason.item_id, reason.contribution) for reason in item.reasons] for item in found.items] == expected


def test_items_of_the_support_set_those_seen_before_and_withdrawn_ones_do_not_appear(polls_with):
    polls = polls_with(state=StateSettings(window=2), lists=ListSettings(length=40))
    (found,) = lists_of(polls.run(*(polls.event("ann", f"i{row}") for row in range(6))))
    assert sorted(items_of(found)) == sorted(f"i{row}" for row in range(6, 39))


def test_an_event_on_an_unknown_item_stays_in_the_window_and_is_counted(polls):
    outcome = polls.run(polls.event("ann", "gone"))
    assert outcome.counts["unknown_items"] == 1
    (found,) = lists_of(outcome)
    assert found.support_size == 1
    (fresh,) = lists_of(polls.run(polls.record(Role.REQUESTS, "bob", {"timestamp": DAY_ZERO})))
    assert found.items == fresh.items


def test_a_request_gets_its_length_and_filters_and_changes_no_state(polls):
    polls.run(polls.event("ann", "i3"))
    request = {"n": 4, "filters": {"categories": ["drama"], "exclude_items": ["i0"]}}
    outcome = polls.run(polls.record(Role.REQUESTS, "ann", request))
    (found,) = lists_of(outcome)
    assert outcome.rows == []
    assert len(found.items) == 4
    assert all(int(item[1:]) % 3 == 0 and item != "i0" for item in items_of(found))
    assert (found.source.topic, found.support_size) == ("fewstep-requests", 1)


def test_a_request_sees_the_events_of_its_poll(polls):
    request = polls.record(Role.REQUESTS, "ann", {})
    _, found = lists_of(polls.run(request, polls.event("ann", "i3")))
    assert (found.source.topic, found.support_size) == ("fewstep-requests", 1)


def test_an_unknown_user_gets_the_list_of_the_initialization(polls, bundle):
    (found,) = lists_of(polls.run(polls.record(Role.REQUESTS, "new", {"n": 39})))
    features = {
        "support_items": np.zeros((8, 1), np.int64),
        "support_mask": np.zeros((8, 1), np.float32),
        "support_kind": np.zeros((8, 1), np.int64),
        "support_age": np.zeros((8, 1), np.float32),
        "user_features": np.zeros((8, 4), np.float32),
    }
    scores = bundle.score(bundle.adapt(features)[0], np.zeros(8, np.int64))[0]
    assert items_of(found) == [f"i{row}" for row in np.argsort(-scores[:39], kind="stable")]
    assert all(item.reasons == [] for item in found.items)


def test_now_is_the_newest_event_time_or_that_of_a_newer_request(polls, bundle):
    later = bundle.manifest.prior_times[1]
    event = polls.event("ann", "i3")
    (early,) = lists_of(polls.run(event))
    (late,) = lists_of(polls.run(polls.record(Role.REQUESTS, "ann", {"timestamp": later}, timestamp_ms=later)))
    (again,) = lists_of(polls.run(polls.record(Role.REQUESTS, "ann", {"timestamp": DAY_ZERO - 5000})))
    assert early.items == again.items
    assert early.items != late.items


def test_a_profile_of_an_unknown_user_creates_a_row_and_moves_the_list(polls):
    (before,) = lists_of(polls.run(polls.record(Role.REQUESTS, "ann", {})))
    outcome = polls.run(polls.record(Role.USERS, "ann", {"features": {"city": "Bergen", "age": 20}}))
    (after,) = lists_of(outcome)
    assert decode_row(outcome.rows[0].value, b"ann").features == b'{"city":"Bergen","age":20}'
    assert outcome.counts["profiles"] == 1
    assert before.items != after.items


def test_a_redelivered_event_writes_the_same_row_and_the_same_list_again(polls):
    events = [polls.event("ann", "i1"), polls.event("ann", "i2")]
    first = polls.run(*events)
    again = polls.run(events[0])
    assert again.rows == first.rows
    assert again.recommendations == first.recommendations
    assert (again.counts["redelivered"], again.counts["events"]) == (1, 1)


def test_a_duplicate_event_id_changes_the_offset_and_the_source_only(polls):
    first = polls.run(polls.event("ann", "i1", event_id="e1"))
    again = polls.run(polls.event("ann", "i1", event_id="e1"))
    assert again.counts["duplicates"] == 1
    assert decode_row(again.rows[0].value, b"ann").interactions_offset == 1
    before, after = lists_of(first)[0], lists_of(again)[0]
    assert (before.items, before.support_size) == (after.items, after.support_size)
    assert after.source.offset == 1


@pytest.mark.parametrize("role", [Role.INTERACTIONS, Role.USERS])
def test_a_tombstone_forgets_the_row_and_the_list(polls, role):
    polls.run(polls.event("ann", "i1"), polls.record(Role.USERS, "ann", {"features": {"age": 40}}))
    outcome = polls.run(polls.record(role, "ann", None))
    assert outcome.rows == [(0, b"ann", None, ())]
    assert outcome.recommendations == [(0, b"ann", None, ())]
    assert outcome.counts["forgotten"] == 1
    assert polls.rows == {}


def test_a_redelivered_tombstone_clears_what_redelivered_events_brought_back(polls):
    events = [polls.event("ann", "i1"), polls.event("ann", "i2")]
    tombstone = polls.record(Role.INTERACTIONS, "ann", None)
    polls.run(*events, tombstone)
    assert polls.rows == {}
    polls.run(*events)
    assert polls.rows != {}
    assert polls.run(tombstone).rows == [(0, b"ann", None, ())]
    assert polls.rows == {}


def test_events_after_a_tombstone_of_the_same_poll_begin_anew(polls):
    polls.run(polls.event("ann", "i1"))
    outcome = polls.run(polls.record(Role.INTERACTIONS, "ann", None), polls.event("ann", "i2"))
    assert [one.item_id for one in decode_row(outcome.rows[0].value, b"ann").support] == ["i2"]
    assert [one.value is None for one in outcome.recommendations] == [False]


def test_a_bad_record_becomes_a_dead_letter_and_its_neighbors_go_on(polls):
    outcome = polls.run(
        polls.event("ann", "i1"), polls.record(Role.INTERACTIONS, "bob", b"{"), polls.event("cid", "i2")
    )
    assert [letter[:3] for letter in outcome.dead_letters] == [(0, b"bob", b"{")]
    assert [row.key for row in outcome.rows] == [b"ann", b"cid"]
    assert outcome.counts["dead_letters"] == 1


def test_a_key_that_contradicts_its_value_is_counted(polls):
    outcome = polls.run(polls.event("ann", "i1", user_id="bob"), polls.event("ann", "i1", user_id="ann"))
    assert outcome.counts["key_mismatches"] == 1
    assert sorted(row.key for row in outcome.rows) == [b"ann", b"bob"]


def test_one_user_on_two_partitions_has_two_rows(polls):
    outcome = polls.run(polls.event("ann", "i1"), polls.event("ann", "i2")._replace(partition=1))
    assert [(row.partition, row.key) for row in outcome.rows] == [(0, b"ann"), (1, b"ann")]


def test_a_row_is_read_once_per_user(bundle, polls):
    asked = []
    Step(bundle, Settings())(
        [polls.event("ann", "i1"), polls.event("ann", "i2"), polls.record(Role.REQUESTS, "ann", {})],
        lambda partition, key: asked.append((partition, key)),
        clock_ms=0,
    )
    assert asked == [(0, b"ann")]


def test_an_empty_poll_gives_nothing(polls):
    assert polls.run() == Outcome(counts=dict.fromkeys(COUNTERS, 0))


def test_a_damaged_row_stops_the_step(polls):
    polls.rows[0, b"ann"] = b"\x01damaged"
    with pytest.raises(StateError):
        polls.run(polls.event("ann", "i1"))


def test_a_smaller_window_serves_rows_of_a_larger_one(polls, polls_with):
    polls.run(*(polls.event("ann", f"i{row}") for row in range(9)))
    smaller = polls_with(state=StateSettings(window=3))
    smaller.rows = polls.rows
    (found,) = lists_of(smaller.run(smaller.record(Role.REQUESTS, "ann", {"n": 40})))
    assert found.support_size == 3
    assert sorted(items_of(found)) == sorted(f"i{row}" for row in range(9, 39))


def test_ids_and_names_of_any_letters_make_valid_json(polls):
    (found,) = lists_of(polls.run(polls.event('a"\\\n\u2028\u00fc', "i1")))
    assert found.user_id == 'a"\\\n\u2028\u00fc'


class Overflowing:
    """The bundle, but adaptation of users with an event on item 3 gives NaN."""

    def __init__(self, bundle):
        self.manifest, self.catalog, self._adapt = bundle.manifest, bundle.catalog, bundle.adapt
        self.score_blocks, self.places = bundle.score_blocks, bundle.places

    def adapt(self, features):
        vectors, parts = self._adapt(features)
        vectors[((features["support_items"] == 3) & (features["support_mask"] > 0)).any(axis=1)] = np.nan
        return vectors, parts


def test_a_user_whose_adaptation_overflows_gets_the_initialization_and_others_their_own(bundle, polls):
    expected = lists_of(polls.run(polls.event("bob", "i4"), polls.record(Role.REQUESTS, "new", {"n": 39})))
    polls.step = Step(Overflowing(bundle), Settings(lists=ListSettings(length=38)))
    outcome = polls.run(polls.event("ann", "i3"), polls.event("bob", "i5"))
    ann, bob = lists_of(outcome)
    assert outcome.counts["non_finite"] == 1
    assert items_of(ann) == [item for item in items_of(expected[1]) if item != "i3"]
    assert all(item.reasons == [] for item in ann.items)
    assert any(item.reasons for item in bob.items)


def streams():
    """Records of few users, in order: events (late, doubled, unknown), profiles, tombstones, requests, garbage."""
    user = st.sampled_from(["ann", "bob", "cid", "dan"])
    event = st.fixed_dictionaries(
        {
            "item_id": st.integers(0, 45).map("i{}".format),
            "event_type": st.sampled_from(["like", "view"]),
            "timestamp": st.integers(DAY_ZERO - 50, DAY_ZERO),
        },
        optional={"event_id": st.integers(0, 9).map(str)},
    )
    return st.lists(
        st.tuples(st.just(Role.INTERACTIONS), user, event.map(orjson.dumps))
        | st.tuples(st.just(Role.INTERACTIONS), user, st.sampled_from([None, b"{"]))
        | st.tuples(st.just(Role.USERS), user, st.sampled_from([None, b'{"features":{"city":"Bergen"}}'])),
        max_size=30,
    )


def published(bundle, stream, cuts):
    """The final rows, and the last list of each user, of one stream that is cut into polls."""
    step = Step(bundle, Settings(state=StateSettings(window=5)))
    records, offsets = [], dict.fromkeys(Role, -1)
    for role, user, value in stream:
        offsets[role] += 1
        records.append(Record(role, role.value, 0, offsets[role], DAY_ZERO, user.encode(), value))
    rows, lists = {}, {}

    def read_row(_, key):
        return rows.get(key)

    bounds = [0, *sorted(cut % (len(records) + 1) for cut in cuts), len(records)]
    for start, stop in pairwise(bounds):
        outcome = step(records[start:stop], read_row, clock_ms=DAY_ZERO)
        rows |= {row.key: row.value for row in outcome.rows}
        lists |= {one.key: one.value for one in outcome.recommendations}
    return rows, lists


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(streams(), st.lists(st.integers(0, 30), max_size=6))
def test_rows_and_lists_do_not_depend_on_how_a_stream_is_cut_into_polls(bundle, stream, cuts):
    assert published(bundle, stream, cuts) == published(bundle, stream, [])


@pytest.mark.parametrize("others", [1, 6, 7, 8, 30, 600])
def test_a_list_is_the_same_to_the_last_bit_whoever_shares_the_batch(bundle, others):
    rng = np.random.default_rng(others)
    history = [(f"i{item}", DAY_ZERO + at) for at, item in enumerate(rng.integers(0, 39, 12).tolist())]

    def poll(users):
        value = [orjson.dumps({"item_id": item, "event_type": "like", "timestamp": at}) for item, at in history]
        records = [
            Record(Role.INTERACTIONS, "t", 0, offset, DAY_ZERO, user, value[(offset * 7 + len(user)) % 12])
            for offset, user in enumerate(user for at, user in enumerate(users) for _ in range((11, 3)[at % 2]))
        ]
        ann = [Record(Role.INTERACTIONS, "t", 0, 10_000 + at, DAY_ZERO, b"ann", value[at]) for at in range(12)]
        return {
            one.key: one.value
            for one in Step(bundle, Settings())(records + ann, lambda *_: None, clock_ms=0).recommendations
        }

    names = [b"u%d" % user for user in range(others)]
    assert poll(names)[b"ann"] == poll([])[b"ann"]


def test_lists_come_in_order_and_unchanged_when_graph_runs_go_ahead_of_writing(polls, monkeypatch):
    records = [polls.event(f"u{number}", f"i{number % 7}") for number in range(50)]
    records += [polls.record(Role.REQUESTS, f"u{number}", {"n": 1 + number % 2}) for number in range(9)]
    together = polls.step(records, lambda *_: None, clock_ms=DAY_ZERO)
    monkeypatch.setattr("stream.core.lists.MOST_USERS", 8)  # ten runs of three lengths
    assert polls.step(records, lambda *_: None, clock_ms=DAY_ZERO) == together


def test_what_fails_in_a_graph_run_ahead_ends_the_step(polls, monkeypatch):
    def fails(*_):
        raise BundleError("the graph failed")

    monkeypatch.setattr("stream.core.lists.MOST_USERS", 8)
    monkeypatch.setattr("stream.engine.bundle.Bundle.score_blocks", fails)
    with pytest.raises(BundleError):
        polls.run(*(polls.event(f"u{number}", "i1") for number in range(20)))


def test_a_list_that_no_kafka_message_would_hold_loses_its_reasons_then_its_last_items(polls):
    outcome = polls.run(polls.event("ann", "i1"), polls.record(Role.REQUESTS, "ann", {"n": 30}))
    value = outcome.recommendations[-1].value
    whole = Recommendation.model_validate_json(value)
    assert any(item.reasons for item in whole.items)
    assert fitted(value, len(value)) == value

    bare = Recommendation.model_validate_json(fitted(value, len(value) - 1))
    assert items_of(bare) == items_of(whole)
    assert all(item.reasons == [] for item in bare.items)
    shorter = fitted(value, 700)
    assert len(shorter) <= 700
    kept = items_of(Recommendation.model_validate_json(shorter))
    assert kept == items_of(whole)[: len(kept)]
    assert kept
