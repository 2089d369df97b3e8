import numpy as np
import pytest

from meta import dataset
from meta.benchmark import cold as section
from meta.benchmark import folds
from meta.config import TrainingConfig


def test_lines_of_cold_items_and_domains():
    noise = np.random.default_rng(0).normal(0, 0.01, 50)
    items = {"fewstep": 0.7 + noise, "category mean": 0.6 + 0 * noise}
    domain = {section.ALL: 0.5 + noise, section.THIN: 0.44 + noise, section.ARRIVALS: 0.46 + noise}
    of_items, of_domain, with_arrivals = section.judge(items, domain)
    assert of_items.holds and not of_domain.holds and with_arrivals.holds
    assert of_domain.found.mean == pytest.approx(0.88, abs=0.01)


def test_a_split_is_measured_from_end_to_end(made_up, monkeypatch):
    world = dataset.load(made_up / "interactions.jsonl", made_up / "items.jsonl", made_up / "users.jsonl")
    domain = world.items[0].domain
    monkeypatch.setattr(section, "CATEGORIES", {0: domain})
    part = section.measure(folds.split(world, 0), TrainingConfig(d=4, epochs=1))
    found = section.findings([part, part])
    assert (len(found.tables), len(found.lines)) == (2, 3)
    assert all(len(values) for values in part.domain.values())
