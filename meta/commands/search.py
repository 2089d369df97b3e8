"""`fewstep search`: looks for a better recipe on validation users."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from meta.search import Found


def search(
    interactions: Annotated[Path, typer.Option(help="Training interactions; no held-out user belongs in here")],
    items: Annotated[Path, typer.Option(help="The catalog")],
    out: Annotated[Path, typer.Option(help="Folder of the study: journal, best.toml, report; a killed study goes on")],
    users: Annotated[Path | None, typer.Option(help="User profiles")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with what is not searched")] = None,
    space: Annotated[Path | None, typer.Option(help="TOML file: a table per field, choices, or low and high")] = None,
    trials: Annotated[int, typer.Option(min=1, help="Finished trials of the study in the end")] = 40,
    timeout: Annotated[float | None, typer.Option(min=0, help="Minutes after which no trial begins")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the split, the trainings and the sampler")] = 0,
    json_output: Annotated[bool, typer.Option("--json", help="Print what was found as JSON")] = False,
) -> None:
    """Search for a recipe with Bayesian optimization, judged on validation users only; resumable."""
    from rich.console import Console

    from meta import search as room
    from meta.commands.train import sha256_of
    from meta.config import read_config
    from meta.dataset import load

    base, wanted = read_config(config), room.read_space(space)
    console = Console(stderr=True)
    with console.status("reading"):
        dataset = load(interactions, items, users)
        about = {"data": {path.name: sha256_of(path) for path in (interactions, items, users) if path is not None}}

    def tell(number: int, value: float | None) -> None:
        typer.echo(f"trial {number}: {'pruned' if value is None else f'{value:.4f}'}", err=True)

    found = room.search(
        dataset,
        base,
        wanted,
        out,
        about=about,
        trials=trials,
        timeout_s=None if timeout is None else timeout * 60,
        seed=seed,
        tell=tell,
    )
    _write(found, out, searched=list(wanted))
    if json_output:
        typer.echo((out / "report.json").read_text())
        return
    typer.echo((out / "report.md").read_text())
    best = shlex.quote(str(out / "best.toml"))
    typer.echo(f"next: fewstep train --config {best} ..., and fewstep evaluate on users that the search never saw")


def _write(found: "Found", out: Path, *, searched: list[str]) -> None:
    """Write best.toml, report.json and report.md, each whole or not at all."""
    from meta.files import writing

    best = {name: value for name, value in found.config.model_dump(mode="json").items() if value is not None}
    with writing(out / "best.toml") as file:
        file.writelines(f"{name} = {_toml(value)}\n" for name, value in best.items())
    report = {"value": found.value, "best": found.config.model_dump(mode="json"), "importances": found.importances}
    with writing(out / "report.json") as file:
        json.dump(report | {"trials": found.trials}, file, indent=1)
    with writing(out / "report.md") as file:
        file.writelines(f"{line}\n" for line in _lines(found, searched))


def _lines(found: "Found", searched: list[str]) -> list[str]:
    pruned = sum(trial["state"] == "pruned" for trial in found.trials)
    complete = sorted((trial for trial in found.trials if trial["state"] == "complete"), key=lambda one: -one["value"])
    lines = [
        f"# {len(complete)} trials, {pruned} pruned; best {found.value:.4f} on the validation users",
        "",
        "The best of many is somewhat too good: measure it on users that the search never saw.",
        "",
        f"| trial | measure | {' | '.join(searched)} |",
        "|---" * (len(searched) + 2) + "|",
    ]
    for trial in complete[:10]:
        cells = [_short(trial["params"].get(name)) for name in searched]
        lines.append(f"| {trial['number']} | {trial['value']:.4f} | {' | '.join(cells)} |")
    if found.importances:
        lines += ["", "Share of the differences that a field explains (PED-ANOVA):", ""]
        lines += [f"- {name}: {share:.0%}" for name, share in found.importances.items()]
    return lines


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _toml(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(_toml(each) for each in value)}]"
    return json.dumps(value)
