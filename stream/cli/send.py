"""Send one interaction, or the message that forgets a user."""

import json
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from schemas import InteractionEvent, KafkaSettings, Role, rfc3339, topic_name
from schemas.errors import complaint
from stream.cli.options import BootstrapServers, Json, TopicPrefix, load_settings
from stream.clients.connect import open_admin, open_producer, require_topic

# As in the schemas: no event can have a longer one.
_LONGEST_ID = 256

User = Annotated[str, typer.Argument(help="User id.", show_default=False)]


def send(
    user: User,
    event_type: Annotated[str, typer.Argument(metavar="TYPE", help="view, click, rating, ...", show_default=False)],
    item: Annotated[str, typer.Argument(help="Item id.", show_default=False)],
    value: Annotated[float | None, typer.Option(help="A number; the rating for `rating`.")] = None,
    timestamp: Annotated[
        str | None, typer.Option(help="RFC 3339 or epoch milliseconds; default: the broker's now.")
    ] = None,
    event_id: Annotated[str | None, typer.Option(help="For deduplication; default: from the offset.")] = None,
    bootstrap_servers: BootstrapServers = None,
    topic_prefix: TopicPrefix = None,
    json_output: Json = False,
) -> None:
    """Send one interaction."""
    fields = {
        "event_id": event_id,
        "user_id": user,
        "item_id": item,
        "event_type": event_type,
        "value": value,
        "timestamp": int(timestamp) if timestamp and timestamp.isdigit() else timestamp,
    }
    settings = load_settings(bootstrap_servers, topic_prefix)
    _produce(settings.kafka, user, value=_encode(fields), json_output=json_output)


def erase(
    user: User,
    bootstrap_servers: BootstrapServers = None,
    topic_prefix: TopicPrefix = None,
    json_output: Json = False,
) -> None:
    """Forget a user: the worker deletes the support set and empties the published list."""
    if not 0 < len(user) <= _LONGEST_ID:
        raise typer.BadParameter(f"a user id has 1 to {_LONGEST_ID} characters, this has {len(user)}")
    if any("\ud800" <= letter <= "\udfff" for letter in user):
        raise typer.BadParameter("a user id is UTF-8 text, these bytes are not")
    settings = load_settings(bootstrap_servers, topic_prefix)
    _produce(settings.kafka, user, value=None, json_output=json_output)


def _encode(fields: dict[str, Any]) -> bytes:
    """The event as JSON, without the fields that were not given. Raises typer.BadParameter (usage)."""
    try:
        event = InteractionEvent.model_validate(fields)
    except ValidationError as error:
        raise typer.BadParameter(complaint(error)) from None
    written = event.model_dump(exclude_none=True, exclude_defaults=True)
    if event.timestamp is not None:
        written["timestamp"] = rfc3339(event.timestamp)
    return json.dumps({"schema_version": event.schema_version, **written}).encode()


def _produce(kafka: KafkaSettings, user: str, *, value: bytes | None, json_output: bool) -> None:
    topic = topic_name(Role.INTERACTIONS, kafka.topic_prefix)
    with open_admin(kafka) as admin:
        require_topic(admin, topic, kafka)
    with open_producer(kafka) as producer:
        sent = producer.send(topic, key=user.encode(), value=value).get(timeout=kafka.request_timeout_s)
    if json_output:
        typer.echo(json.dumps({"topic": topic, "partition": sent.partition, "offset": sent.offset}))
    else:
        typer.echo(f"{topic}, partition {sent.partition}, offset {sent.offset}")
