"""`python -m meta.benchmark`: all sections, or some of them, on seven splits, or on some of them."""

from typing import Annotated

import typer
from rich.console import Console

from meta.benchmark import running
from meta.benchmark.folds import FOLDS
from meta.benchmark.lines import Line, as_table
from meta.benchmark.sections import BY_NAME
from schemas.errors import ConfigurationError, FewstepError


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"Sections to run: {', '.join(BY_NAME)}")] = None,
    folds: Annotated[
        list[int] | None, typer.Option(min=0, max=9, help="Folds to hold out; other ones were tuned on")
    ] = None,
) -> None:
    """Print tables, and for every line of the acceptance whether it holds."""
    console, errors = Console(), Console(stderr=True)
    try:
        unknown = set(only or ()) - set(BY_NAME)
        if unknown:
            raise ConfigurationError(f"no section {', '.join(sorted(unknown))}; there are {', '.join(BY_NAME)}")
        lines: list[Line] = []
        for _, found in running.run(only or list(BY_NAME), folds or FOLDS, tell=errors.print):
            console.print(*found.tables)
            lines += found.lines
        console.print(as_table(lines))
    except FewstepError as error:
        errors.print(f"error: {error}", markup=False)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
