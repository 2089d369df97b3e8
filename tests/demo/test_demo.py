"""The demo on a small made-up world: to its end, and interrupted at every stage."""

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from stream.demo.scenario import _measure_table

LEFT_WITHIN_S = 30


def test_the_measures_fit_into_a_terminal_of_80_columns() -> None:
    names = ("adapted", "unadapted start", "popularity with recency")
    found = {name: {"mean": 0.5, "n_users": 190} for name in names}
    found |= {f"adapted minus {name}": {"mean": 0.05, "low": -0.009, "high": 0.019} for name in names[1:]}
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(_measure_table({"by_k": {}, "pooled": {"ndcg": found}}, "ndcg", "nDCG@10"))
    shown = console.export_text()
    assert "…" not in shown
    assert shown.count("+0.050 [-0.009 +0.019]") == 2


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Canonical files of 150 users, three tenths of them held out."""
    folder = tmp_path_factory.mktemp("world")
    options = ["--users", "150", "--items", "80", "--events-per-user", "25", "--hold-out", "3"]
    command = [sys.executable, "-m", "stream", "data", "synthetic", "--out", str(folder), *options]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def start(world: Path, folder: Path) -> "subprocess.Popen[str]":
    """`fewstep demo` in a session and with a folder for temporary files of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "stream", "demo", "--data", str(world), "--users", "1"],
        env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "160"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def processes_naming(folder: Path) -> list[str]:
    """Command lines or environments of living processes that name the folder, but for our own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:  # it has just ended
            continue
        if str(folder).encode() in text:
            found.append((entry / "cmdline").read_text().replace("\0", " "))
    return found


@pytest.mark.timeout(180)
def test_the_demo_measures_the_lists_that_came_through_kafka(world: Path, tmp_path: Path) -> None:
    demo = start(world, tmp_path)
    output, _ = demo.communicate(timeout=170)
    assert demo.returncode == 0, output
    assert re.search(r"Broker +(Apache Kafka|embedded broker)", output)
    assert "event 5 of" in output
    assert re.search(r"events/s applied, lag 0", output)
    assert re.search(
        r"the lists (beat|lose to|are not told apart from) popularity with recency: nDCG@10 [+-]0\.\d{3}", output
    )
    assert "fewstep worker --model-store models" in output
    assert (list(tmp_path.iterdir()), processes_naming(tmp_path)) == ([], [])


@pytest.mark.timeout(180)
@pytest.mark.parametrize("stage", ["Broker", "Topics", "Training", "Worker", "event 2", "What 5 events did"])
def test_an_interrupted_demo_leaves_no_process_and_no_file(world: Path, tmp_path: Path, stage: str) -> None:
    demo = start(world, tmp_path)
    assert demo.stdout is not None
    seen = ""
    for line in demo.stdout:
        seen += line
        if stage in line:
            break
    os.killpg(demo.pid, signal.SIGINT)  # as a terminal does: to all in the foreground
    rest, _ = demo.communicate(timeout=LEFT_WITHIN_S)
    assert demo.returncode == 130, seen + rest
    assert "Traceback" not in seen + rest
    assert (list(tmp_path.iterdir()), processes_naming(tmp_path)) == ([], [])
