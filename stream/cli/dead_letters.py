"""Look at dead letters, and send them again after what was wrong has been mended."""

import json
from collections import Counter
from typing import Annotated

import typer

from schemas import rfc3339
from stream.cli.dead_letters_read import Letter, read_letters
from stream.cli.dead_letters_redrive import Fate, redrive_letters
from stream.cli.options import BootstrapServers, Json, TopicPrefix, load_settings
from stream.core.decode import Refusal

dead_letters = typer.Typer(add_completion=False, no_args_is_help=True)

Reasons = Annotated[
    list[Refusal] | None, typer.Option("--reason", help="Only with this reason; may be repeated.", show_default=False)
]


@dead_letters.callback()
def _group() -> None:
    """Look at dead letters, and send them again after what was wrong has been mended."""


@dead_letters.command("list")
def list_letters(
    reason: Reasons = None,
    bootstrap_servers: BootstrapServers = None,
    topic_prefix: TopicPrefix = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON Lines.")] = False,
) -> None:
    """Say of each dead letter when and why it was refused, where it came from, and its size; never its content."""
    kafka = load_settings(bootstrap_servers, topic_prefix).kafka
    for letter in read_letters(kafka, reasons=reason):
        typer.echo(json.dumps(_as_json(letter)) if json_output else _as_text(letter))


@dead_letters.command()
def redrive(
    reason: Reasons = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing, only say what would be sent.")] = False,
    bootstrap_servers: BootstrapServers = None,
    topic_prefix: TopicPrefix = None,
    json_output: Json = False,
) -> None:
    """Send dead letters back to where they came from, each once; one run at a time."""
    kafka = load_settings(bootstrap_servers, topic_prefix).kafka
    fates = redrive_letters(kafka, list(read_letters(kafka, reasons=reason)), dry_run=dry_run)
    counts: Counter[str] = Counter(fate for _, fate in fates)
    in_vain = sum(fate is Fate.SENT and letter.redriven for letter, fate in fates)
    if json_output:
        told: dict[str, int] = {fate: counts[fate] for fate in Fate}
        typer.echo(json.dumps({"dry_run": dry_run, "letters": len(fates), **told, "in-vain": in_vain}))
        return
    typer.echo(f"{counts[Fate.SENT]} of {len(fates)} dead letters {'would be ' if dry_run else ''}sent again")
    if in_vain:
        typer.echo(f"{in_vain} of them not for the first time: sent by an earlier redrive and refused once more")
    for fate in Fate:
        if fate is not Fate.SENT and counts[fate]:
            typer.echo(f"{counts[fate]} not, {fate}: {_WHY[fate]}")


_WHY = {
    Fate.ALREADY: "its copy is in the source topic",
    Fate.SUPERSEDED: "the source topic is compacted and holds a newer record with this key",
    Fate.EXPIRED: "retention has removed the part of the source topic that would tell whether it was sent before",
    Fate.LOST: "the letter is a reference, and the source topic no longer holds the record",
    Fate.FOREIGN: "it does not name an input topic of this --topic-prefix as its source",
}


def _as_json(letter: Letter) -> dict[str, object]:
    topic, partition, offset = letter.source or (None, None, None)
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "time": rfc3339(letter.timestamp_ms),
        "reason": letter.reason,
        "detail": letter.detail,
        "source": {"topic": topic, "partition": partition, "offset": offset},
        "size": letter.size,
        "redriven": letter.redriven,
    }


def _as_text(letter: Letter) -> str:
    source = "unknown source" if letter.source is None else "{}[{}]@{}".format(*letter.source)
    return (
        f"{letter.partition}:{letter.offset}  {rfc3339(letter.timestamp_ms)}  "
        f"{letter.reason}{', after a redrive' if letter.redriven else ''}  {source}  "
        f"{letter.size} bytes  {letter.detail}"
    )
