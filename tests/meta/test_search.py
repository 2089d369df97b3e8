import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meta import search
from meta.config import TrainingConfig
from meta.dataset import load
from schemas.errors import ConfigurationError

SHORT = TrainingConfig(d=4, epochs=2, validate_every=1)
SPACE = {"dropout": search.Range(low=0.1, high=0.8), "d": search.Choices(choices=[4, 8])}
DEADLINE_S = 120


def run(world, folder, *, trials=3, about=None, space=SPACE):
    return search.search(
        world, SHORT, space, folder, about=about or {"data": "one"}, trials=trials, timeout_s=None, seed=1,
        tell=lambda number, value: None,
    )  # fmt: skip


def test_the_best_trial_is_the_recipe_that_is_given(world, tmp_path):
    found = run(world, tmp_path)
    complete = [trial for trial in found.trials if trial["state"] == "complete"]
    best = max(complete, key=lambda trial: trial["value"])
    assert found.value == best["value"]
    assert {name: getattr(found.config, name) for name in SPACE} == best["params"]
    assert found.config.epochs == SHORT.epochs


def test_a_study_goes_on_where_it_stopped(world, tmp_path):
    first = run(world, tmp_path, trials=2)
    then = run(world, tmp_path, trials=3)
    assert then.trials[:2] == first.trials
    assert len(then.trials) == 3


def test_what_a_trial_cannot_be_made_of_is_one_line(world, tmp_path, capfd):
    with pytest.raises(ConfigurationError, match=r"the space holds d = 0"):
        run(world, tmp_path, space={"d": search.Choices(choices=[0])})
    assert capfd.readouterr().err == ""


def test_a_study_of_other_data_is_refused(world, tmp_path):
    run(world, tmp_path, trials=1)
    with pytest.raises(ConfigurationError, match="another data"):
        run(world, tmp_path, trials=2, about={"data": "two"})


def test_a_search_that_was_killed_runs_the_trial_in_hand_again(made_up, tmp_path):
    (tmp_path / "base.toml").write_text("d = 4\nepochs = 400\nvalidate_every = 400\n")
    (tmp_path / "space.toml").write_text("[dropout]\nlow = 0.1\nhigh = 0.8\n")
    command = [
        sys.executable, "-m", "stream", "search", "--interactions", made_up / "interactions.jsonl",
        "--items", made_up / "items.jsonl", "--config", tmp_path / "base.toml", "--space", tmp_path / "space.toml",
        "--out", tmp_path / "study", "--trials", "1",
    ]  # fmt: skip
    process = subprocess.Popen([str(part) for part in command], stderr=subprocess.DEVNULL)
    wait_for_running_trial(tmp_path / "study" / "study.journal", process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    drawn = params_of_trials(tmp_path / "study" / "study.journal")
    world = load(made_up / "interactions.jsonl", made_up / "items.jsonl")
    study = search._open_study(tmp_path / "study", seed=0)
    search._requeue_broken(study)
    trial = study.ask()
    assert search._suggest(trial, "dropout", search.Range(low=0.1, high=0.8)) == drawn[0]
    assert world.n_users


def wait_for_running_trial(journal: Path, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + DEADLINE_S
    while not params_of_trials(journal):
        assert process.poll() is None, "the search ended by itself"
        assert time.monotonic() < end, "no trial began"
        time.sleep(0.05)


def params_of_trials(journal: Path) -> list[float]:
    lines = journal.read_text().splitlines() if journal.exists() else []
    whole = [json.loads(line) for line in lines if line.endswith("}")]
    return [entry["param_value_internal"] for entry in whole if entry.get("param_name") == "dropout"]


def test_two_searches_do_not_share_a_folder(world, tmp_path):
    with search._locked(tmp_path), pytest.raises(ConfigurationError, match="another search"):
        run(world, tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[nonsense]\nlow = 1\nhigh = 2", "nonsense to search"),
        ("[d]\nlow = 1", "d: "),
        ("", "nothing to search"),
        ("[", "TOML"),
    ],
)
def test_a_space_that_cannot_be_searched_is_one_line(tmp_path, text, said):
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        search.read_space(path)
