"""Long histories of MovieLens-100K, where nothing was planted: a window that slides with them, beside one that stays.

Figures only: nothing is asked of them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.table import Table

from meta import drift
from meta.benchmark.folds import Split
from meta.benchmark.lines import SEED
from meta.benchmark.section import Findings
from meta.config import TrainingConfig
from meta.measures import bootstrap_mean
from meta.training import as_scorer, train

LEARNED, CONTROL, STAYS = "fewstep", "trained without steps", "window of the first events"
Measured = Mapping[str, np.ndarray]
"""nDCG@10 (n_users, len(drift.LONG)) by arm"""


def measure(split: Split, config: TrainingConfig | None = None) -> Measured:
    """The held-out users with long histories; trained on all others, to the last epoch."""
    recipe = config or TrainingConfig()
    nobody = split.stopping[:0]
    learned, control = (
        as_scorer(train(split.known, each, seed=SEED, validation=nobody))
        for each in (recipe, recipe.model_copy(update={"inner_steps": 0}))
    )
    arms = {LEARNED: (learned, True), CONTROL: (control, True), STAYS: (learned, False)}
    return {
        name: drift.measure_long(scorer, split.held_out, slides=slides, seed=SEED)
        for name, (scorer, slides) in arms.items()
    }


def findings(parts: Sequence[Measured]) -> Findings:
    """One table of the held-out users of all splits."""
    pooled = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    title = f"nDCG@10 of all that follows, {len(pooled[LEARNED])} long histories"
    table = Table("arm", *(f"event {at}" for at in drift.LONG), title=title)
    for name, values in pooled.items():
        table.add_row(name, *(f"{value:.3f}" for value in np.nanmean(values, axis=0)))
        if name != LEARNED:
            each = (bootstrap_mean(column, seed=SEED) for column in (pooled[LEARNED] - values).T)
            cells = (f"{one.mean:+.3f}\n{one.low:+.3f} to {one.high:+.3f}" for one in each)
            table.add_row(f"{LEARNED} minus it", *cells)
    return Findings([table], [])
