import json
from collections import defaultdict
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from meta.commands.evaluate import evaluate
from schemas.errors import ConfigurationError, DataError


@pytest.fixture
def run():
    app = typer.Typer()
    app.command("evaluate")(evaluate)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def files(made_up: Path):
    return [
        *("--interactions", made_up / "held-out.jsonl"),
        *("--train-interactions", made_up / "interactions.jsonl"),
        *("--items", made_up / "items.jsonl"),
    ]


@pytest.fixture
def captured(made_up: Path, tmp_path: Path) -> Path:
    """Lists that foresee the future for every third user, and a start that knows nothing."""
    sent = defaultdict(list)
    for line in (made_up / "held-out.jsonl").read_text().splitlines():
        event = json.loads(line)
        sent[event["user_id"]].append(event["item_id"])
    source = {"topic": "t", "partition": 0, "offset": 0}
    shared = {"model": "m", "model_version": "1", "source": source, "generated_at": "2026-01-01T00:00:00Z"}
    path = tmp_path / "lists.jsonl"
    with path.open("w") as file:
        for number, (user, items) in enumerate(sent.items()):
            start = [f"item-{n}" for n in range(12)]
            for k in range(6):
                later = [item for item in dict.fromkeys(items[k:]) if item not in items[:k]]
                chosen = later if k and number % 3 == 0 else start
                listed = [{"item_id": item, "score": 0.0} for item in chosen[:12]]
                file.write(json.dumps({"user_id": user, "items": listed, "support_size": k, **shared}) + "\n")
    return path


def test_published_lists_are_measured_as_json(run, files, captured):
    done = run(*files, "--lists", captured, "--json")
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    assert list(found["by_k"]) == ["1", "2", "3", "4", "5"]
    assert found["pooled"]["ndcg"]["adapted minus unadapted start"]["low"] > 0


def test_people_get_a_table(run, files, captured):
    done = run(*files, "--lists", captured, "--max-support", "2")
    assert done.exit_code == 0, done.exception
    assert "published lists" in done.stdout
    assert "pooled" in done.stdout


def test_a_user_in_both_files_is_refused(run, made_up, files, captured):
    done = run(*files, "--lists", captured, "--interactions", made_up / "interactions.jsonl")
    assert isinstance(done.exception, DataError)
    assert "hold out whole users" in str(done.exception)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "nothing to measure"),
        (["--model", "m", "--lists", "x"], "exclude each other"),
        (["--model", "m"], "nothing"),
    ],
)
def test_it_says_what_is_to_be_given(run, files, flags, message):
    done = run(*files, *flags)
    assert isinstance(done.exception, ConfigurationError)
    assert message in str(done.exception)


def test_a_report_is_written_beside_what_is_printed(run, made_up, files, model_store, tmp_path):
    model = ("--model-store", model_store, "--model", "small", "--users", made_up / "users.jsonl")
    done = run(*files, *model, "--report", tmp_path / "report", "--json")
    assert done.exit_code == 0, done.exception
    figures = json.loads((tmp_path / "report" / "report.json").read_text())
    printed = json.loads(done.stdout)["scorers"]["fewstep"]["ndcg"]
    assert figures["measures"]["fewstep"]["ndcg"] == printed
    assert (tmp_path / "report" / "report.html").read_text().startswith("<!doctype html>")


def test_a_report_is_of_a_model(run, files, captured, tmp_path):
    done = run(*files, "--lists", captured, "--report", tmp_path)
    assert isinstance(done.exception, ConfigurationError)
    assert "--report is about a model" in str(done.exception)
