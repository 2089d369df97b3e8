"""Watch lists arrive."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from schemas import KafkaSettings, Recommendation
from stream.cli.options import BootstrapServers, TopicPrefix, load_settings
from stream.clients.arrivals import open_lists, parse_list
from stream.clients.connect import broker_errors
from stream.clients.event_file import read_titles

_POLL_MS = 200


def watch(
    user: Annotated[str | None, typer.Argument(help="Only this user's lists.", show_default=False)] = None,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Also the lists of before.")] = False,
    items: Annotated[
        Path | None, typer.Option(help="Items, .jsonl or .jsonl.gz: show their titles.", show_default=False)
    ] = None,
    until_idle: Annotated[
        float | None, typer.Option(min=0, metavar="S", help="End when none came for S seconds.", show_default=False)
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after this many.", show_default=False)] = None,
    bootstrap_servers: BootstrapServers = None,
    topic_prefix: TopicPrefix = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the messages as JSON Lines.")] = False,
) -> None:
    """Print lists as they arrive; with --json the messages as they are, without those that say "forgotten"."""
    titles = read_titles(items) if items else {}
    kafka = load_settings(bootstrap_servers, topic_prefix).kafka
    shown = 0
    for record in _records(kafka, from_beginning=from_beginning, until_idle=until_idle):
        key = (record.key or b"").decode(errors="replace")
        if (user is not None and key != user) or (json_output and record.value is None):
            continue
        typer.echo(_as_json(record) if json_output else _as_text(record, key, titles))
        shown += 1
        if shown == count:
            return


def _records(kafka: KafkaSettings, *, from_beginning: bool, until_idle: float | None) -> Iterator[Any]:
    """Consumed records as they come, until nothing came for `until_idle` seconds; without it, for ever."""
    with open_lists(kafka, from_beginning=from_beginning) as consumer, broker_errors(kafka):
        last = monotonic()
        while until_idle is None or monotonic() - last < until_idle:
            for records in consumer.poll(timeout_ms=_POLL_MS).values():
                yield from records
                last = monotonic()


def _as_json(record: Any) -> str:
    return parse_list(record).model_dump_json()


def _as_text(record: Any, key: str, titles: Mapping[str, str]) -> str:
    if record.value is None:
        return f"{key}: forgotten"
    return _describe(parse_list(record), titles)


def _describe(answer: Recommendation, titles: Mapping[str, str]) -> str:
    """One line for the list, one for each item with the support events that speak for it."""
    source = answer.source
    lines = [
        f"{answer.user_id}: {answer.model} {answer.model_version}, support of {answer.support_size}, "
        f"{source.topic}[{source.partition}]@{source.offset}, {answer.generated_at}"
    ]
    for rank, item in enumerate(answer.items, 1):
        reasons = ", ".join(f"{titles.get(r.item_id, r.item_id)} {r.contribution:+.3g}" for r in item.reasons)
        because = f"  <- {reasons}" if reasons else ""
        lines.append(f"  {rank:3}. {titles.get(item.item_id, item.item_id)}  {item.score:.4g}{because}")
    return "\n".join(lines)
