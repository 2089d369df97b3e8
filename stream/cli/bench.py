"""`fewstep bench`: the worker beside plain Faust."""

import json
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import ConfigurationError
from stream.bench.figures import Variant
from stream.cli.options import BootstrapServers, Json


def bench(
    events: Annotated[int, typer.Option(min=100, help="Events that the topic is filled with.")] = 100_000,
    users: Annotated[int, typer.Option(min=1, help="Users that write them, a few often and most seldom.")] = 50_000,
    rounds: Annotated[int, typer.Option(min=1, help="How often each program runs, in turn.")] = 3,
    only: Annotated[
        list[Variant] | None,
        typer.Option(help="Only this program; may be repeated. Without it all but exactly-once.", show_default=False),
    ] = None,
    latency: Annotated[bool, typer.Option(help="Also measure what an open loop carries, and its latency.")] = True,
    kernel: Annotated[
        bool | None,
        typer.Option(help="Also adapt and rank a batch alone; without --only this is done.", show_default=False),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Measure 1 to so many workers instead.")] = 0,
    recovery: Annotated[int, typer.Option(min=0, help="Measure recovery of so many users instead.")] = 0,
    backlog: Annotated[int, typer.Option(min=0, help="Measure how each store drains so many events instead.")] = 0,
    catalog: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Measure the worker with so many items instead; may be repeated.", show_default=False),
    ] = None,
    bootstrap_servers: BootstrapServers = None,
    model_store: Annotated[
        str | None, typer.Option(help="Serve a model of this store, not a small made-up one.", show_default=False)
    ] = None,
    model: Annotated[str | None, typer.Option(help="Its name, with --model-store.", show_default=False)] = None,
    report: Annotated[Path | None, typer.Option(help="Write the tables to this Markdown file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the rates into this SVG file.")] = None,
    json_output: Json = False,
) -> None:
    """Measure the worker beside plain Faust programs and aiokafka alone: rate, CPU, memory, latency."""
    import logging
    import signal

    from rich.console import Console

    from stream.bench.plot import as_svg
    from stream.bench.report import as_json, as_markdown, as_screen
    from stream.bench.scenario import Further, run_bench

    if model is not None and model_store is None:
        raise typer.BadParameter("--model needs --model-store")
    for path in filter(None, (report, plot)):
        _require_writable(path)
    # SIGTERM takes the way of Ctrl-C, on which everything is cleaned up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # It warns of each topic that is new to it; what matters arrives as an exception.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    progress = Console(stderr=True)
    further = Further(workers, recovery, backlog, catalog or ())
    results = run_bench(
        [one for one in Variant if (one in only if only else one is not Variant.EXACTLY_ONCE and not any(further))],
        further=further,
        events=events, users=users, rounds=rounds, latency=latency,
        kernel=not only and not any(further) if kernel is None else kernel, bootstrap_servers=bootstrap_servers,
        model_store=model_store, model=model, show=lambda line: progress.print(line, highlight=False, soft_wrap=True),
    )  # fmt: skip
    if report is not None:
        report.write_text(as_markdown(results), encoding="utf-8")
    if plot is not None and results.runs:
        plot.write_text(
            as_svg(results.runs, "Events a second, logarithmic: median, least to greatest"), encoding="utf-8"
        )
    if json_output:
        typer.echo(json.dumps(as_json(results)))
    else:
        Console().print(as_screen(results), highlight=False)


def _require_writable(path: Path) -> None:
    """Raise ConfigurationError where a file cannot be written: better now than with the figures of half an hour."""
    try:
        path.open("a").close()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigurationError(f"{path} cannot be written ({reason}): name a file in a folder that exists") from None
