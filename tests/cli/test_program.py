"""The program as a whole: exit codes, one line for the operator, commands found without importing them."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Run

PlugIn = Callable[[str], str]

GROW = '''
"""A garden."""
import typer

def grow(trees: int, *, fail: bool = False) -> None:
    """Plant trees.

    More of it.
    """
    typer.echo(f"{trees} trees")
'''


def test_commands_of_entry_points_are_listed_without_importing_them(fewstep: Run, plug_in: PlugIn) -> None:
    path = plug_in('raise SystemExit("imported")\ndef grow() -> None:\n    """Plant trees.\n\n    More."""\n')
    result = fewstep("--help", PYTHONPATH=path)
    assert result.returncode == 0
    assert "Plant trees." in result.stdout
    assert "More." not in result.stdout
    assert "imported" not in result.stdout + result.stderr


def test_a_command_of_an_entry_point_runs(fewstep: Run, plug_in: PlugIn) -> None:
    result = fewstep("grow", "3", PYTHONPATH=plug_in(GROW))
    assert (result.returncode, result.stdout) == (0, "3 trees\n")


def test_the_help_of_a_command_is_under_its_name(fewstep: Run, plug_in: PlugIn) -> None:
    assert "Usage: fewstep grow" in fewstep("grow", "--help", PYTHONPATH=plug_in(GROW)).stdout


def test_an_entry_point_may_be_a_group(fewstep: Run, plug_in: PlugIn) -> None:
    source = "import typer\ngrow = typer.Typer()\n@grow.callback()\ndef _group() -> None: ...\n"
    path = plug_in(source + "@grow.command()\ndef oak() -> None:\n    typer.echo('an oak')\n")
    assert fewstep("grow", "oak", PYTHONPATH=path).stdout == "an oak\n"


def test_an_entry_point_does_not_replace_a_command_of_ours(fewstep: Run, plug_in: PlugIn) -> None:
    path = plug_in('def grow() -> None:\n    """Mine."""\n')
    (Path(path) / "garden-1.0.dist-info" / "entry_points.txt").write_text("[fewstep.commands]\nsend = garden:grow\n")
    assert "Send one interaction" in fewstep("send", "--help", PYTHONPATH=path).stdout


def test_a_missing_library_of_an_extra_is_one_line(fewstep: Run, plug_in: PlugIn) -> None:
    path = plug_in("def grow() -> None:\n    import a_learner.deep\n")
    result = fewstep("grow", PYTHONPATH=path)
    assert result.returncode == 1
    assert result.stderr == (
        "fewstep: a_learner is not installed: this needs fewstep[train]: pip install 'fewstep[train]'\n"
    )


@pytest.mark.parametrize(("error", "code"), [("DataError", 1), ("ConfigurationError", 1), ("RefusedError", 3)])
def test_an_error_for_the_operator_is_one_line_and_its_exit_code(
    fewstep: Run, plug_in: PlugIn, error: str, code: int
) -> None:
    path = plug_in(
        f"from schemas.errors import {error}\ndef grow() -> None:\n    raise {error}('what,\\n where, how')\n"
    )
    result = fewstep("grow", PYTHONPATH=path)
    assert (result.returncode, result.stderr, result.stdout) == (code, "fewstep: what, where, how\n", "")


def test_a_mistake_of_ours_shows_its_traceback(fewstep: Run, plug_in: PlugIn) -> None:
    result = fewstep("grow", PYTHONPATH=plug_in("def grow() -> None:\n    raise KeyError('bug')\n"))
    assert result.returncode == 1
    assert "Traceback" in result.stderr


@pytest.mark.parametrize("place", ["def grow() -> None:\n    raise KeyboardInterrupt", "raise KeyboardInterrupt"])
def test_an_interrupt_exits_130_silently(fewstep: Run, plug_in: PlugIn, place: str) -> None:
    result = fewstep("grow", PYTHONPATH=plug_in(place))
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


@pytest.mark.parametrize("arguments", [["sendd"], ["send"], ["send", "u", "view", "i", "--nonsense"], ["topics", "x"]])
def test_wrong_usage_exits_2(fewstep: Run, arguments: list[str]) -> None:
    result = fewstep(*arguments)
    assert result.returncode == 2
    assert "Usage: fewstep" in result.stderr


def test_the_version_is_printed(fewstep: Run) -> None:
    assert fewstep("--version").stdout.startswith("fewstep 0.")


def test_listing_the_commands_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom stream.__main__ import main\nsys.argv = ['fewstep', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'kafka', 'aiokafka', 'faust', 'numpy', 'onnxruntime', 'meta', 'stream.settings'}\n"
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        ("127.0.0.1:1", "Kafka at 127.0.0.1:1 is unreachable (connection refused)"),
        ("localhost", "'localhost' is not host:port"),
        ("127.0.0.1:99999", "Kafka at 127.0.0.1:99999 is unreachable"),
    ],
)
@pytest.mark.parametrize("command", [["send", "u", "view", "i"], ["topics", "create"], ["watch", "--count", "1"]])
def test_an_unreachable_broker_is_one_line(fewstep: Run, command: list[str], servers: str, said: str) -> None:
    result = fewstep(*command, "--bootstrap-servers", servers)
    assert result.returncode == 1
    assert result.stderr.startswith(f"fewstep: {said}")
    assert result.stderr.count("\n") == 1


def test_a_server_that_accepts_and_says_nothing_is_one_line(fewstep: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        result = fewstep("send", "u", "view", "i", "--bootstrap-servers", address)
    assert result.returncode == 1
    assert result.stderr.startswith(f"fewstep: Kafka at {address} failed: ")
    assert result.stderr.count("\n") == 1
