"""`fewstep bench` on a few hundred events: whether its figures agree with each other, not how fast anything is."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest
from tiny_bundle import write_tiny_bundle

from schemas.errors import ConfigurationError
from stream.bench.process_clock import CpuSamples, cpu_seconds, peak_mib
from stream.broker import Broker
from stream.cli.bench import bench
from stream.clients.connect import open_admin, partition_counts
from stream.settings import Settings

EVENTS = 400


@pytest.fixture
def command(broker: Broker, tmp_path: Path) -> list[str]:
    """The command on the session's broker with a tiny model: the floor and the worker, one round, no latency."""
    write_tiny_bundle(tmp_path / "models")
    return [
        sys.executable, "-m", "stream", "bench", "--bootstrap-servers", broker.bootstrap_servers,
        "--events", str(EVENTS), "--users", "50", "--rounds", "1", "--only", "floor", "--only", "fewstep",
        "--no-latency", "--model-store", str(tmp_path / "models"),
    ]  # fmt: skip


def left_on(broker: Broker) -> list[str]:
    """Topics and groups of a benchmark that the broker still has."""
    settings = Settings.load(kafka={"bootstrap_servers": broker.bootstrap_servers})
    with open_admin(settings.kafka) as admin:
        names = [*partition_counts(admin), *(group["group_id"] for group in admin.list_groups())]
    return [name for name in names if name.startswith("fewstep-bench-")]


def processes_in(folder: Path) -> list[str]:
    """Command lines of living processes that keep their temporary files below the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has just ended
            continue
    return found


def test_the_figures_of_a_small_run_agree(command: list[str], broker: Broker, tmp_path: Path) -> None:
    folder, report = tmp_path / "tmp", tmp_path / "report.md"
    folder.mkdir()
    done = subprocess.run(
        [*command, "--kernel", "--json", "--report", str(report)], env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    by_variant = {run["variant"]: run for run in found["runs"]}
    assert set(by_variant) == {"floor", "fewstep"}
    for run in found["runs"]:
        assert run["events"] == EVENTS
        assert run["events_per_s"] == pytest.approx(run["events"] / run["seconds"])
        assert min(run["cpu_us_per_event"], run["peak_mib"]) > 0
        assert found["summary"][run["variant"]]["events_per_s"]["median"] == pytest.approx(run["events_per_s"])
    assert by_variant["floor"]["stages"] == {}
    assert sum(by_variant["fewstep"]["stages"].values()) >= by_variant["fewstep"]["cpu_s"]  # a poll before the clock
    assert by_variant["floor"]["lists"] == 0 < by_variant["fewstep"]["lists"] <= EVENTS
    assert [times["n_items"] for times in found["kernels"]] == [40, 20_000]
    assert all(times["ratio"]["low"] > 0 for times in found["kernels"])
    assert found["ratios"] == {}  # none of those that it is compared with has run
    assert "| aiokafka getmany alone |" in report.read_text()
    assert (list(folder.iterdir()), left_on(broker)) == ([], [])


@pytest.mark.parametrize("at_work", ["floor", "fewstep"])
def test_an_interrupted_benchmark_leaves_nothing(
    command: list[str], broker: Broker, tmp_path: Path, at_work: str
) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    bench = subprocess.Popen(
        command, env={**os.environ, "TMPDIR": str(folder)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    deadline = monotonic() + 60
    while not list(folder.glob(f"*/*-{at_work}-*/output.log")):
        assert monotonic() < deadline and bench.poll() is None
        sleep(0.02)
    os.killpg(bench.pid, signal.SIGINT)  # as a terminal does: to all in the foreground
    said, _ = bench.communicate(timeout=60)
    assert bench.returncode == 130, said
    assert "Traceback" not in said
    assert (list(folder.iterdir()), left_on(broker), processes_in(folder)) == ([], [], [])


def test_a_model_without_a_store_is_wrong_usage() -> None:
    done = subprocess.run([sys.executable, "-m", "stream", "bench", "--model", "m"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--model needs --model-store" in done.stderr


def test_a_report_that_cannot_be_written_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"r\.md cannot be written \(no such file or directory\)"):
        bench(report=tmp_path / "nowhere" / "r.md")


def test_cpu_and_memory_of_a_process_are_told_by_the_kernel() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "x = bytearray(50 << 20)\nwhile True: pass"])
    try:
        with CpuSamples(busy.pid) as samples:
            deadline = monotonic() + 30
            while cpu_seconds(busy.pid) < 0.3 and monotonic() < deadline:
                sleep(0.01)
            assert peak_mib(busy.pid) > 50
        assert samples.between(0.0, 1e12) > 0.2
    finally:
        busy.kill()
        busy.wait()
    with pytest.raises(OSError):
        cpu_seconds(busy.pid)
