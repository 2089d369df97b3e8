import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from meta.commands.data import data


@pytest.fixture
def app():
    app = typer.Typer()
    app.command("data")(data)
    return app


def invoke(app, *arguments: str):
    return CliRunner().invoke(app, list(arguments))


SMALL = ["synthetic", "--users", "40", "--items", "20", "--events-per-user", "8"]


def test_a_synthetic_world_is_written_and_reported(app, tmp_path: Path):
    done = invoke(app, *SMALL, "--out", str(tmp_path), "--hold-out", "2", "--json")
    assert done.exit_code == 0
    lines = json.loads(done.stdout)["lines"]
    assert lines["interactions.jsonl"] + lines["held-out.jsonl"] == 320
    assert (lines["items.jsonl"], lines["users.jsonl"]) == (20, 40)
    for name, count in lines.items():
        assert len((tmp_path / name).read_text().splitlines()) == count


def test_held_out_users_are_whole_users(app, tmp_path: Path):
    invoke(app, *SMALL, "--out", str(tmp_path), "--hold-out", "2")
    users = {
        name: {json.loads(line)["user_id"] for line in (tmp_path / name).read_text().splitlines()}
        for name in ("interactions.jsonl", "held-out.jsonl")
    }
    assert not users["interactions.jsonl"] & users["held-out.jsonl"]
    assert len(users["held-out.jsonl"]) <= 8


def test_without_holding_out_no_such_file_is_written(app, tmp_path: Path):
    done = invoke(app, *SMALL, "--out", str(tmp_path))
    assert f"{tmp_path / 'items.jsonl'}: 20 lines" in done.stdout
    assert not (tmp_path / "held-out.jsonl").exists()


def test_movielens_is_written_from_the_cache(app, tmp_path: Path, movielens_cache: Path, monkeypatch):
    monkeypatch.setenv("FEWSTEP_CACHE_DIR", str(movielens_cache))
    done = invoke(app, "movielens-100k", "--out", str(tmp_path), "--hold-out", "1", "--json")
    lines = json.loads(done.stdout)["lines"]
    assert lines["interactions.jsonl"] + lines["held-out.jsonl"] == 100_000
    assert 5_000 < lines["held-out.jsonl"] < 15_000


def test_an_unknown_source_is_a_usage_error(app, tmp_path: Path):
    assert invoke(app, "netflix", "--out", str(tmp_path)).exit_code == 2


@pytest.mark.parametrize("command", ["data", "evaluate"])
def test_importing_a_command_is_light(command):
    heavy = "{'numpy', 'polars', 'torch', 'onnxruntime'}"
    code = (
        f"import sys, meta.commands.{command}; found = {heavy} & set(sys.modules); sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stream_begins_where_the_warm_up_ends(app, tmp_path: Path):
    invoke(app, *SMALL, "--out", str(tmp_path / "whole"))
    invoke(app, *SMALL, "--out", str(tmp_path / "parted"), "--warm-up", "0.25")
    parts = [(tmp_path / "parted" / name).read_text() for name in ("interactions.jsonl", "stream.jsonl")]
    assert len(parts[0].splitlines()) == 80
    assert "".join(parts) == (tmp_path / "whole" / "interactions.jsonl").read_text()
