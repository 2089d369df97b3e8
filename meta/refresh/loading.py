"""Lets the worker's own code load a bundle; without polars and torch, so that a version can be promoted anywhere."""

import json
import subprocess
import sys
from typing import NamedTuple

from schemas import KafkaSettings

_LOADING_TIMEOUT_S = 300.0


class Check(NamedTuple):
    """One thing that was looked at."""

    name: str
    passed: bool
    detail: str


def check_loading(store_url: str, model: str, kafka: KafkaSettings) -> Check:
    """Let the worker's own code load the latest version, in a process of its own, with all its checks."""
    command = [
        sys.executable, "-m", "stream", "doctor", "--json", "--model-store", store_url, "--model", model,
        "--bootstrap-servers", kafka.bootstrap_servers,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LOADING_TIMEOUT_S)
    try:
        findings = {finding["check"]: finding for finding in json.loads(done.stdout)}
        found = findings["bundle"]
    except (json.JSONDecodeError, KeyError):
        said = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        return Check("worker", False, f"fewstep doctor ended with {done.returncode} and said: {said[0]}")
    return Check("worker", bool(found["ok"]), str(found["detail"]))
