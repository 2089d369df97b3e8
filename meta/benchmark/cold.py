"""Cold items and cold domains."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from rich.table import Table

from meta import cold
from meta.arrivals import first_of_each, through_arrivals
from meta.benchmark.folds import FOLDS, Split
from meta.benchmark.lines import SEED, Line, above
from meta.benchmark.section import Findings
from meta.config import TrainingConfig
from meta.domains import domain_offset, through_domains
from meta.measures import bootstrap_mean, bootstrap_of
from meta.training import as_scorer, train

CATEGORIES = dict(zip(FOLDS, ("Action", "Comedy", "Drama", "Romance", "Thriller", "Adventure", "Sci-Fi"), strict=True))
"""The category that is cold in a split"""
SHARE_ASKED = 0.9
"""Of the measure with all training events, that a new domain has to reach"""
LEARNED = "fewstep"
ALL, THIN = "all events", "a twentieth"
ARRIVALS = "a twentieth, and the first ten of others so far"


class Part(NamedTuple):
    """What one split gives."""

    items: Mapping[str, np.ndarray]
    """AUC by scorer (n_users,)"""
    domain: Mapping[str, np.ndarray]
    """nDCG@10 by how training was (n_users,)"""


def measure(split: Split, config: TrainingConfig | None = None) -> Part:
    """Train without a tenth of the items, with a twentieth of a domain's events, and with everything."""
    recipe = config or TrainingConfig()
    hidden = cold.cold_items(split.known, seed=SEED + split.fold)
    known = cold.without_items(split.known, hidden)
    learned = as_scorer(train(known, recipe, seed=SEED, validation=split.stopping))
    scorers = (learned, cold.fit_category_mean(known), cold.fit_category_taste(known))
    of_items = {scorer.name: cold.item_cold_auc(scorer, split.held_out, hidden) for scorer in scorers}
    items = cold.domain_items(split.known, CATEGORIES.get(split.fold, "Drama"))
    domain = cold.domain_of(split.held_out, items)
    learners = {ALL: split.known, THIN: cold.thinned(split.known, items, seed=SEED)}
    trained = {name: train(events, recipe, seed=SEED, validation=split.stopping) for name, events in learners.items()}
    scorers_of = {name: as_scorer(each) for name, each in trained.items()}
    scorers_of[ARRIVALS] = through_arrivals(trained[THIN], learners[THIN], first_of_each(domain.events, cold.SUPPORT))
    offset = domain_offset(trained[THIN], learners[THIN], items, seed=SEED)
    scorers_of["a twentieth, started from the domain"] = through_domains(trained[THIN], [items], offset[None])
    return Part(of_items, {name: cold.domain_ndcg(each, domain, seed=SEED) for name, each in scorers_of.items()})


def findings(parts: Sequence[Part]) -> Findings:
    """Two small tables and the lines."""
    items = {name: np.concatenate([part.items[name] for part in parts]) for name in parts[0].items}
    domain = {name: np.concatenate([part.domain[name] for part in parts]) for name in parts[0].domain}
    shown = {"AUC among items never seen in training": items, "nDCG@10 in a domain, after 10 events": domain}
    return Findings([_table(title, values) for title, values in shown.items()], judge(items, domain))


def judge(items: Mapping[str, np.ndarray], domain: Mapping[str, np.ndarray]) -> list[Line]:
    """AUC above the category mean's; a new domain against one with all its events."""
    lines = [above(f"cold items: AUC minus {cold.CATEGORY_MEAN}", items[LEARNED] - items[cold.CATEGORY_MEAN])]
    whole = domain[ALL]
    asked = ~np.isnan(whole)
    for learned in (THIN, ARRIVALS):
        share = bootstrap_of((domain[learned][asked], whole[asked]), np.divide, seed=SEED)
        name = f"cold domain, 10 events, {learned}: share of the in-domain nDCG@10"
        lines.append(Line(name, share, SHARE_ASKED, share.mean >= SHARE_ASKED))
    return lines


def _table(title: str, values: Mapping[str, np.ndarray]) -> Table:
    table = Table("", "mean", "95 % interval", "users", title=title)
    for name, each in values.items():
        found = bootstrap_mean(each, seed=SEED)
        table.add_row(name, f"{found.mean:.3f}", f"{found.low:.3f} to {found.high:.3f}", str(found.n_users))
    return table
