"""The drift benchmark: how fast lists follow users whose tastes switch, and what that costs the others.

Run it with `python -m meta.drift_benchmark`. A made-up world plants the switches; three tenths of its users are held
out. Recipe and constants were chosen on a world of another seed, see docs/learner.md. The second part slides a window
over long histories of MovieLens-100K, where nothing was planted.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from meta import corpus, dataset, drift, splits, synthetic
from meta.benchmark.folds import FOLDS, load_movielens
from meta.config import TrainingConfig
from meta.dataset import Dataset, subset
from meta.drift import AFTER, Levels
from meta.measures import Estimate, bootstrap_mean
from meta.scorer import Scorer
from meta.training import as_scorer, train

WORLD_SEED, SEED = 1, 0
SIZES = synthetic.Sizes(users=1500, items=800, events_per_user=80, drift_share=0.4)
HELD_OUT_FOLDS = (1, 4, 7)
RECIPE = TrainingConfig(agreement=8, epochs=60, dropout=0.3, fixed_share=0.0, sliding_share=0.7, spliced_share=0.3)
LEARNED, CONTROL, ORDINARY = "fewstep", "trained without steps", "trained without switches"
ARMS = {
    LEARNED: RECIPE,
    CONTROL: RECIPE.model_copy(update={"inner_steps": 0}),
    ORDINARY: RECIPE.model_copy(update={"agreement": 0, "spliced_share": 0.0}),
}
NOBODY = np.zeros(0, dtype=np.int64)
"""No validation users: all epochs, over all users who are not held out"""
ASKED = {2: 0.5, 5: 0.9}
"""Share of the distance that is to be made up, by events after the switch"""
Line = tuple[str, Estimate, float, bool]
"""What is asked for, what was found, the bound, and whether it holds"""


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


def measure_arms(
    world: Dataset, switch: np.ndarray, arms: Mapping[str, TrainingConfig], *, tell: Callable[[str], None]
) -> Found:
    """Train each arm on the users who are not held out, and measure it on those who are."""
    parts = splits.folds(world.n_users, seed=SEED)
    held = np.sort(np.concatenate([parts[fold] for fold in HELD_OUT_FOLDS]))
    known, held_out = subset(world, np.setdiff1d(np.arange(world.n_users), held)), subset(world, held)
    middle = np.where(switch[held] < 0, held_out.lengths // 2, -1)
    found = Found({}, {})
    for name, config in arms.items():
        tell(name)
        scorer = as_scorer(train(known, config, seed=SEED, validation=NOBODY))
        for levels, at in ((found.switched, switch[held]), (found.stayed, middle)):
            users = drift.measurable(held_out, at)
            levels[name] = drift.measure(scorer, held_out, users, at[users], seed=SEED)
    return found


def judge(found: Found) -> list[Line]:
    """The lines of the acceptance: recovery, steps against none after the switch, and users who did not switch."""
    learned = found.switched[LEARNED]
    shares = drift.recovered(learned, seed=SEED)
    lines: list[Line] = []
    for j, bound in ASKED.items():
        share = shares[AFTER.index(j)]
        lines.append((f"made up {j} events after the switch", share, bound, share.mean >= bound))
    right_after = learned.after[:, :1]
    kept = "minus an adaptation kept from before the switch"
    for name, minus in ((kept, right_after), (f"minus {CONTROL}", found.switched[CONTROL].after)):
        for column, j in enumerate(AFTER[1:], start=1):
            other = minus[:, column] if minus.shape[1] > 1 else minus[:, 0]
            lines.append(_above_zero(f"{j} events after: {name}", learned.after[:, column] - other))
    for name in (CONTROL, ORDINARY):
        difference = (found.stayed[LEARNED].after - found.stayed[name].after).mean(axis=1)
        lines.append(_above_zero(f"users who did not switch: minus {name}", difference))
    return lines


def measure_long(*, folds: tuple[int, ...], tell: Callable[[str], None]) -> dict[str, np.ndarray]:
    """Held-out users of MovieLens-100K with long histories, by arm (n_users, len(drift.LONG)): a window that slides,
    the same without steps, and a window that stays at the first events."""
    data = load_movielens()
    parts = splits.folds(data.n_users, seed=SEED)
    found: dict[str, list[np.ndarray]] = {}
    for fold in folds:
        tell(f"MovieLens-100K, fold {fold}")
        rest = np.setdiff1d(np.arange(data.n_users), parts[fold])
        known, held_out = subset(data, rest), subset(data, np.sort(parts[fold]))
        for steps in (TrainingConfig().inner_steps, 0):
            config = TrainingConfig(inner_steps=steps)
            scorer = as_scorer(train(known, config, seed=SEED, validation=NOBODY))
            for name, values in _long_arms(scorer, held_out, steps=steps).items():
                found.setdefault(name, []).append(values)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def main() -> None:
    """Measure both parts, some minutes, and print tables and lines."""
    console = Console()
    with Console(stderr=True).status("making up a world") as status:
        found = measure_arms(*load_world(SIZES, seed=WORLD_SEED), ARMS, tell=status.update)
        long = measure_long(folds=FOLDS, tell=status.update)
    for title, levels in (("users who switched", found.switched), ("users who did not", found.stayed)):
        console.print(_levels_table(title, levels))
    lines = judge(found)
    console.print(_lines_table(lines), _long_table(long))


def _long_arms(scorer: Scorer, held_out: Dataset, *, steps: int) -> dict[str, np.ndarray]:
    if not steps:
        return {CONTROL: drift.measure_long(scorer, held_out, slides=True, seed=SEED)}
    return {
        LEARNED: drift.measure_long(scorer, held_out, slides=True, seed=SEED),
        "window of the first events": drift.measure_long(scorer, held_out, slides=False, seed=SEED),
    }


def _above_zero(asked: str, differences: np.ndarray) -> Line:
    found = bootstrap_mean(differences, seed=SEED)
    return asked, found, 0.0, found.low > 0


def _levels_table(title: str, levels: Mapping[str, Levels]) -> Table:
    some = next(iter(levels.values()))
    table = Table("arm", "before", *(f"{j} after" for j in AFTER), title=f"nDCG@10, {len(some.before)} {title}")
    for name, each in levels.items():
        table.add_row(name, *(f"{value:.3f}" for value in (np.nanmean(each.before), *np.nanmean(each.after, axis=0))))
    return table


def _lines_table(lines: list[Line]) -> Table:
    title = f"{sum(holds for *_, holds in lines)} of {len(lines)} lines hold"
    table = Table("line", "found", "95 % interval", "asked", "", title=title)
    for asked, found, bound, holds in lines:
        interval = f"{found.low:+.3f} to {found.high:+.3f}"
        table.add_row(asked, f"{found.mean:+.3f}", interval, f"{bound:.2f}", "holds" if holds else "DOES NOT HOLD")
    return table


def _long_table(found: Mapping[str, np.ndarray]) -> Table:
    table = Table("arm", *(f"event {at}" for at in drift.LONG), title="nDCG@10, long histories of MovieLens-100K")
    for name, values in found.items():
        table.add_row(name, *(f"{value:.3f}" for value in np.nanmean(values, axis=0)))
        if name != LEARNED:
            differences = [bootstrap_mean(column, seed=SEED) for column in (found[LEARNED] - values).T]
            cells = (f"{each.mean:+.3f}\n{each.low:+.3f}\n{each.high:+.3f}" for each in differences)
            table.add_row(f"{LEARNED} minus it", *cells)
    return table


if __name__ == "__main__":
    typer.run(main)
