"""List the versions of a model, show one, and decide by hand which one is served."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.errors import BundleError

if TYPE_CHECKING:
    from meta.refresh.decision import Decision

model = typer.Typer(add_completion=False, no_args_is_help=True)

ModelStore = Annotated[str, typer.Option(help="fsspec URL or path of the model store")]
Model = Annotated[str, typer.Option(help="Name of the model")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
BootstrapServers = Annotated[str | None, typer.Option(help="Kafka, host:port[,host:port]", show_default=False)]
TopicPrefix = Annotated[str | None, typer.Option(help="Start of all topic names", show_default=False)]


@model.callback()
def _group() -> None:
    """List the versions of a model, show one, and decide by hand which one is served."""


@model.command("list")
def list_versions(model_store: ModelStore, model: Model, json_output: Json = False) -> None:
    """The versions in the store and what happened to each, oldest first."""
    from meta import ledger
    from meta.store import open_store

    store = open_store(model_store)
    versions = ledger.versions(store, model)
    if not versions:
        raise _no_model(model_store, model)
    served = ledger.head(store, model)
    told: dict[str, list[Any]] = {}
    for entry in ledger.history(store, model):
        told.setdefault(entry.version, []).append(entry)
    rows: list[dict[str, Any]] = []
    for version in versions:
        entries = told.get(version, [])
        rows.append(
            {
                "version": version,
                "served": served is not None and served.version == version,
                "publications": [entry.model_dump(include={"number", "action", "published_at"}) for entry in entries],
            }
        )
    if json_output:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        what = ", ".join(f"{one['action']} {one['published_at']}" for one in row["publications"]) or "not published"
        typer.echo(f"{'*' if row['served'] else ' '} {row['version']}  {what}")


@model.command()
def show(
    model_store: ModelStore,
    model: Model,
    version: Annotated[str | None, typer.Argument(help="The served one if absent", show_default=False)] = None,
    json_output: Json = False,
) -> None:
    """The model card of a version, or with --json its manifest, after all its files were checked."""
    from meta import ledger
    from meta.refresh.publishing import verify
    from meta.store import open_store, read_file

    store = open_store(model_store)
    if version is None:
        served = ledger.head(store, model)
        if served is None:
            raise _no_model(model_store, model)
        version = served.version
    manifest = verify(store, model, version)
    if json_output:
        typer.echo(manifest.model_dump_json())
    else:
        typer.echo((read_file(store, model, version, "README.md") or b"no model card").decode())


@model.command()
def promote(
    version: Annotated[str, typer.Argument(help="The version to serve")],
    model_store: ModelStore,
    model: Model,
    bootstrap_servers: BootstrapServers = None,
    topic_prefix: TopicPrefix = None,
    json_output: Json = False,
) -> None:
    """Serve this version from now on; the one that is served already is announced again if need be."""
    from meta.refresh.decision import promote as decide
    from meta.refresh.kafka import kafka_settings

    kafka = kafka_settings(bootstrap_servers=bootstrap_servers, topic_prefix=topic_prefix)
    _tell(decide(model_store, model, version, kafka), json_output)


@model.command()
def rollback(
    model_store: ModelStore,
    model: Model,
    bootstrap_servers: BootstrapServers = None,
    topic_prefix: TopicPrefix = None,
    json_output: Json = False,
) -> None:
    """Go back to the version that was published before the one that is served."""
    from meta.refresh.decision import rollback as decide
    from meta.refresh.kafka import kafka_settings

    kafka = kafka_settings(bootstrap_servers=bootstrap_servers, topic_prefix=topic_prefix)
    _tell(decide(model_store, model, kafka), json_output)


def _no_model(model_store: str, model: str) -> BundleError:
    return BundleError(f"model store {model_store} has no model {model}: train it, or correct store and name")


def _tell(decision: "Decision", json_output: bool) -> None:
    publication, changed = decision
    if json_output:
        typer.echo(json.dumps({**publication.model_dump(), "changed": changed}))
    elif changed:
        typer.echo(f"{publication.action}: {publication.version} is served from now on")
    else:
        since = f", by {publication.action} of {publication.published_at}" if publication.published_at else ""
        typer.echo(f"nothing changed: {publication.version} is served already{since}")
