"""Drift: how fast lists follow users whose tastes switch, and what that costs the others.

A made-up world plants the switches; most of its users are held out, so that intervals are narrow, and nothing of
MovieLens is touched. Recipe and constants were chosen on worlds of other seeds, see docs/learner.md.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table

from meta import corpus, dataset, drift, splits, synthetic
from meta.benchmark.folds import Split
from meta.benchmark.lines import SEED, Line, above, loses_nothing
from meta.benchmark.section import Findings
from meta.config import TrainingConfig
from meta.dataset import Dataset, subset
from meta.drift import AFTER, Levels
from meta.measures import bootstrap_mean
from meta.training import as_scorer, train

WORLD_SEED = 1
SIZES = synthetic.Sizes(users=3500, items=800, events_per_user=80, drift_share=0.4)
KNOWN_FOLDS = (1, 4, 7)
"""Of ten, those whose users are trained on"""
RECIPE = TrainingConfig(
    agreement=8, epochs=60, dropout=0.3, fixed_share=0.0, sliding_share=0.7, spliced_share=0.5, long_support_sizes=()
)
LEARNED, CONTROL, ORDINARY = "fewstep", "trained without steps", "trained without switches"
ARMS = {
    LEARNED: RECIPE,
    CONTROL: RECIPE.model_copy(update={"inner_steps": 0}),
    ORDINARY: RECIPE.model_copy(update={"agreement": 0, "spliced_share": 0.0}),
}
KEPT = "an adaptation kept from before the switch"
NOBODY = np.zeros(0, dtype=np.int64)
"""No validation users: all epochs, over all users who are not held out"""
ASKED = {2: 0.5, 5: 0.9}
"""Share of the distance that is to be made up, by events after the switch"""


class Found(NamedTuple):
    """Levels by arm, of the users who switched and of those who did not, around the middle of their histories."""

    switched: dict[str, Levels]
    stayed: dict[str, Levels]


def load_world(sizes: synthetic.Sizes, *, seed: int) -> tuple[Dataset, np.ndarray]:
    """The made-up world, and for each user the event with which the new tastes begin, -1 where they never do."""
    made = synthetic.generate(sizes, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        corpus.write(made, out)
        world = dataset.load(out / "interactions.jsonl", out / "items.jsonl", out / "users.jsonl")
    planted = {row["user_id"]: row["drift_at"] for row in made.truth}
    return world, np.array([planted.get(user, -1) for user in world.user_ids])


def measure(_: Split) -> Found:
    """All arms in the world that the benchmark makes up."""
    return measure_arms(*load_world(SIZES, seed=WORLD_SEED), ARMS)


def measure_arms(world: Dataset, switch: np.ndarray, arms: Mapping[str, TrainingConfig]) -> Found:
    """Train each arm on the users who are not held out, and measure it on those who are."""
    parts = splits.folds(world.n_users, seed=SEED)
    rows = np.sort(np.concatenate([parts[fold] for fold in KNOWN_FOLDS]))
    held = np.setdiff1d(np.arange(world.n_users), rows)
    known, held_out = subset(world, rows), subset(world, held)
    middle = np.where(switch[held] < 0, held_out.lengths // 2, -1)
    found = Found({}, {})
    for name, config in arms.items():
        scorer = as_scorer(train(known, config, seed=SEED, validation=NOBODY))
        for levels, at in ((found.switched, switch[held]), (found.stayed, middle)):
            users = drift.measurable(held_out, at)
            levels[name] = drift.measure(scorer, held_out, users, at[users], seed=SEED)
    return found


def findings(parts: Sequence[Found]) -> Findings:
    """Levels by arm, steps against none beside them, and the lines."""
    (found,) = parts
    groups = {"users who switched": found.switched, "users who did not": found.stayed}
    shown = [_levels_table(title, levels) for title, levels in groups.items()]
    return Findings([*shown, _steps_table(groups)], judge(found))


def judge(found: Found) -> list[Line]:
    """Recovery, also against an adaptation that is kept, and what users who did not switch lose."""
    learned = found.switched[LEARNED]
    shares = drift.recovered(learned, seed=SEED)
    lines: list[Line] = []
    for j, bound in ASKED.items():
        share = shares[AFTER.index(j)]
        lines.append(Line(f"drift, {j} events after the switch: made up", share, bound, share.mean >= bound))
    for column, j in enumerate(AFTER[1:], start=1):
        # The window as it was at the switch, whatever came since.
        lines.append(above(f"drift, {j} events after: minus {KEPT}", learned.after[:, column] - learned.after[:, 0]))
    difference = (found.stayed[LEARNED].after - found.stayed[ORDINARY].after).mean(axis=1)
    lines.append(loses_nothing(f"drift, users who did not switch: minus {ORDINARY}", difference))
    return lines


def _levels_table(title: str, levels: Mapping[str, Levels]) -> Table:
    some = next(iter(levels.values()))
    table = Table("arm", "before", *(f"{j} after" for j in AFTER), title=f"nDCG@10, {len(some.before)} {title}")
    for name, each in levels.items():
        table.add_row(name, *(f"{value:.3f}" for value in (np.nanmean(each.before), *np.nanmean(each.after, axis=0))))
    return table


def _steps_table(groups: Mapping[str, Mapping[str, Levels]]) -> Table:
    """What the steps are worth, with intervals; nothing is asked of it."""
    table = Table("", *(f"{j} after" for j in AFTER), title=f"nDCG@10, {LEARNED} minus {CONTROL}")
    for title, levels in groups.items():
        differences = (levels[LEARNED].after - levels[CONTROL].after).T
        each = (bootstrap_mean(column, seed=SEED) for column in differences)
        table.add_row(title, *(f"{one.mean:+.3f}\n{one.low:+.3f} to {one.high:+.3f}" for one in each))
    return table
