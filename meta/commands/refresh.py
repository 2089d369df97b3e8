"""`fewstep refresh`: reads the history, trains, and publishes what is better than what is served."""

import json
from pathlib import Path
from typing import Annotated

import typer


def refresh(
    model_store: Annotated[str, typer.Option(help="fsspec URL or path of the model store")],
    model: Annotated[str, typer.Option(help="Name of the model")],
    archive: Annotated[str, typer.Option(help="fsspec URL or path of the archive of interactions")],
    bootstrap_servers: Annotated[
        str | None, typer.Option(help="Kafka, host:port[,host:port]", show_default=False)
    ] = None,
    topic_prefix: Annotated[str | None, typer.Option(help="Start of all topic names", show_default=False)] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with the recipe; that of the served version if absent")
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="Run again after this time, such as 30m, 6h or 1d; once if absent")
    ] = None,
    on_drift: Annotated[bool, typer.Option("--on-drift", help="Run when a worker asks for it")] = False,
    max_events: Annotated[int, typer.Option(min=1, help="Newest events to learn from, at most")] = 4_000_000,
    min_new_events: Annotated[int, typer.Option(min=1, help="With fewer since the last version: done")] = 500,
    min_events: Annotated[int, typer.Option(min=1, help="A candidate trained on fewer is refused")] = 1000,
    min_judged: Annotated[int, typer.Option(min=1, help="A candidate judged on fewer users is refused")] = 30,
    keep: Annotated[int, typer.Option(min=2, help="Published versions that stay in the store")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of the split, the tasks and the initial numbers")] = 0,
    json_output: Annotated[bool, typer.Option("--json", help="Print each report as a line of JSON")] = False,
) -> None:
    """Bring the archive up to date, train, and publish if better: exit code 3 with a report if not."""
    from meta.config import read_config
    from meta.refresh.kafka import kafka_settings
    from meta.refresh.report import Report
    from meta.refresh.run import Order
    from meta.refresh.schedule import keep_fresh, refresh_once, seconds_of
    from meta.refresh.settings import RefreshSettings

    order = Order(
        model_store=model_store,
        model=model,
        archive=archive,
        kafka=kafka_settings(bootstrap_servers=bootstrap_servers, topic_prefix=topic_prefix),
        settings=RefreshSettings(
            max_events=max_events,
            min_new_events=min_new_events,
            min_events=min_events,
            min_judged=min_judged,
            keep=keep,
        ),
        recipe=None if config is None else read_config(config),
        seed=seed,
    )

    def show(report: Report, where: str) -> None:
        if json_output:
            typer.echo(json.dumps(report.as_json() | {"report": where}))
        elif report.outcome == "published":
            typer.echo(f"published {report.model}, version {report.version}; report: {where}")
        else:
            typer.echo(f"{report.outcome}: {'; '.join(report.reasons)}; report: {where}")

    def tell(text: str) -> None:
        typer.echo(text, err=True)

    if every is None and not on_drift:
        show(*refresh_once(order, tell))
        return
    keep_fresh(order, tell, show, every_s=None if every is None else seconds_of(every), on_drift=on_drift)
