"""The part of `fewstep replay` that sends nothing and verifies what was published."""

import json

import typer

from stream.audit.verify import Report, verify
from stream.settings import Settings

_SHOWN = 20


def report_verification(
    settings: Settings, *, user: str | None, sample: int | None, seed: int, json_output: bool
) -> None:
    """Verify published lists and print what was found; exit code 1 if a list differs, or not one could be checked."""
    report = verify(settings, user=user, sample=sample, seed=seed)
    typer.echo(json.dumps(_as_json(report)) if json_output else _as_text(report))
    if report.differences or (report.lists and not report.verified):
        raise typer.Exit(1)


def _as_json(report: Report) -> dict[str, object]:
    return {
        "lists": report.lists,
        "verified": report.verified,
        "unchecked": dict(report.unchecked),
        "differences": [difference._asdict() for difference in report.differences],
    }


def _as_text(report: Report) -> str:
    lines = [f"{report.lists} lists: {report.verified} computed again, {len(report.differences)} differ"]
    lines += [f"{count} could not be checked: {reason}" for reason, count in sorted(report.unchecked.items())]
    lines += [f"partition {one.partition}, offset {one.offset}: {one.detail}" for one in report.differences[:_SHOWN]]
    if len(report.differences) > _SHOWN:
        lines.append(f"... and {len(report.differences) - _SHOWN} more: --json names them all")
    return "\n".join(lines)
