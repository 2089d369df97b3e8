import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from meta import distributed
from meta.distributed import Crew

# Tasks without chance: what is left of it lies in the order of the users, which all processes share.
RECIPE = """
d = 4
epochs = 3
validate_every = 3
batch_users = 32
dropout = 0.0
support_sizes = [3]
long_support_sizes = []
fixed_share = 0.0
"""


def trained(made_up: Path, folder: Path, launcher: list[str]) -> dict[str, np.ndarray]:
    """Train with these words before the command; gives the tensors."""
    (folder / "recipe.toml").write_text(RECIPE)
    command = [
        *launcher, sys.executable, "-m", "stream", "train", "--interactions", made_up / "interactions.jsonl",
        "--items", made_up / "items.jsonl", "--config", folder / "recipe.toml", "--model-store", folder / "store",
        "--model", "m", "--json",
    ]  # fmt: skip
    run = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr
    version = json.loads(run.stdout.strip().splitlines()[-1])["version"]
    bundles = [path for path in (folder / "store" / "m").iterdir() if path.is_dir() and path.name != "publications"]
    assert [path.name for path in bundles] == [version], "one process writes, and once"
    return load_file(bundles[0] / "theta.safetensors") | load_file(bundles[0] / "items.safetensors")


def test_two_processes_learn_what_one_learns(made_up, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    torchrun = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1",
        "--master-port", str(port), "--no-python",
    ]  # fmt: skip
    for name in ("alone", "together"):
        (tmp_path / name).mkdir()
    alone = trained(made_up, tmp_path / "alone", [])
    together = trained(made_up, tmp_path / "together", torchrun)
    assert alone.keys() == together.keys()
    for name, tensor in alone.items():
        assert together[name] == pytest.approx(tensor, abs=2e-3), name


def test_a_process_alone_weighs_nothing_and_averages_nothing():
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.tensor([1.0, 2.0])
    loss = torch.tensor(3.0)
    assert distributed.weighed(loss, 7, Crew()) is loss
    distributed.average_gradients([parameter], Crew())
    assert parameter.grad.tolist() == [1.0, 2.0]
    with distributed.crew() as members:
        assert members == Crew(rank=0, size=1)
