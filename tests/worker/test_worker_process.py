"""The worker as a process: what it needs, what it refuses, and how it says so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from deployment import Deployment
from tiny_bundle import write_manifest, write_tiny_bundle

from schemas import FORMAT_VERSION
from stream.broker import Broker
from stream.clients.event_file import FileEvent

BLOCK = """
import sys
BLOCKED = {"torch", "onnx", "onnxscript", "polars", "meta"}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked in this test")
sys.meta_path.insert(0, Refuse())
"""


def started(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "stream", "worker", *arguments]
    environment = {"PATH": "/usr/bin:/bin", "FEWSTEP_WORKER__BROKER_PATIENCE_S": "0"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


def refusal(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line that a refused start leaves."""
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1, done.stderr
    assert done.stdout == ""
    assert lines[0].startswith("fewstep: ")
    return lines[0]


def test_the_worker_serves_with_torch_and_its_kin_blocked(broker: Broker, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(BLOCK)
    probe = subprocess.run(
        [sys.executable, "-c", "import torch"], capture_output=True, env={"PYTHONPATH": str(tmp_path / "site")}
    )
    assert b"blocked in this test" in probe.stderr
    with Deployment(
        broker, prefix, tmp_path, partitions=1, environment={"PYTHONPATH": str(tmp_path / "site")}
    ) as served:
        served.start_worker()
        value = json.dumps({"item_id": "i1", "event_type": "view"}).encode()
        offset = served.send([FileEvent("ann", None, value)])[0].offset
        assert len(served.wait_for_lists({"ann": offset})["ann"]["items"]) == 10
        assert served.stop_worker() == 0


def test_without_a_reachable_broker_it_names_the_address(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path)
    line = refusal(started("--model-store", str(tmp_path), "--bootstrap-servers", "127.0.0.1:1"))
    assert "127.0.0.1:1 is unreachable" in line


def test_without_a_bundle_it_names_model_and_store(tmp_path: Path) -> None:
    line = refusal(started("--model-store", str(tmp_path), "--model", "films"))
    assert "films" in line
    assert str(tmp_path) in line


@pytest.mark.parametrize("name", ["adapt.onnx", "theta.safetensors", "items.jsonl.gz", "manifest.json"])
def test_a_truncated_bundle_is_refused_naming_the_file(tmp_path: Path, name: str) -> None:
    write_tiny_bundle(tmp_path)
    damaged = tmp_path / "default" / "v1" / name
    damaged.write_bytes(damaged.read_bytes()[:-10])
    assert name in refusal(started("--model-store", str(tmp_path)))


def test_a_bundle_of_another_format_is_refused_naming_both(tmp_path: Path) -> None:
    manifest = write_tiny_bundle(tmp_path)
    write_manifest(tmp_path, manifest, format_version=FORMAT_VERSION + 1)
    line = refusal(started("--model-store", str(tmp_path)))
    assert str(FORMAT_VERSION + 1) in line
    assert str(FORMAT_VERSION) in line


def test_missing_topics_are_named_with_the_command_that_creates_them(broker: Broker, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path)
    line = refusal(
        started(
            "--model-store", str(tmp_path), "--bootstrap-servers", broker.bootstrap_servers, "--topic-prefix", "no-"
        )
    )
    assert "no-interactions" in line
    assert "fewstep topics create" in line
