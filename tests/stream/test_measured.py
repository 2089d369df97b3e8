"""What is measured is what the lists would have held; measuring changes nothing that is served."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from tiny_bundle import DAY_ZERO, write_tiny_bundle

from schemas import Role
from stream.core.arms import Arms, is_challenged
from stream.core.features import encoding_for
from stream.core.measured import Measured, Measures
from stream.core.prequential import Observation, choices, observe
from stream.core.records import Outcome
from stream.core.step import Step
from stream.core.tally import WINDOW_MS, WINDOWS, Tally, summarize, wilson
from stream.engine.bundle import Bundle, load_bundle
from stream.settings import Settings

ALL = {"measures": {"share": 1.0}}


def listed(polls: Any, user: str, n: int) -> list[str]:
    """The items of a list that is asked for."""
    at = DAY_ZERO + 1000 * (polls.offsets.get(Role.INTERACTIONS, -1) + 2)
    outcome = polls.run(polls.record(Role.REQUESTS, user, {"n": n, "timestamp": at}))
    return [item["item_id"] for item in orjson.loads(outcome.recommendations[0].value)["items"]]


def test_the_rank_is_the_place_that_the_item_had_in_the_list_before(polls: Any, bundle: Bundle) -> None:
    settings, encoding = Settings(), encoding_for(bundle.manifest, bundle.catalog, window=32)
    polls.run(polls.record(Role.USERS, "ann", {"features": {"city": "Bergen"}}))
    for item in ("i3", "i17", "i8", "i30", "i5"):
        before = listed(polls, "ann", 40)
        record = polls.event("ann", item)
        made = choices([record], lambda at, key: polls.rows.get((at, key)), settings=settings)
        (found,) = observe(made, bundle, encoding)
        assert before[found.rank - 1] == item
        polls.run(record)


def test_events_of_a_poll_are_measured_each_on_the_state_before_it(
    polls_with: Callable[..., Any], bundle: Bundle
) -> None:
    one_by_one, at_once = polls_with(), polls_with()
    measures = []
    for polls, size in ((one_by_one, 1), (at_once, 5)):
        measured = Measures(Settings(**ALL))
        polls.step = Measured(Step(bundle, Settings()), measured, incumbent=bundle)
        records = [polls.event("ann", item) for item in ("i3", "i17", "i8", "i30", "i5")]
        for start in range(0, 5, size):
            polls.run(*records[start : start + size])
        measures.append(summarize(measured.totals()["default", "v1"]))
    assert measures[0]["events"] == 5
    assert measures[0] == pytest.approx(measures[1])


def test_what_says_nothing_of_a_choice_is_not_measured(polls_with: Callable[..., Any], bundle: Bundle) -> None:
    polls = polls_with()
    polls.step = Measured(Step(bundle, Settings()), Measures(Settings(**ALL)), incumbent=bundle)
    first = polls.event("ann", "i1", event_id="e")
    assert polls.run(first).counts["measured"] == 1
    silent = [
        first,  # delivered again
        polls.event("ann", "i2", event_id="e"),  # sent again
        polls.event("ann", "i1"),  # had already: no list shows it
        polls.event("ann", "i4", event_type="skip"),
        polls.event("ann", "unheard of"),
        polls.event("ann", "i39"),  # withdrawn
        polls.event("ben", "i5", user_id="ann"),  # whose is it?
        polls.record(Role.REQUESTS, "ann", {}),
        polls.record(Role.INTERACTIONS, "ann", b"junk"),
    ]
    assert polls.run(*silent).counts["measured"] == 0
    assert polls.run(polls.event("ann", "i6")).counts["measured"] == 1


def test_losses_are_those_of_a_softmax_with_and_without_the_events(polls: Any, bundle: Bundle) -> None:
    settings, encoding = Settings(), encoding_for(bundle.manifest, bundle.catalog, window=32)
    polls.run(*(polls.event("ann", item) for item in ("i3", "i17")))
    records = [polls.event("ann", "i8"), polls.event("new", "i8")]
    made = choices(records, lambda at, key: polls.rows.get((at, key)), settings=settings)
    ann, new = observe(made, bundle, encoding)
    assert ann.start_loss == pytest.approx(new.start_loss)
    assert new.loss == new.start_loss
    assert ann.loss != ann.start_loss
    profile = np.zeros((8, 4), dtype=np.float32)
    nobody = {
        name: np.zeros((8, 1), kind) for name, kind in (("support_items", np.int64), ("support_mask", np.float32))
    }
    nobody |= {"support_kind": nobody["support_items"], "support_age": nobody["support_mask"]}
    vector, _ = bundle.adapt(nobody | {"user_features": profile, "time_index": np.zeros(8, np.int64)})
    scores = bundle.score(vector, np.zeros(8, np.int64))[0].astype(np.float64)
    assert new.start_loss == pytest.approx(np.log(np.exp(scores).sum()) - scores[8], rel=1e-5)


def test_measuring_serves_the_same_and_only_the_share(polls_with: Callable[..., Any], bundle: Bundle) -> None:
    users = [f"u{number}" for number in range(400)]
    outcomes: list[Outcome] = []
    for share in (None, 0.1):
        polls = polls_with()
        if share is not None:
            settings = Settings(measures={"share": share})
            polls.step = Measured(polls.step, Measures(settings), incumbent=bundle)
        outcomes.append(polls.run(*(polls.event(user, "i3") for user in users)))
    plain, measured = outcomes
    assert 20 <= measured.counts.pop("measured") <= 60
    assert measured.counts.pop("hits") >= 0
    assert replace(measured) == plain


def test_in_shadow_both_are_measured_on_everybody_and_in_a_trial_each_on_its_own(
    polls_with: Callable[..., Any], bundle: Bundle, tmp_path: Path
) -> None:
    write_tiny_bundle(tmp_path, model="other", seed=9)
    other = load_bundle(str(tmp_path), "other")
    users = [f"u{number}" for number in range(100)]
    for share in (0.0, 0.3):
        settings = Settings(model={"challenger": "other", "challenger_share": share}, **ALL)
        measures, polls = Measures(settings), polls_with()
        step: Any = Step(bundle, settings)
        if share:
            step = Arms(step, Step(other, settings), name="other", share=share, limits=settings.limits)
        polls.step = Measured(step, measures, incumbent=bundle, challenger=other)
        polls.run(*(polls.event(user, "i3") for user in users))
        found = {name: one.events for name, one in measures.totals().items()}
        theirs = sum(is_challenged(user.encode(), challenger="other", share=share) for user in users)
        expected = (100, 100) if share == 0 else (100 - theirs, theirs)
        assert (found["default", "v1"], found["other", "v1"]) == expected


def test_a_lasting_loss_asks_once_within_the_cool_down_and_a_new_bundle_starts_afresh(bundle: Bundle) -> None:
    measures = Measures(Settings(measures={"cooldown_s": 3600}))
    rng = np.random.default_rng(0)

    def add(n: int, mean: float, at: int) -> None:
        losses = rng.normal(mean, 1.0, n)
        found = [Observation((0, b"u"), DAY_ZERO + at + i, 20, 5.0, float(loss)) for i, loss in enumerate(losses)]
        measures.add(bundle.manifest, found, is_incumbent=True)

    add(1000, 3.0, 0)
    add(1000, 5.0, 1000)
    add(1000, 7.0, 2000)  # another rise, within the hour
    (request,) = measures.due
    assert request.model_version == "v1"
    assert request.measures["events"] > 1000
    add(1000, 9.0, 3_700_000)
    assert len(measures.due) == 2
    measures.add(bundle.manifest.model_copy(update={"version": "v2"}), [], is_incumbent=True)
    assert set(measures.totals()) == {("default", "v1"), ("default", "v2")}


def test_a_tally_keeps_a_week_and_tells_means_with_intervals() -> None:
    tally = Tally()
    for hour in range(WINDOWS + 10):
        tally.add(Observation((0, b"u"), hour * WINDOW_MS, 1 + hour % 20, 5.0, 4.0))
    tally.add(Observation((0, b"u"), 0, 1, 5.0, 4.0))  # too late
    assert [at for at, _ in tally.windows()] == [hour * WINDOW_MS for hour in range(10, WINDOWS + 10)]
    summary = summarize(tally.total())
    assert (summary["events"], summary["loss"], summary["gain"]) == (WINDOWS, 4.0, 1.0)
    assert summary["hit_rate_low"] < summary["hit_rate"] < summary["hit_rate_high"]
    assert summarize(Tally().total()) == {}


def test_the_interval_of_a_share_is_wilsons() -> None:
    low, high = wilson(5, 50)
    assert (low, high) == pytest.approx((0.0435, 0.2136), abs=1e-4)
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == 1
