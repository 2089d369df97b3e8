"""`fewstep evaluate`: measures a bundle, or lists that were published, beside simple baselines."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meta.modes import Mode
from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from meta.scorer import Scorer


def evaluate(
    interactions: Annotated[Path, typer.Option(help="Held-out interactions")],
    train_interactions: Annotated[Path, typer.Option(help="Training interactions, for the baselines")],
    items: Annotated[Path, typer.Option(help="Items of both")],
    users: Annotated[Path | None, typer.Option(help="Profiles of the held-out users")] = None,
    model_store: Annotated[str | None, typer.Option(help="fsspec URL or path of the model store")] = None,
    model: Annotated[str | None, typer.Option(help="Model to measure")] = None,
    model_version: Annotated[str | None, typer.Option(help="Version of it; the latest if absent")] = None,
    mode: Annotated[Mode, typer.Option(help="Query set: all later events, or those after the 20th")] = Mode.REST,
    lists: Annotated[Path | None, typer.Option(help="Published lists to measure instead of a model")] = None,
    max_support: Annotated[int, typer.Option(min=1, help="With --lists: most events, less than the window")] = 5,
    report: Annotated[
        Path | None, typer.Option(help="Folder for a page with plots, report.html, and its figures as JSON")
    ] = None,
    prequential: Annotated[
        bool, typer.Option(help="With --lists: HR@10 over a stream, each event predicted by the list before it")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of ties and of the bootstrap")] = 0,
    json_output: Annotated[bool, typer.Option("--json", help="Print all measures as JSON")] = False,
) -> None:
    """Measure on held-out users: nDCG@10 and hit rate@10 with bootstrap intervals, beside simple baselines."""
    from rich.console import Console

    from meta import tables

    with Console(stderr=True).status("measuring"):
        if lists is not None:
            if model is not None or model_store is not None:
                raise ConfigurationError("--lists and --model exclude each other: give the one that is to be measured")
            if report is not None:
                raise ConfigurationError("--report is about a model: give --model-store and --model, without --lists")
            if prequential:
                found = _stream(lists, interactions, train_interactions, items, seed=seed)
                shown = tables.of_stream(found)
            else:
                found = _lists(lists, interactions, train_interactions, items, max_k=max_support, seed=seed)
                shown = tables.of_lists(found)
        elif prequential:
            raise ConfigurationError("--prequential measures published lists: give them with --lists")
        elif model is None or model_store is None:
            raise ConfigurationError("nothing to measure: give --model-store and --model, or --lists")
        else:
            files = (interactions, train_interactions, items, users)
            found = _bundle(files, model_store, model, model_version, mode=mode, seed=seed, report=report)
            shown = tables.of_scorers(found)
    if json_output:
        typer.echo(json.dumps(found))
    else:
        Console().print(*shown)
        if report is not None:
            typer.echo(f"wrote {report / 'report.html'} and report.json beside it")


def _bundle(
    files: tuple[Path, Path, Path, Path | None],
    store: str,
    model: str,
    version: str | None,
    *,
    mode: Mode,
    seed: int,
    report: Path | None,
) -> dict[str, Any]:
    from meta import baselines, dataset, protocol, served, splits

    interactions, train_interactions, items, users = files
    bundle = served.load_served(store, model, version)
    like, rows = bundle.manifest, bundle.item_ids
    held_out = dataset.load(interactions, items, users, like=like, item_ids=rows)
    train = dataset.load(train_interactions, items, users, like=like, item_ids=rows)
    splits.refuse_overlap(train.user_ids, held_out.user_ids)
    scorers: list[Scorer] = [bundle, protocol.Unadapted(bundle, "unadapted start"), *baselines.fit_all(train)]
    found = protocol.evaluate(scorers, held_out, mode=mode, reference=baselines.RECENCY, seed=seed)
    if report is not None:
        from meta.report import figures, writing

        writing.write(figures.collect(bundle, scorers, held_out, train, mode=mode, seed=seed), report)
    return {"model": like.model, "version": like.version, "dropped_events": held_out.dropped, **found}


def _lists(
    lists: Path, interactions: Path, train_interactions: Path, items: Path, *, max_k: int, seed: int
) -> dict[str, Any]:
    from meta import dataset, splits
    from meta.lists import evaluate_lists, read_histories, read_published

    train = dataset.load(train_interactions, items)
    histories = read_histories(interactions, train.item_ids)
    splits.refuse_overlap(train.user_ids, histories)
    return evaluate_lists(read_published(lists), histories, train, max_k=max_k, seed=seed)


def _stream(lists: Path, stream: Path, warm_up: Path, items: Path, *, seed: int) -> dict[str, Any]:
    from meta.prequential import evaluate_stream, read_asked, read_stream

    return evaluate_stream(read_stream(warm_up, stream, items), read_asked(lists), seed=seed)
