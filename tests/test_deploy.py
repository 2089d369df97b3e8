"""What the files in deploy/ start exists: images that the Dockerfile builds, and command lines that fewstep takes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream.cli.group import build_command

DEPLOY = Path(__file__).parent.parent / "deploy"
IMAGES = {"fewstep:0.1.0": "worker", "fewstep-trainer:0.1.0": "trainer"}


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def started() -> Iterator[tuple[str, list[str]]]:
    """Image and arguments of all containers that run fewstep."""
    for service in read("compose.yaml")["services"].values():
        if service["image"] in IMAGES:
            yield service["image"], service["command"]
    job = read("kubernetes/refresh-cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    for container in job["containers"]:
        yield container["image"], container["args"]


@pytest.mark.parametrize(("image", "arguments"), list(started()))
def test_what_is_started_is_a_command_line_in_an_image_that_holds_the_command(image: str, arguments: list[str]) -> None:
    group = build_command()
    while hasattr(group, "resolve_command"):
        name, command, arguments = group.resolve_command(group.make_context("fewstep", arguments[:1]), arguments)
        group = command
    command.make_context(name, arguments)  # raises for an option that there is not
    assert name != "refresh" or IMAGES[image] == "trainer"


def test_the_worker_image_has_no_torch_and_the_trainer_has() -> None:
    stages = (DEPLOY / "Dockerfile").read_text().split("\nFROM ")
    named = {stage.splitlines()[0].rpartition(" ")[2]: stage for stage in stages}
    assert set(IMAGES.values()) < set(named)
    assert "[train]" not in named["base"] + named["worker"]
    assert '! python -c "import torch"' in named["worker"]
    assert "[train]" in named["trainer"]
