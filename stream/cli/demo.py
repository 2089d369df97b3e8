"""`fewstep demo`: the whole loop on one machine."""

from typing import Annotated

import typer

from stream.cli.options import BootstrapServers


def demo(
    data: Annotated[
        str, typer.Option(help="movielens-100k, synthetic, or a folder with canonical files.")
    ] = "movielens-100k",
    partitions: Annotated[int, typer.Option(min=1, help="Of the topics that are keyed by user.")] = 4,
    users: Annotated[int, typer.Option(min=0, help="Users whose lists are shown before and after.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of the held-out users, the training and the users shown.")] = 0,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Show the whole loop on one machine: broker, training, worker, replay, lists before and after, measures."""
    import signal

    from stream.demo.scenario import run_demo

    # SIGTERM takes the way of Ctrl-C, on which everything is cleaned up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run_demo(data, bootstrap_servers=bootstrap_servers, partitions=partitions, users_shown=users, seed=seed)
