"""Ratings: mean absolute error by k, and all other measures of ratings."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from meta import rating_protocol, tables
from meta.baselines import melu, ratings
from meta.benchmark.folds import Split
from meta.benchmark.lines import SEED, Line, above
from meta.benchmark.section import Findings
from meta.config import Objective, TrainingConfig
from meta.dataset import Dataset, subset
from meta.rating_protocol import KS, Predictions
from meta.scorer import FittedScorer, Scorer
from meta.training import as_scorer, refit, train

LEARNED, CONTROL = "fewstep", "trained without steps"
RIDGE, MELU = "ridge fold-in", "MeLU"
SHIFTED = "ridge fold-in, shifted"
TOLERANCE = 0.003
"""MAE by which ridge fold-in may be better"""
STEPS_WORTH = 0.03
"""MAE that the steps have to be worth at k = 20"""
Pooled = Mapping[str, Predictions]


def measure(split: Split) -> Pooled:
    """All predictors on the held-out users of a split."""
    known, held_out = (rating_protocol.rated_only(part) for part in (split.known, split.held_out))
    users = rating_protocol.rating_users(held_out)
    ridge = ratings.fit_ridge_fold_in(known, seed=SEED)
    scorers = (*_learned(split), *_baselines(known), ridge, _shifted(ridge, known, split.stopping))
    return {scorer.name: rating_protocol.predict(scorer, held_out, users) for scorer in scorers}


def findings(parts: Sequence[Pooled]) -> Findings:
    """Tables and lines of the held-out users of all splits."""
    pooled = {
        name: Predictions(*(np.concatenate(column) for column in zip(*(part[name] for part in parts), strict=True)))
        for name in parts[0]
    }
    return Findings(tables.of_ratings(rating_protocol.report(pooled, ratings.BIAS, seed=SEED)), judge(pooled))


def judge(pooled: Pooled) -> list[Line]:
    """Against ridge fold-in, MeLU and no steps; all differences are the other's error less the learner's."""
    mae = {name: found.absolute for name, found in pooled.items()}
    lines = []
    for column, k in enumerate(KS):
        better = {name: (values - mae[LEARNED])[:, column] for name, values in mae.items()}
        lines.append(above(f"ratings, k={k}: MAE of {RIDGE} minus", better[RIDGE], 0.0 if k >= 5 else -TOLERANCE))
        lines.append(above(f"ratings, k={k}: MAE of {MELU} minus", better[MELU]))
        if k == KS[-1]:
            lines.append(above(f"ratings, k={k}: MAE of {CONTROL} minus", better[CONTROL], STEPS_WORTH))
    return lines


def _learned(split: Split) -> Iterator[Scorer]:
    """The learner with its recipe for ratings, and the same without steps."""
    config = TrainingConfig(objective=Objective.RATING)
    for name, steps in ((LEARNED, config.inner_steps), (CONTROL, 0)):
        recipe = config.model_copy(update={"inner_steps": steps})
        trained = refit(
            train(split.known, recipe, seed=SEED, validation=split.stopping), split.known, recipe, seed=SEED
        )
        yield FittedScorer(name, as_scorer(trained).score)


def _baselines(known: Dataset) -> Iterator[Scorer]:
    yield ratings.fit_global_mean(known)
    yield ratings.fit_item_mean(known)
    yield ratings.fit_bias(known)
    yield ratings.fit_biased_factors(known, seed=SEED)
    yield melu.fit_melu(known, seed=SEED)


def _shifted(ridge: Scorer, known: Dataset, stopping: np.ndarray) -> Scorer:
    """Ridge fold-in predicts means, the measure asks for medians: its ratings are lifted by the median of what it
    misses those of the users for early stopping by, when fitted on the others."""
    others, checking = subset(known, np.setdiff1d(np.arange(known.n_users), stopping)), subset(known, stopping)
    fitted = ratings.fit_ridge_fold_in(others, seed=SEED)
    found = rating_protocol.predict(fitted, checking, rating_protocol.rating_users(checking))
    lift = float(np.median(found.actual[:, None] - found.predicted))
    low, high = known.rating.min(), known.rating.max()
    return FittedScorer(SHIFTED, lambda supports: np.clip(ridge.score(supports) + lift, low, high))
