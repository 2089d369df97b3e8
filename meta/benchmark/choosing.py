"""How the settings of the baselines were chosen: `python -m meta.benchmark.choosing NAME...`.

Every setting of a grid is fitted on nine folds and measured on the users of the tenth, for folds 1, 4 and 7, who are
test users of no split; of lists the nDCG@10, mean over k >= 1 and both modes, of ratings the MAE, mean over k.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from meta import baselines, protocol, rating_protocol
from meta.baselines import melu, ratings
from meta.benchmark.folds import VALIDATION_FOLDS, Split, load_movielens, split
from meta.benchmark.lines import SEED
from meta.modes import Mode
from meta.scorer import Scorer

Settings = Mapping[str, Sequence[float]]


class Choice(NamedTuple):
    """A baseline and the values that were tried for each of its settings."""

    fit: Callable[..., Scorer]
    grid: Settings
    rates: bool = False
    """Whether it predicts ratings"""


_MIX: Settings = {"shrinkage": (300.0, 3000.0), "share": (0.6, 0.7, 0.8, 0.85), "saturation": (0.0, 3.0, 10.0, 30.0)}
CHOICES = {
    "item-knn": Choice(baselines.fit_item_knn, {"shrinkage": (10.0, 100.0, 300.0, 1000.0, 3000.0)}),
    "item-knn-recency": Choice(baselines.fit_item_knn_recency, _MIX),
    "item-knn-late": Choice(baselines.fit_item_knn_late, _MIX),
    "ease": Choice(baselines.fit_ease, {"penalty": (100.0, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6)}),
    "als": Choice(
        baselines.fit_als,
        {"factors": (16, 32), "penalty": (30.0, 100.0, 150.0, 200.0, 300.0), "confidence": (0.3, 1.0, 2.0, 5.0)},
    ),
    "bpr": Choice(
        baselines.fit_bpr,
        {"factors": (16, 32), "penalty": (0.003, 0.01, 0.03), "fold_penalty": (0.1, 0.3, 1.0, 3.0)},
    ),
    "sasrec": Choice(baselines.fit_sasrec, {"d": (32, 64), "dropout": (0.3, 0.5), "weight_decay": (0.1, 1.0)}),
    "few-shot-ridge": Choice(
        baselines.fit_few_shot_ridge,
        {"penalty": (10.0, 30.0, 100.0, 300.0), "power": (0.0, 0.5, 1.0), "recency": (0.0, 0.5, 1.0, 2.0)},
    ),
    "bias": Choice(
        ratings.fit_bias,
        {"item_shrinkage": (2.0, 5.0, 10.0), "user_shrinkage": (5.0, 7.0, 10.0, 14.0, 20.0)},
        rates=True,
    ),
    "biased-factors": Choice(
        ratings.fit_biased_factors, {"factors": (8, 16, 32), "penalty": (3.0, 6.0, 12.0)}, rates=True
    ),
    "ridge": Choice(ratings.fit_ridge_fold_in, {"factors": (4, 8, 16), "penalty": (6.0, 12.0, 24.0)}, rates=True),
    "melu": Choice(melu.fit_melu, {"local_rate": (0.01, 0.03, 0.1), "local_steps": (1, 5)}, rates=True),
}


def measure(choice: Choice, splits: Sequence[Split], settings: Mapping[str, float]) -> float:
    """The figure that a baseline is chosen by."""
    found = [
        _of_ratings(choice, each, settings) if choice.rates else _of_lists(choice, each, settings) for each in splits
    ]
    return float(np.concatenate(found).mean())


def _of_lists(choice: Choice, split: Split, settings: Mapping[str, float]) -> np.ndarray:
    scorer, users = choice.fit(split.known, **settings), protocol.eligible_users(split.held_out)
    values = [protocol.measure(scorer, split.held_out, users, mode=mode, seed=SEED).ndcg[:, 1:] for mode in Mode]
    return np.asarray(np.mean(values, axis=(0, 2)))


def _of_ratings(choice: Choice, split: Split, settings: Mapping[str, float]) -> np.ndarray:
    known, held_out = (rating_protocol.rated_only(part) for part in (split.known, split.held_out))
    found = rating_protocol.predict(choice.fit(known, **settings), held_out, rating_protocol.rating_users(held_out))
    return np.asarray(found.absolute.mean(axis=1))


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(CHOICES)}; all if absent")] = None,
) -> None:
    """Print all settings of the baselines, the best first."""
    data = load_movielens()
    splits = [split(data, fold) for fold in VALIDATION_FOLDS]
    for name in names or list(CHOICES):
        choice = CHOICES[name]
        tried: list[tuple[float, dict[str, Any]]] = []
        for values in product(*choice.grid.values()):
            settings = dict(zip(choice.grid, values, strict=True))
            tried.append((measure(choice, splits, settings), settings))
        table = Table("MAE" if choice.rates else "nDCG@10", *choice.grid, title=name)
        for found, settings in sorted(tried, key=lambda each: each[0], reverse=not choice.rates):
            table.add_row(f"{found:.4f}", *(f"{value:g}" for value in settings.values()))
        Console().print(table)


if __name__ == "__main__":
    typer.run(main)
