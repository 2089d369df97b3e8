"""`fewstep train`: learns an initialization from interactions and writes it to the model store."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from meta.config import TrainingConfig
    from meta.dataset import Dataset
    from meta.distributed import Crew
    from meta.training import Trained

_MOST_BASELINE_USERS = 20_000
"""Of a dataset that does not fit into memory: the baselines do not need them all, and some hold what they know."""


def train(
    interactions: Annotated[
        Path, typer.Option(help="Training interactions: .jsonl, .jsonl.gz, .parquet, or a folder of Parquet files")
    ],
    items: Annotated[Path, typer.Option(help="The catalog")],
    model_store: Annotated[str, typer.Option(help="fsspec URL or path of the model store")],
    model: Annotated[str, typer.Option(help="Name of the model")],
    users: Annotated[Path | None, typer.Option(help="User profiles")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with the recipe; measured defaults if absent")] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            help="amortized (default), maml, fomaml, reptile, anil, meta-sgd, prototype, siamese or triplet",
            show_default=False,
        ),
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="ranking (default) or rating: scores are predicted ratings", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the split, the tasks and the initial numbers")] = 0,
    json_output: Annotated[bool, typer.Option("--json", help="Print what was written as JSON")] = False,
) -> None:
    """Train, measure on validation users beside simple baselines, and write a bundle to the model store."""
    from datetime import UTC, datetime

    from rich.console import Console

    from meta import bundle, distributed, store, tables
    from meta.config import read_config
    from meta.dataset import load
    from meta.training import refit

    console = Console(stderr=True)
    recipe = read_config(config, algorithm=algorithm, objective=objective)
    # A wrong store or name should end the command now, not after the training.
    target = store.open_store(model_store)
    store.read_latest(target, model)
    store.require_writable(target, model)
    with distributed.crew() as members:
        with console.status("reading"):
            dataset = load(interactions, items, users)
        trained, curve = _train(console, dataset, recipe, seed=seed, members=members)
        with console.status("training again, with the validation users"):
            served = refit(trained, dataset, recipe, seed=seed, members=members)
        if not members.leads:
            return
        with console.status("measuring and exporting"):
            measures = (_measure_ratings if recipe.objective.rating else _measure)(dataset, trained, seed=seed)
            files = [path for path in (interactions, items, users) if path is not None]
            manifest = bundle.write_bundle(
                model_store,
                model,
                trained=served,
                dataset=dataset,
                config=recipe,
                seed=seed,
                measures=measures,
                data=bundle.describe_data(dataset)
                | {"sha256": {path.name: sha256_of(path) for path in files}, "learning_curve": curve},
                created=datetime.now(UTC),
            )
    if json_output:
        typer.echo(manifest.model_dump_json(include={"model", "version", "measures", "data", "seeds"}))
        return
    for mode, found in measures.items():
        if mode != "rating":
            Console().print(tables.of_scorers(found)[0])
        else:
            for name, each in found["scorers"].items():
                errors = ", ".join(f"k={k} {estimate['mean']:.3f}" for k, estimate in each["mae"].items())
                typer.echo(f"mean absolute error, {name}: {errors}")
    if not measures:
        typer.echo("no validation user has events enough to measure on")
    typer.echo(
        f"wrote {model}, version {manifest.version}, to model store {model_store}; best epoch {trained.best_epoch}"
    )
    typer.echo(f"next: fewstep worker --model-store {shlex.quote(model_store)} --model {shlex.quote(model)}")


def _train(
    console: "Console", dataset: "Dataset", config: "TrainingConfig", *, seed: int, members: "Crew"
) -> tuple["Trained", list[tuple[int, float]]]:
    """Train under a progress bar, or with a plain line per validation where there is no terminal or are others.

    Gives what was trained, and epoch and measure of every validation.
    """
    from rich.progress import Progress

    from meta import training

    curve: list[tuple[int, float]] = []
    measure = "error" if config.objective.rating else "nDCG@10"
    if not console.is_terminal or members.size > 1:

        def tell(epoch: int, found: float | None) -> None:
            if found is None:
                return
            curve.append((epoch, found))
            if members.leads:
                typer.echo(f"epoch {epoch} of {config.epochs}: validation {measure} {abs(found):.4f}", err=True)

        return training.train(dataset, config, seed=seed, progress=tell, members=members), curve
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("training", total=config.epochs)

        def advance(epoch: int, found: float | None) -> None:
            described = None
            if found is not None:
                curve.append((epoch, found))
                described = f"training, validation {measure} {abs(found):.4f}"
            bar.update(task, completed=epoch, description=described)

        return training.train(dataset, config, seed=seed, progress=advance, members=members), curve


def _measure(dataset: "Dataset", trained: "Trained", *, seed: int) -> dict[str, Any]:
    """By mode, the measures on the validation users beside the baselines; empty where none has events enough."""
    from meta import baselines, protocol
    from meta.dataset import subset
    from meta.modes import Mode
    from meta.training import as_scorer

    fitted_users = trained.training_users
    if dataset.shuffled:  # so many that a part of them tells the same
        fitted_users = fitted_users[:_MOST_BASELINE_USERS]
    validation, fitted = subset(dataset, trained.validation_users), subset(dataset, fitted_users)
    if not (validation.lengths >= protocol.MIN_EVENTS).any():
        return {}
    learned = as_scorer(trained)
    scorers = [learned, protocol.Unadapted(learned, "unadapted start"), *baselines.fit_all(fitted)]
    return {
        mode.value: protocol.evaluate(scorers, validation, mode=mode, reference=baselines.RECENCY, seed=seed)
        for mode in Mode
    }


def _measure_ratings(dataset: "Dataset", trained: "Trained", *, seed: int) -> dict[str, Any]:
    """The measures of ratings on the validation users; empty where none has ratings enough."""
    from meta import protocol, rating_protocol
    from meta.dataset import subset
    from meta.training import as_scorer

    validation = rating_protocol.rated_only(subset(dataset, trained.validation_users))
    if not (validation.lengths >= rating_protocol.QUERY_END).any():
        return {}
    users, learned = rating_protocol.rating_users(validation), as_scorer(trained)
    scorers = [learned, protocol.Unadapted(learned, "unadapted start")]
    found = {scorer.name: rating_protocol.predict(scorer, validation, users) for scorer in scorers}
    return {"rating": rating_protocol.report(found, scorers[1].name, seed=seed)}


def sha256_of(path: Path) -> str:
    """Of a file, as hex digits; of a folder of Parquet files, that of their digests in order of name."""
    from hashlib import file_digest, sha256

    if path.is_dir():
        return sha256("".join(sha256_of(file) for file in sorted(path.glob("*.parquet"))).encode()).hexdigest()
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
