"""Create the topics that fewstep works with."""

import json
from typing import Annotated

import typer

from stream.cli.options import AppId, BootstrapServers, Json, TopicPrefix, load_settings
from stream.clients.provision import create_topics, plan_topics

topics = typer.Typer(add_completion=False, no_args_is_help=True)


@topics.callback()
def _group() -> None:
    """Create the topics that fewstep works with."""


@topics.command()
def create(
    partitions: Annotated[int, typer.Option(min=1, help="Of the topics that are keyed by user.")] = 4,
    replication_factor: Annotated[int, typer.Option(min=1, help="Copies of each partition.")] = 1,
    app_id: AppId = None,
    bootstrap_servers: BootstrapServers = None,
    topic_prefix: TopicPrefix = None,
    json_output: Json = False,
) -> None:
    """Create all topics with their cleanup policies, and the worker's changelog; existing ones are left alone."""
    settings = load_settings(bootstrap_servers, topic_prefix, app_id=app_id)
    outcome = create_topics(settings, partitions=partitions, replication_factor=replication_factor)
    planned = plan_topics(settings, partitions)
    if json_output:
        rows = [
            {"topic": t.name, "partitions": t.partitions, "cleanup": t.cleanup, "outcome": outcome[t.name]}
            for t in planned
        ]
        typer.echo(json.dumps(rows))
        return
    width = max(len(topic.name) for topic in planned)
    for topic in planned:
        parts = f"{topic.partitions} partition{'s' if topic.partitions > 1 else ''}"
        typer.echo(f"{outcome[topic.name]:8} {topic.name:{width}}  {parts}, {topic.cleanup}")
