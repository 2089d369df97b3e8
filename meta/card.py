"""The model card: `README.md` of a bundle, for people who find it in a store."""

from typing import Any

from schemas import Manifest, rfc3339

_SCORES = {
    "ranking": "Scores order one user's list; they are not probabilities.",
    "rating": "A score is the predicted rating; it is not cut to the scale.",
}


def model_card(manifest: Manifest) -> str:
    """Markdown on what the model is, what it was trained on, how well it did, and what it cannot do."""
    data = manifest.data
    kinds = [*manifest.kinds.types, *manifest.kinds.edges]
    parts = [
        f"# {manifest.model}, version {manifest.version}",
        f"A meta-learned initialization for per-user adaptation ({manifest.algorithm}), written by fewstep at"
        f" {manifest.created_at}. Given a user's recent events it takes {manifest.inner_steps} gradient steps on a user"
        f" vector of {manifest.d} numbers and scores {manifest.n_items} items.",
        "## Training data",
        f"{data['n_events']} events of {data['n_users']} users on {data['n_items']} items, from"
        f" {rfc3339(data['first_ms'])} to {rfc3339(data['last_ms'])}; {data['n_items_without_events']} items have no"
        f" event and are scored from their attributes, {data['dropped_events']} events were on items outside of the"
        f" catalog. Event types: {', '.join(kinds)}."
        f" User fields: {', '.join(feature.field for feature in manifest.user_features) or 'none'}.",
        "## Measures",
        *_measures(manifest.measures),
        "## Limits",
        "The validation users also chose the epoch, so the figures above lean to the good side: measure on held-out"
        " users with `fewstep evaluate` before trusting them. Popularity is that of the training span; the older the"
        f" bundle, the staler it is. {_SCORES[manifest.objective]}",
    ]
    return "\n\n".join(parts) + "\n"


def _measures(measures: dict[str, Any]) -> list[str]:
    if not measures:
        return ["No validation user had events enough to measure on."]
    blocks = []
    for mode, found in measures.items():
        measure, title = ("mae", "Mean absolute error") if mode == "rating" else ("ndcg", f"nDCG@{found['cutoff']}")
        sizes = list(next(iter(found["scorers"].values()))[measure])
        rows = [
            f"| {name} | " + " | ".join(_number(each[measure][size]["mean"]) for size in sizes) + " |"
            for name, each in found["scorers"].items()
        ]
        head = "| scorer | " + " | ".join(f"k={size}" for size in sizes) + " |"
        blocks.append(f"{title} on {found['n_users']} validation users, mode `{mode}`:")
        blocks.append("\n".join([head, "|---" * (len(sizes) + 1) + "|", *rows]))
    return blocks


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
