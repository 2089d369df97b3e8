"""The quality benchmark: the default recipe on MovieLens-100K, beside the baselines and the acceptance levels.

Run it with `python -m meta.benchmark`. Users are permuted and cut into ten folds; of each split one fold is held out,
the next one is for early stopping, the rest is for training. The held-out users of seven splits are pooled. Recipe and
constants were chosen by measuring on users of the other three folds only, see docs/learner.md.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from meta import baselines, corpus, dataset, movielens, protocol, splits, tables
from meta.config import TrainingConfig
from meta.dataset import Dataset, subset
from meta.measures import Estimate, bootstrap_mean
from meta.modes import Mode
from meta.protocol import KS, Unadapted, Values
from meta.training import as_scorer, train

FOLDS = (0, 2, 3, 5, 6, 8, 9)
"""Held out in turn. Choices are made on the users of the other three, who are never measured here."""
SEED = 0
LEVELS = {
    Mode.FIXED: {0: 0.50, 1: 0.51, 3: 0.525, 5: 0.535, 10: 0.56, 20: 0.58},
    Mode.REST: {0: 0.63, 1: 0.63, 3: 0.63, 5: 0.63, 10: 0.615, 20: 0.58},
}
"""nDCG@10 that is asked for, by mode and k"""

LEARNED, CONTROL, START = "fewstep", "trained without steps", "unadapted start"
Pooled = Mapping[Mode, Mapping[str, Values]]
Line = tuple[str, Estimate, float, bool]
"""What is asked for, what was found, the bound, and whether it holds"""


def load_movielens() -> Dataset:
    """MovieLens-100K as `fewstep data` writes it. Raises DataError where it cannot be fetched."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        corpus.write(movielens.load(), out)
        return dataset.load(out / "interactions.jsonl", out / "items.jsonl", out / "users.jsonl")


def measure_folds(
    data: Dataset, config: TrainingConfig, *, folds: tuple[int, ...], tell: Callable[[str], None]
) -> Pooled:
    """Train and measure on each split, and pool the held-out users: by mode and scorer, (n_users, len(KS))."""
    parts = splits.folds(data.n_users, seed=SEED)
    found: dict[Mode, dict[str, list[Values]]] = {mode: {} for mode in Mode}
    for fold in folds:
        tell(f"fold {fold}")
        stopping = parts[(fold + 1) % len(parts)]
        rest = np.setdiff1d(np.arange(data.n_users), parts[fold])
        known, held_out = subset(data, rest), subset(data, np.sort(parts[fold]))
        users = protocol.eligible_users(held_out)
        for scorer in _scorers(known, config, np.flatnonzero(np.isin(rest, stopping))):
            for mode in Mode:
                values = protocol.measure(scorer, held_out, users, mode=mode, seed=SEED)
                found[mode].setdefault(scorer.name, []).append(values)
    return {
        mode: {
            name: Values(*(np.concatenate(column) for column in zip(*each, strict=True))) for name, each in by.items()
        }
        for mode, by in found.items()
    }


def judge(pooled: Pooled) -> list[Line]:
    """The lines of the acceptance: levels per mode and k, intervals against every baseline, steps against none."""
    lines: list[Line] = []
    for mode, values in pooled.items():
        ndcg = {name: each.ndcg for name, each in values.items()}
        for k, level in LEVELS[mode].items():
            found = bootstrap_mean(ndcg[LEARNED][:, KS.index(k)], seed=SEED)
            lines.append((f"{mode.value}, k={k}: nDCG@10", found, level, found.mean >= level))
        for name in (name for name in ndcg if name not in (LEARNED, CONTROL, START)):
            for column, k in enumerate(KS[1:], start=1):
                lines.append(_above_zero(f"{mode.value}, k={k}: minus {name}", (ndcg[LEARNED] - ndcg[name])[:, column]))
        for name in (CONTROL, START):
            difference = (ndcg[LEARNED] - ndcg[name])[:, 1:].mean(axis=1)
            lines.append(_above_zero(f"{mode.value}, mean over k >= 1: minus {name}", difference))
    return lines


def main() -> None:
    """Measure all seven splits, some minutes, and print tables and lines."""
    console = Console()
    with Console(stderr=True).status("reading MovieLens-100K") as status:
        pooled = measure_folds(load_movielens(), TrainingConfig(), folds=FOLDS, tell=status.update)
    for mode, values in pooled.items():
        console.print(*tables.of_scorers(protocol.report(values, baselines.RECENCY, mode=mode, seed=SEED)))
    console.print(_as_table(judge(pooled)))


def _scorers(known: Dataset, config: TrainingConfig, stopping: np.ndarray) -> list[Any]:
    """The learner, its controls, and the baselines; these need no early stopping and get those users as well."""
    learned, control = (
        as_scorer(train(known, config.model_copy(update={"inner_steps": steps}), seed=SEED, validation=stopping))
        for steps in (config.inner_steps, 0)
    )
    return [
        learned,
        baselines.FittedScorer(CONTROL, control.score),
        Unadapted(learned, START),
        *baselines.fit_all(known),
    ]


def _above_zero(asked: str, differences: np.ndarray) -> Line:
    found = bootstrap_mean(differences, seed=SEED)
    return asked, found, 0.0, found.low > 0


def _as_table(lines: list[Line]) -> Table:
    title = f"{sum(holds for *_, holds in lines)} of {len(lines)} lines hold"
    table = Table("line", "found", "95 % interval", "asked", "", title=title)
    for asked, found, bound, holds in lines:
        interval = f"{found.low:+.3f} to {found.high:+.3f}"
        table.add_row(asked, f"{found.mean:+.3f}", interval, f"{bound:.3f}", "holds" if holds else "DOES NOT HOLD")
    return table


if __name__ == "__main__":
    typer.run(main)
