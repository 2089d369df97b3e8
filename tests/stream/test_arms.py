"""A trial serves a sticky share of the users, each by one bundle, and changes nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from tiny_bundle import write_tiny_bundle

from schemas import Role
from stream.core.arms import Arms, is_challenged
from stream.core.records import Outcome, Record
from stream.core.step import Step
from stream.engine.bundle import Bundle, load_bundle
from stream.settings import LimitSettings, Settings

USERS = [f"u{number}" for number in range(200)]


def challenged(user: str, share: float = 0.3) -> bool:
    return is_challenged(user.encode(), challenger="other", share=share)


@pytest.fixture
def arms(bundle: Bundle, tmp_path: Path) -> Arms:
    write_tiny_bundle(tmp_path, model="other", version="v7", seed=9)
    other = load_bundle(str(tmp_path), "other")
    steps = (Step(one, Settings()) for one in (bundle, other))
    return Arms(*steps, name="other", share=0.3, limits=LimitSettings())


def lists(outcome: Outcome) -> dict[str, tuple[str, str]]:
    found = (orjson.loads(message.value or b"") for message in outcome.recommendations)
    return {one["user_id"]: (one["model"], one["model_version"]) for one in found}


def test_the_share_is_drawn_from_users_and_stays_theirs() -> None:
    many = [f"u{number}" for number in range(20_000)]
    first = {user for user in many if challenged(user)}
    assert 0.28 < len(first) / len(many) < 0.32
    assert first < {user for user in many if challenged(user, 0.5)}  # a larger share keeps whom it had
    assert not any(challenged(user, 0) for user in many)
    others = {user for user in many if is_challenged(user.encode(), challenger="third", share=0.3)}
    assert 0.2 < len(first & others) / len(first) < 0.4


def test_each_user_is_served_by_one_bundle_which_the_list_names(arms: Arms, polls_with: Callable[..., Any]) -> None:
    polls = polls_with()
    polls.step = arms
    for _ in range(2):
        outcome: Outcome = polls.run(*(polls.event(user, "i3") for user in USERS))
        found = lists(outcome)
        assert found == {user: ("other", "v7") if challenged(user) else ("default", "v1") for user in USERS}


def test_states_counts_and_dead_letters_are_those_of_one_step(
    arms: Arms, bundle: Bundle, polls_with: Callable[..., Any]
) -> None:
    both = [polls_with(), polls_with()]
    both[1].step = arms
    outcomes: list[Outcome] = []
    for polls in both:
        records: list[Record] = [polls.event(user, "i3") for user in USERS]
        # A key that contradicts the value does not part a user's records.
        records += [polls.event(user, "i4")._replace(key=b"u1") for user in USERS]
        records += [polls.record(Role.INTERACTIONS, "u2", b"junk")]
        outcomes.append(polls.run(*records))
    assert sorted(outcomes[0].rows) == sorted(outcomes[1].rows)
    assert outcomes[0].dead_letters == outcomes[1].dead_letters
    assert outcomes[0].counts == outcomes[1].counts
