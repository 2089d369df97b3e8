"""The root of the command line: knows the names of all commands and imports only the one that runs."""

import ast
from collections.abc import Iterator
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

ENTRY_POINT_GROUP = "fewstep.commands"
"""Other packages add commands here: the name is the command, the object a function or a `typer.Typer`."""

_OWN = {
    "demo": "stream.cli.demo:demo",
    "bench": "stream.cli.bench:bench",
    "worker": "stream.cli.worker:worker",
    "topics": "stream.cli.topics:topics",
    "send": "stream.cli.send:send",
    "erase": "stream.cli.send:erase",
    "replay": "stream.cli.replay:replay",
    "watch": "stream.cli.watch:watch",
    "arms": "stream.cli.arms:arms",
    "dead-letters": "stream.cli.dead_letters:dead_letters",
    "doctor": "stream.cli.doctor:doctor",
}


class _Deferred(TyperCommand):
    """Stands for a command in the help and for its name; `load` gives the real one."""

    def __init__(self, name: str, target: str) -> None:
        super().__init__(name=name)
        self.target = target

    def load(self) -> Any:
        module, _, attribute = self.target.partition(":")
        found = getattr(import_module(module), attribute)
        app = found
        if not isinstance(found, typer.Typer):
            app = typer.Typer(add_completion=False)
            app.command(self.name)(found)
        command = typer.main.get_command(app)
        command.name = self.name
        return command


class LazyGroup(TyperGroup):
    """Lists commands with the first line of their docstring, read from the source file, and imports on execution."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The stand-in of the command, None if there is none of this name."""
        command = super().get_command(ctx, cmd_name)
        if isinstance(command, _Deferred):
            command.short_help = command.short_help or _first_line(command.target)
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command that `args` starts with, imported now."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, _Deferred) else command, rest


def build_command() -> Any:
    """The root command with all subcommands: those of this package, then those of entry points by name."""
    app = typer.Typer(cls=LazyGroup, add_completion=False, no_args_is_help=True)
    app.callback()(_root)
    group = typer.main.get_command(app)
    for name, target in _targets():
        group.add_command(_Deferred(name, target))  # type: ignore[attr-defined]
    return group


def _targets() -> Iterator[tuple[str, str]]:
    yield from _OWN.items()
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name):
        if point.name not in _OWN:
            yield point.name, point.value


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fewstep {version('fewstep')}")
        raise typer.Exit


def _root(
    show_version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
    ),
) -> None:
    """Few-shot adaptation of recommendations over Kafka: events in, adapted lists out."""


def _first_line(target: str) -> str:
    """First line of the docstring of `module:attribute`, else of the module; empty if there is none."""
    module, _, attribute = target.partition(":")
    spec = _find(module)
    if spec is None or spec.origin is None:
        return ""
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == attribute]
    text = (functions and ast.get_docstring(functions[0])) or ast.get_docstring(tree) or ""
    return text.partition("\n")[0]


def _find(module: str) -> ModuleSpec | None:
    """Where a module lies. `importlib.util.find_spec` would import the packages around it."""
    path: list[str] | None = None
    name, spec = "", None
    for part in module.split("."):
        name = f"{name}.{part}".lstrip(".")
        spec = PathFinder.find_spec(name, path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or [])
    return spec
