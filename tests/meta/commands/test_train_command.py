import json
import subprocess
import sys

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from meta.commands.train import train
from meta.dataset import load
from meta.served import load_served
from meta.supports import first_events
from schemas.errors import BundleError, ConfigurationError, DataError
from stream.engine.bundle import load_bundle


@pytest.fixture
def run(made_up, tmp_path):
    app = typer.Typer()
    app.command("train")(train)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("epochs = 2\nvalidate_every = 2\nd = 4\n")
    given = {
        "--interactions": made_up / "interactions.jsonl",
        "--items": made_up / "items.jsonl",
        "--users": made_up / "users.jsonl",
        "--model-store": tmp_path / "store",
        "--model": "small",
        "--config": recipe,
    }

    def invoke(*flags, **changed):
        options = given | {f"--{name.replace('_', '-')}": value for name, value in changed.items()}
        return CliRunner().invoke(app, [*flags, *(str(part) for pair in options.items() for part in pair)])

    return invoke


def test_it_writes_a_bundle_and_prints_it_as_json(run, tmp_path):
    done = run("--json", seed=5)
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    served = load_served(str(tmp_path / "store"), "small")
    assert served.manifest.version == found["version"]
    assert found["seeds"] == {"training": 5}
    assert served.manifest.inner_steps == 3
    assert len(found["data"]["sha256"]["items.jsonl"]) == 64
    assert [epoch for epoch, _ in served.manifest.data["learning_curve"]] == [2]
    for mode in ("rest", "fixed"):
        scorers = found["measures"][mode]["scorers"]
        assert {"fewstep", "unadapted start", "popularity with recency", "item-kNN"} <= set(scorers)


def test_it_tells_people_the_measures_and_what_to_type_next(run, tmp_path):
    done = run()
    assert done.exit_code == 0, done.exception
    assert "item-kNN" in done.stdout
    assert "wrote small, version" in done.stdout
    assert f"fewstep worker --model-store {tmp_path / 'store'} --model small" in done.stdout.replace("\n", " ")
    assert "epoch 2 of 2: validation nDCG@10" in done.stderr


def test_ratings_are_learned_told_and_served_as_ratings(run, rated, tmp_path):
    done = run(objective="rating", interactions=rated / "interactions.jsonl")
    assert done.exit_code == 0, done.exception
    assert "mean absolute error, fewstep: k=0" in done.stdout
    loaded = load_bundle(str(tmp_path / "store"), "small")
    assert loaded.manifest.objective == "rating"
    card = (tmp_path / "store" / "small" / loaded.manifest.version / "README.md").read_text()
    assert "Mean absolute error on" in card
    dataset = load(rated / "interactions.jsonl", rated / "items.jsonl", rated / "users.jsonl", like=loaded.manifest)
    supports = first_events(dataset, np.arange(8), 5)._asdict()
    features = supports | {"time_index": np.zeros(8, dtype=np.int64)}
    users, vectors = loaded.adapt(features)
    scores = loaded.score(users, features["time_index"])
    assert 1 < scores.mean() < 4
    # What the events say adds up to all that tells the score from the one without them.
    nobody = {name: np.zeros_like(feature) for name, feature in features.items()}
    nobody["user_features"] = features["user_features"]
    without = loaded.score(loaded.adapt(nobody)[0], features["time_index"])
    said = np.einsum("id,bsd->bi", loaded.catalog.vectors, vectors)
    np.testing.assert_allclose(scores, without + said, atol=1e-5)


@pytest.mark.parametrize(("algorithm", "complaint"), [("mamal", "algorithm is 'mamal'"), ("siamese", "no ratings")])
def test_an_algorithm_that_there_is_not_or_that_does_not_fit_is_refused(run, algorithm, complaint):
    done = run(algorithm=algorithm, objective="rating")
    assert isinstance(done.exception, ConfigurationError)
    assert complaint in str(done.exception)


def test_short_histories_train_without_measures(run, write_lines, event):
    rows = [event(f"u{user}", f"i{(user + n) % 9}", n) for user in range(30) for n in range(6)]
    done = run(
        interactions=write_lines("few.jsonl", rows),
        items=write_lines("few-items.jsonl", [{"item_id": f"i{n}"} for n in range(9)]),
    )
    assert done.exit_code == 0, done.exception
    assert "no validation user has events enough" in done.stdout


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"interactions": "none.jsonl"}, DataError),
        ({"config": "none.toml"}, ConfigurationError),
        ({"model": "a/b"}, ConfigurationError),
    ],
)
def test_what_is_wrong_is_raised_for_the_operator(run, changed, error):
    assert isinstance(run(**changed).exception, error)


def test_importing_the_command_imports_nothing_heavy():
    code = "import sys, meta.commands.train; print([m for m in ('torch', 'numpy', 'polars') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("url", "error"), [("nowhere://x", ConfigurationError), ("/dev/null/store", BundleError)])
def test_a_store_that_cannot_be_written_is_told_before_the_training(run, url, error):
    done = run(model_store=url)
    assert isinstance(done.exception, error)
    assert "epoch" not in done.stderr
