"""Decides whether a candidate may be published; each reason against it is one line."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from meta.dataset import Dataset
from meta.measures import CUTOFF, bootstrap_mean
from meta.refresh.incumbent import Incumbent
from meta.refresh.judging import COLD, COLD_SIZES, NEWEST, WIDTH, Judged, measure, supports_at, translated
from meta.refresh.loading import Check, check_loading
from meta.refresh.settings import RefreshSettings
from meta.scorer import Scorer
from meta.served import ServedBundle, load_served
from schemas import KafkaSettings
from schemas.errors import BundleError

PARITY = 1e-4
"""Largest difference between a score in torch and from the exported graphs; 6e-6 is what is seen."""
CANDIDATE = "fewstep"
_PARITY_USERS = 64


class Verdict(NamedTuple):
    """All checks that were made, and the measures by group, empty where it did not come to that."""

    checks: list[Check]
    measures: dict[str, Any]

    @property
    def reasons(self) -> list[str]:
        """Why it is refused; empty where it passes."""
        return [f"{check.name}: {check.detail}" for check in self.checks if not check.passed]


def check_candidate(
    store_url: str, model: str, reference: Scorer, dataset: Dataset, kafka: KafkaSettings
) -> tuple[list[Check], ServedBundle | None]:
    """What has to hold of any bundle: a worker loads it, it is of these items, and it scores as `reference` in torch.

    Stops at the first thing that does not hold, because the next would only follow from it.
    """
    checks = [check_loading(store_url, model, kafka)]
    if not checks[0].passed:
        return checks, None
    try:
        served = load_served(store_url, model)
    except BundleError as error:
        return [*checks, Check("files", False, str(error))], None
    same = served.item_ids == dataset.item_ids
    checks.append(
        Check("items", same, "in the order of the training" if same else "rows are not those of the training")
    )
    if same:
        checks.append(_parity(served, reference, dataset))
    return checks, served if checks[-1].passed else None


def check_catalog(item_ids: Sequence[str], incumbent: Incumbent | None, settings: RefreshSettings) -> Check:
    """A candidate for other items than those of the served catalog is that of another shop."""
    if incumbent is None:
        return Check("catalog", True, f"{len(item_ids)} items, the first of this model")
    old = incumbent.served.item_ids
    share = len(set(old) & set(item_ids)) / len(old)
    return Check(
        "catalog",
        share >= settings.min_overlap,
        f"{len(item_ids)} items, {share:.0%} of the {len(old)} that are served",
    )


def check_data(n_events: int, settings: RefreshSettings) -> Check:
    """Enough was learned from."""
    enough = n_events >= settings.min_events
    return Check("data", enough, f"trained on {n_events} events, {settings.min_events} are the least")


def judge(
    candidate: ServedBundle,
    dataset: Dataset,
    *,
    incumbent: Incumbent | None,
    as_incumbent: Dataset | None,
    baselines: Sequence[Scorer],
    cut_ms: int,
    settings: RefreshSettings,
    seed: int,
) -> Verdict:
    """Candidate against the served version and the baselines on what came after the cut.

    `as_incumbent` are the same users and rows in the encoding of the served version. It is refused where it is worse
    than that: the interval of the paired difference lies below 0, or its mean below the margin. Of each baseline it has
    to be better, over all users.
    """
    relevant = dataset.relevant
    scorers = [Judged(scorer, dataset, relevant) for scorer in (candidate, *baselines)]
    if incumbent is not None and as_incumbent is not None:
        scorers.append(Judged(translated(incumbent.served, dataset.item_ids), as_incumbent, relevant))
    values = {judged.scorer.name: measure(judged, cut_ms, seed=seed) for judged in scorers}
    own = values.pop(CANDIDATE)
    counts = {group: int((~np.isnan(own[group])).any(axis=1).sum()) for group in (NEWEST, COLD)}
    enough = counts[NEWEST] >= settings.min_judged
    checks = [
        Check(
            "judged users",
            enough,
            f"{counts[NEWEST]} with a history and {counts[COLD]} new ones, "
            f"{settings.min_judged} with a history are the least",
        )
    ]
    differences: dict[str, Any] = {}
    for name, other in values.items():
        for group in (NEWEST, COLD):
            found = bootstrap_mean(_per_user(own[group]) - _per_user(other[group]), seed=seed)
            differences.setdefault(name, {})[group] = found.as_json()
            if name == "incumbent" and found.n_users >= settings.min_judged:
                worse = found.high < 0 or found.mean < -settings.margin
                checks.append(Check(f"{group} users against the served version", not worse, _words(found)))
        if name != "incumbent":
            pooled = bootstrap_mean(np.concatenate([_per_user(own[g]) - _per_user(other[g]) for g in own]), seed=seed)
            checks.append(Check(f"all users against {name}", bool(pooled.mean > 0), _words(pooled)))
    levels = _levels({CANDIDATE: own, **values}, counts, seed)
    return Verdict(checks, {"levels": levels, "differences": differences})


def check_refit(
    refitted: ServedBundle,
    candidate: ServedBundle,
    dataset: Dataset,
    *,
    cut_ms: int,
    settings: RefreshSettings,
    seed: int,
) -> Check:
    """The refitted bundle has seen what is asked here; if it does worse than before, something went wrong."""
    values = [measure(Judged(scorer, dataset, dataset.relevant), cut_ms, seed=seed) for scorer in (refitted, candidate)]
    pooled = bootstrap_mean(
        np.concatenate([_per_user(values[0][g]) - _per_user(values[1][g]) for g in values[0]]), seed=seed
    )
    worse = pooled.high < 0 and pooled.mean < -settings.margin
    return Check("refitted on everything, against before", not worse, _words(pooled))


def _parity(served: ServedBundle, reference: Scorer, dataset: Dataset) -> Check:
    users = np.arange(min(_PARITY_USERS, dataset.n_users))
    largest = 0.0
    for size in (0, 1, WIDTH):
        supports = supports_at(dataset, users, np.minimum(size, dataset.lengths[users]))
        difference = np.abs(served.score(supports) - reference.score(supports)).max(initial=0.0)
        largest = max(largest, float(difference)) if np.isfinite(difference) else float("inf")
    return Check(
        "parity", largest <= PARITY, f"scores differ from the training's by {largest:.1e}, {PARITY:.0e} is the most"
    )


def _per_user(values: np.ndarray) -> np.ndarray:
    """Mean of a user's values (n, sizes), NaN left out."""
    counts = (~np.isnan(values)).sum(axis=1)
    return np.where(counts > 0, np.nansum(values, axis=1) / np.maximum(counts, 1), np.nan)


def _words(found: Any) -> str:
    return f"nDCG@{CUTOFF} {found.mean:+.3f} [{found.low:+.3f} {found.high:+.3f}] on {found.n_users} users"


def _levels(values: dict[str, Any], counts: dict[str, int], seed: int) -> dict[str, Any]:
    """By group, as the measures of a manifest: nDCG by scorer and support size."""
    sizes = {NEWEST: (WIDTH,), COLD: COLD_SIZES}
    return {
        group: {
            "cutoff": CUTOFF,
            "n_users": counts[group],
            "scorers": {
                name: {
                    "ndcg": {
                        str(size): bootstrap_mean(found[group][:, column], seed=seed).as_json()
                        for column, size in enumerate(sizes[group])
                    }
                }
                for name, found in values.items()
            },
        }
        for group in sizes
        if counts[group]
    }
