"""`fewstep data`: writes canonical files of interactions, items and users."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Source(StrEnum):
    """Where the interactions come from."""

    MOVIELENS_100K = "movielens-100k"
    SYNTHETIC = "synthetic"


def data(
    source: Annotated[Source, typer.Argument(help="MovieLens-100K is fetched, a synthetic world is made up")],
    out: Annotated[Path, typer.Option(help="Folder to write to")],
    hold_out: Annotated[
        int, typer.Option(min=0, max=9, help="Users of so many tenths go to held-out.jsonl instead")
    ] = 0,
    warm_up: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Events after this share of all, in time, go to stream.jsonl", show_default=False
        ),
    ] = None,
    least_rating: Annotated[
        float | None, typer.Option(help="Leave out events with a lower value", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the folds and of the synthetic world")] = 0,
    users: Annotated[int, typer.Option(min=1, help="Users of a synthetic world")] = 1000,
    items: Annotated[int, typer.Option(min=4, help="Items of a synthetic world")] = 800,
    events_per_user: Annotated[float, typer.Option(min=1, max=1e6, help="Mean events of a synthetic user")] = 40.0,
    parquet: Annotated[bool, typer.Option("--parquet", help="Write the events as folders of Parquet files")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print what was written as JSON")] = False,
) -> None:
    """Write interactions.jsonl, items.jsonl and users.jsonl, ready for `fewstep train`."""
    from rich.console import Console

    from meta import corpus, movielens, splits, synthetic

    console = Console(stderr=True)
    with console.status(f"preparing {source.value}"):
        if source is Source.MOVIELENS_100K:
            world = movielens.load()
        else:
            sizes = synthetic.Sizes(users=users, items=items, events_per_user=events_per_user)
            world = synthetic.generate(sizes, seed=seed)
        held_out = splits.hold_out([user.user_id or "" for user in world.users], hold_out, seed=seed)
        if least_rating is not None:
            world = corpus.with_least_value(world, least_rating)
        counts = corpus.write(world, out, held_out=held_out, warm_up=warm_up, parquet=parquet)
    if json_output:
        typer.echo(json.dumps({"out": str(out), "lines": counts}))
        return
    for name, count in counts.items():
        typer.echo(f"{out / name}: {count} lines")
