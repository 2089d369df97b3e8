"""Options that several commands share, and the settings that follow from them."""

from typing import Annotated

import typer

from stream.settings import Settings

BootstrapServers = Annotated[
    str | None, typer.Option("--bootstrap-servers", help="Kafka, host:port[,host:port].", show_default=False)
]
TopicPrefix = Annotated[
    str | None, typer.Option("--topic-prefix", help="Start of all topic names.", show_default=False)
]
AppId = Annotated[
    str | None, typer.Option("--app-id", help="The worker's id; names its changelog.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def load_settings(bootstrap_servers: str | None, topic_prefix: str | None, *, app_id: str | None = None) -> Settings:
    """Settings with these flags on top; None is "not given". Raises ConfigurationError."""
    return Settings.load(
        kafka={"bootstrap_servers": bootstrap_servers, "topic_prefix": topic_prefix}, worker={"app_id": app_id}
    )
