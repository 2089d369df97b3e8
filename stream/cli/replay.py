"""Replay a file of interactions into Kafka, or verify the lists that came of what is there."""

import asyncio
import json
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from schemas import KafkaSettings, RecommendationRequest, Role, topic_name
from stream.cli.options import BootstrapServers, Json, TopicPrefix, load_settings
from stream.cli.pacing import chunks_when_due, due_times
from stream.cli.verify import report_verification
from stream.clients.arrivals import open_lists, wait_for_lists
from stream.clients.connect import open_admin, require_topic
from stream.clients.event_file import FileEvent, in_rounds, read_events
from stream.clients.outbox import Position, open_outbox
from stream.settings import Settings


@dataclass
class Tally:
    """What was sent so far; `last` is the newest offset by partition."""

    started: float = field(default_factory=monotonic)
    count: int = 0
    last: dict[int, int] = field(default_factory=dict)

    def add(self, positions: list[Position]) -> None:
        """Count acknowledged events."""
        self.count += len(positions)
        self.last.update(positions)

    @property
    def rate(self) -> float:
        """Events a second since the start."""
        return self.count / max(monotonic() - self.started, 1e-9)


def replay(
    file: Annotated[Path | None, typer.Argument(help="Interactions, .jsonl or .jsonl.gz.", show_default=False)] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="N/s", help="Events a second, such as 500/s.", show_default=False)
    ] = None,
    speed: Annotated[
        float | None, typer.Option(min=1e-9, help="Times as fast as it happened.", show_default=False)
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first events.", show_default=False)] = None,
    by_round: Annotated[
        int | None,
        typer.Option(min=1, help="Only the first events of every user: all first ones, then all second ones, ..."),
    ] = None,
    hold: Annotated[
        bool, typer.Option(help="Wait until all lists are there; with --by-round after each round.")
    ] = False,
    ask: Annotated[
        bool, typer.Option(help="With --hold: before each round request a list for each of its events, at its time.")
    ] = False,
    verify: Annotated[
        bool, typer.Option(help="Send nothing: compute published lists again and report those that differ.")
    ] = False,
    user: Annotated[
        str | None, typer.Option(help="With --verify: only the lists of this user.", show_default=False)
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="With --verify: only so many lists, drawn at random.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of --sample.")] = 0,
    model_store: Annotated[
        str | None, typer.Option(help="With --verify: fsspec URL or path of the model store.", show_default=False)
    ] = None,
    bootstrap_servers: BootstrapServers = None,
    topic_prefix: TopicPrefix = None,
    json_output: Json = False,
) -> None:
    """Replay a file of interactions, as fast as Kafka takes them or paced; or --verify what was published."""
    if verify != (file is None):
        raise typer.BadParameter("give a file, or --verify and no file")
    if not verify and any(option is not None for option in (user, sample, model_store)):
        raise typer.BadParameter("--user, --sample and --model-store need --verify")
    if file is None:
        settings = Settings.load(
            kafka={"bootstrap_servers": bootstrap_servers, "topic_prefix": topic_prefix}, model={"store": model_store}
        )
        report_verification(settings, user=user, sample=sample, seed=seed, json_output=json_output)
        return
    if rate is not None and speed is not None:
        raise typer.BadParameter("give one of --rate and --speed")
    if ask and not (hold and by_round):
        raise typer.BadParameter("--ask needs --by-round and --hold")
    per_second = None if rate is None else _parse_rate(rate)
    kafka = load_settings(bootstrap_servers, topic_prefix).kafka
    events = islice(read_events(file), limit)
    rounds: Iterable[Iterable[FileEvent]] = in_rounds(events, by_round) if by_round else [events]
    tally = asyncio.run(_replay(rounds, kafka, rate=per_second, speed=speed, hold=hold, ask=ask))
    topic = topic_name(Role.INTERACTIONS, kafka.topic_prefix)
    if json_output:
        by_partition = {str(partition): offset for partition, offset in sorted(tally.last.items())}
        found = {"topic": topic, "events": tally.count, "rate": round(tally.rate, 1), "last": by_partition}
        typer.echo(json.dumps(found))
    else:
        last_offsets = ", ".join(f"{partition}: {offset}" for partition, offset in sorted(tally.last.items()))
        told = (
            f", {tally.rate:,.0f}/s; last offset by partition: {last_offsets}" if tally.count else ": the file is empty"
        )
        typer.echo(f"{tally.count} events to {topic}{told}")


def _parse_rate(text: str) -> float:
    """Events a second of `N` or `N/s`. Raises typer.BadParameter (usage)."""
    try:
        per_second = float(text.removesuffix("/s"))
    except ValueError:
        per_second = 0.0
    if not 0 < per_second < float("inf"):
        raise typer.BadParameter(f"--rate {text!r} is not a positive number of events a second, such as 500/s")
    return per_second


async def _replay(
    rounds: Iterable[Iterable[FileEvent]],
    kafka: KafkaSettings,
    *,
    rate: float | None,
    speed: float | None,
    hold: bool,
    ask: bool,
) -> Tally:
    topic, asked = (topic_name(role, kafka.topic_prefix) for role in (Role.INTERACTIONS, Role.REQUESTS))
    with open_admin(kafka) as admin:
        partitions = require_topic(admin, topic, kafka)
    async with (
        open_outbox(kafka, topic, partitions=partitions) as outbox,
        open_outbox(kafka, asked, partitions=partitions) as requests,
    ):
        with open_lists(kafka) if hold else nullcontext() as lists, _live() as progress:
            tally = Tally()
            task = progress.add_task("", total=None, count=0, rate=0.0)
            for events in map(list, rounds) if ask else rounds:
                if lists is not None and ask:
                    positions = await requests.send([_request(event) for event in events])
                    users = [event.user_id for event in events]
                    await asyncio.to_thread(wait_for_lists, lists, zip(users, positions, strict=True), kafka, asked)
                sent: list[tuple[str, Position]] = []
                async for chunk in chunks_when_due(due_times(events, rate=rate, speed=speed)):
                    positions = await outbox.send(chunk)
                    tally.add(positions)
                    progress.update(task, count=tally.count, rate=tally.rate)
                    if lists is not None:
                        sent.extend((event.user_id, at) for event, at in zip(chunk, positions, strict=True))
                if lists is not None:
                    await asyncio.to_thread(wait_for_lists, lists, sent, kafka, topic)
            return tally


def _request(event: FileEvent) -> FileEvent:
    """The request for a list at the time of an event, just before it happens."""
    request = RecommendationRequest(user_id=event.user_id, timestamp=event.timestamp_ms)
    return FileEvent(event.user_id, event.timestamp_ms, request.model_dump_json(exclude_none=True).encode())


def _live() -> Progress:
    """A line on stderr while it runs; nothing where stderr is not a terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.fields[count]:,} events, {task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
