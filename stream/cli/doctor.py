"""Check what a worker needs, and name the remedy for what is wrong."""

import json
from itertools import chain
from typing import Annotated

import typer

from stream.cli.checks import check_cluster, check_installation, check_local_broker, check_model
from stream.cli.options import AppId, BootstrapServers, Json, TopicPrefix
from stream.settings import Settings


def doctor(
    model_store: Annotated[
        str | None, typer.Option(help="fsspec URL or path of the model store.", show_default=False)
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model.", show_default=False)] = None,
    app_id: AppId = None,
    bootstrap_servers: BootstrapServers = None,
    topic_prefix: TopicPrefix = None,
    json_output: Json = False,
) -> None:
    """Check installation, broker, topics and model; exit code 1 if anything is wrong."""
    settings = Settings.load(
        kafka={"bootstrap_servers": bootstrap_servers, "topic_prefix": topic_prefix},
        model={"store": model_store, "name": model},
        worker={"app_id": app_id},
    )
    findings = []
    for finding in chain(
        check_installation(), check_local_broker(), check_cluster(settings), check_model(settings.model)
    ):
        findings.append(finding)
        if not json_output:
            typer.echo(f"{'ok' if finding.ok else 'failed':6} {finding.check}: {finding.detail}")
    if json_output:
        typer.echo(json.dumps([finding._asdict() for finding in findings]))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
