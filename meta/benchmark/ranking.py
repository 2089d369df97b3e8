"""Lists: nDCG@10 by k and mode against the levels, every baseline, no steps, and no adaptation."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from meta import baselines, protocol, tables
from meta.benchmark.folds import Split
from meta.benchmark.lines import SEED, Line, above, reaches
from meta.benchmark.section import Findings
from meta.config import TrainingConfig
from meta.modes import Mode
from meta.protocol import KS, Unadapted, Values
from meta.scorer import FittedScorer, Scorer
from meta.training import as_scorer, refit, train

LEVELS = {
    Mode.FIXED: {0: 0.50, 1: 0.51, 3: 0.525, 5: 0.535, 10: 0.56, 20: 0.58},
    Mode.REST: {0: 0.63, 1: 0.63, 3: 0.63, 5: 0.63, 10: 0.615, 20: 0.58},
}
"""nDCG@10 that is asked for, by mode and k"""
LEARNED, CONTROL, START = "fewstep", "trained without steps", "unadapted start"
LATE = "item-kNN with late popularity"
LATE_BOUND = -0.01
"""How much worse than that baseline is allowed at k <= 3"""
NOT_ASKED = ("late popularity",)
"""Measured beside the others, but no line"""
Pooled = Mapping[Mode, Mapping[str, Values]]


def measure(split: Split, config: TrainingConfig | None = None) -> Pooled:
    """The learner, its controls and all baselines on the held-out users of a split: by mode and scorer."""
    users = protocol.eligible_users(split.held_out)
    found: dict[Mode, dict[str, Values]] = {mode: {} for mode in Mode}
    for scorer in _scorers(split, config or TrainingConfig()):
        for mode in Mode:
            found[mode][scorer.name] = protocol.measure(scorer, split.held_out, users, mode=mode, seed=SEED)
    return found


def findings(parts: Sequence[Pooled]) -> Findings:
    """Tables and lines of the held-out users of all splits."""
    pooled = pool(parts)
    shown = [
        table
        for mode, values in pooled.items()
        for table in tables.of_scorers(protocol.report(values, baselines.RECENCY, mode=mode, seed=SEED))
    ]
    return Findings(shown, judge(pooled))


def pool(parts: Sequence[Pooled]) -> Pooled:
    """The users of all splits one after the other."""
    pooled: dict[Mode, dict[str, Values]] = {mode: {} for mode in parts[0]}
    for mode, by in parts[0].items():
        for name in by:
            each = [part[mode][name] for part in parts]
            pooled[mode][name] = Values(*(np.concatenate(column) for column in zip(*each, strict=True)))
    return pooled


def judge(pooled: Pooled) -> list[Line]:
    """Levels per mode and k, intervals against every baseline, steps against none."""
    lines: list[Line] = []
    for mode, values in pooled.items():
        ndcg = {name: each.ndcg for name, each in values.items()}
        for k, level in LEVELS[mode].items():
            lines.append(reaches(f"{mode.value}, k={k}: nDCG@10", ndcg[LEARNED][:, KS.index(k)], level))
        for name in (name for name in ndcg if name not in (LEARNED, CONTROL, START, *NOT_ASKED)):
            for column, k in enumerate(KS[1:], start=1):
                bound = LATE_BOUND if name == LATE and k <= 3 else 0.0
                asked = f"{mode.value}, k={k}: minus {name}"
                lines.append(above(asked, (ndcg[LEARNED] - ndcg[name])[:, column], bound))
        for name in (CONTROL, START):
            difference = (ndcg[LEARNED] - ndcg[name])[:, 1:].mean(axis=1)
            lines.append(above(f"{mode.value}, mean over k >= 1: minus {name}", difference))
    return lines


def _scorers(split: Split, config: TrainingConfig) -> Iterator[Scorer]:
    recipes = [config.model_copy(update={"inner_steps": steps}) for steps in (config.inner_steps, 0)]
    learned, control = (
        as_scorer(
            refit(train(split.known, recipe, seed=SEED, validation=split.stopping), split.known, recipe, seed=SEED)
        )
        for recipe in recipes
    )
    yield from (learned, FittedScorer(CONTROL, control.score), Unadapted(learned, START))
    yield from baselines.fit_every(split.known, seed=SEED)
