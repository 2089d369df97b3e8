import json

import numpy as np
import pytest

from meta import served
from meta.report import figures
from meta.report.calibration import calibration
from meta.report.item_map import item_map


def test_the_figures_are_json(collected):
    assert json.loads(json.dumps(collected)) == collected


def test_no_step_is_the_pooled_start_and_all_steps_are_the_bundle(collected):
    manifest_steps = len(collected["steps"]) - 1
    assert manifest_steps >= 1
    assert collected["steps"][str(manifest_steps)] == collected["measures"]["fewstep"]["ndcg"]
    # Without events a step leads nowhere, with some it does.
    assert len({found["0"]["mean"] for found in collected["steps"].values()}) == 1
    assert collected["steps"]["0"]["10"] != collected["steps"][str(manifest_steps)]["10"]


def test_differences_are_paired(collected):
    ndcg = {name: found["ndcg"]["5"]["mean"] for name, found in collected["measures"].items()}
    difference = collected["minus_reference"]["fewstep"]["5"]["mean"]
    assert difference == pytest.approx(ndcg["fewstep"] - ndcg[collected["reference"]])


def test_expected_and_observed_agree_on_the_number_of_right_answers(collected):
    points = collected["calibration"]
    assert [point["expected"] for point in points] == sorted(point["expected"] for point in points)
    total = sum(point["n"] for point in points)
    expected, observed = (
        sum(point[side] * point["n"] for point in points) / total for side in ("expected", "observed")
    )
    assert expected == pytest.approx(observed)


def test_a_scorer_that_knows_nothing_expects_the_same_everywhere(made_up):
    from meta import dataset, protocol
    from meta.modes import Mode
    from meta.scorer import FittedScorer

    held_out = dataset.load(made_up / "held-out.jsonl", made_up / "items.jsonl")
    flat = FittedScorer("flat", lambda supports: np.zeros((len(supports.users), held_out.n_items)))
    users = protocol.eligible_users(held_out)[:1]
    points = calibration(flat, held_out, users, mode=Mode.FIXED)
    assert len({round(point["expected"], 9) for point in points}) == 1


def test_the_map_holds_every_item_with_title_and_group(model_store):
    bundle = served.load_served(str(model_store), "small")
    found = item_map(bundle)
    assert {item["title"] for item in found["items"]} == {item.title for item in bundle.items}
    assert set(found["groups"]) == {item.domain for item in bundle.items}
    assert 0 < found["explained"][1] <= found["explained"][0] < 1
    assert item_map(bundle) == found


def test_items_without_training_events_are_measured_where_there_are_some(made_up, model_store):
    from meta import cold, dataset

    bundle = served.load_served(str(model_store), "small")
    train, held_out = (
        dataset.load(made_up / name, made_up / "items.jsonl", like=bundle.manifest, item_ids=bundle.item_ids)
        for name in ("interactions.jsonl", "held-out.jsonl")
    )
    assert figures.cold_items([bundle], held_out, train, seed=0) == {}
    unseen = np.isin(np.arange(train.n_items), train.item[:40])
    found = figures.cold_items([bundle], held_out, cold.without_items(train, unseen), seed=0)
    assert found["cold_items"]["n_items"] == unseen.sum()
    assert set(found["cold_items"]["auc"]) == {"fewstep", "category mean", "category taste"}
