"""Measures as tables for people."""

from typing import Any

from rich.table import Table

from meta.lists import ADAPTED, ARMS


def of_scorers(found: dict[str, Any]) -> list[Table]:
    """nDCG by scorer and k, and the difference to the reference with its interval."""
    title = f"nDCG@{found['cutoff']}, mode {found['mode']}, {found['n_users']} held-out users"
    levels = Table("scorer", title=title)
    differences = Table(
        "scorer", show_lines=True, title=f"Minus {found['reference']}: mean, and both ends of the 95 % interval"
    )
    first = next(iter(found["scorers"].values()))
    for k in first["ndcg"]:
        levels.add_column(f"k={k}", justify="right")
        differences.add_column(f"k={k}", justify="right")
    for name, measures in found["scorers"].items():
        levels.add_row(name, *(_number(estimate["mean"]) for estimate in measures["ndcg"].values()))
        if name != found["reference"]:
            cells = (_interval(estimate) for estimate in measures["ndcg_minus_reference"].values())
            differences.add_row(name, *cells)
    return [levels, differences]


def of_ratings(found: dict[str, Any]) -> list[Table]:
    """MAE by predictor and k with its difference to the reference, and all measures at the largest k."""
    title = f"MAE of ratings, {found['n_users']} held-out users"
    levels = Table("predictor", title=title)
    differences = Table(
        "predictor", show_lines=True, title=f"Minus {found['reference']}: mean, and both ends of the 95 % interval"
    )
    first = next(iter(found["scorers"].values()))
    largest = list(first["mae"])[-1]
    names = [name for name in first if name != "mae_minus_reference"]
    everything = Table("predictor", *names, title=f"At k={largest}; liked is {found['liked_from']:g} and more")
    for k in first["mae"]:
        levels.add_column(f"k={k}", justify="right")
        differences.add_column(f"k={k}", justify="right")
    for name, measures in found["scorers"].items():
        levels.add_row(name, *(_number(estimate["mean"]) for estimate in measures["mae"].values()))
        everything.add_row(name, *(_number(measures[measure][largest]["mean"]) for measure in names))
        if name != found["reference"]:
            cells = (_interval(estimate) for estimate in measures["mae_minus_reference"].values())
            differences.add_row(name, *cells)
    return [levels, differences, everything]


def of_lists(found: dict[str, Any]) -> list[Table]:
    """One row per k and one for all, of the arms and the paired differences."""
    cutoff = found["cutoff"]
    table = Table("k", "users", *ARMS, show_lines=True, title=f"nDCG@{cutoff} of published lists")
    for arm in ARMS[1:]:
        table.add_column(f"{ADAPTED} minus {arm}", justify="right")
    for k, measures in [*found["by_k"].items(), ("pooled", found["pooled"])]:
        ndcg = measures["ndcg"]
        levels = [_number(ndcg[arm]["mean"]) for arm in ARMS]
        differences = [_interval(ndcg[f"{ADAPTED} minus {arm}"]) for arm in ARMS[1:]]
        table.add_row(k, str(ndcg[ADAPTED]["n_users"]), *levels, *differences)
    return [table]


def of_stream(found: dict[str, Any]) -> list[Table]:
    """HR by arm, over all tested events and over those of new users."""
    table = Table(
        "list of",
        f"all {found['n_events']} events",
        f"{found['n_few']} of users with fewer than {found['few']} positive ones",
        title=f"HR@{found['cutoff']}, test then learn",
    )
    for arm, rate in found["hit_rate"].items():
        table.add_row(arm, _number(rate), _number(found["hit_rate_few"][arm]))
    return [table]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(estimate: dict[str, Any]) -> str:
    if estimate["mean"] is None:
        return "-"
    # One above the other, so that seven columns fit into 80 characters.
    return "\n".join(f"{estimate[part]:+.3f}" for part in ("mean", "low", "high"))
