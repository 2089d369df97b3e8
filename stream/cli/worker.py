"""`fewstep worker`: consumes events and publishes adapted lists until it is stopped."""

import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.options import AppId, BootstrapServers, TopicPrefix
from stream.settings import DeliveryKind, Settings, StoreKind


def worker(
    bootstrap_servers: BootstrapServers = None,
    topic_prefix: TopicPrefix = None,
    model_store: Annotated[
        str | None, typer.Option(help="fsspec URL or path of the model store.", show_default=False)
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model to serve.", show_default=False)] = None,
    app_id: AppId = None,
    delivery: Annotated[
        DeliveryKind | None, typer.Option(help="Guarantee of the published lists.", show_default=False)
    ] = None,
    state_store: Annotated[
        StoreKind | None, typer.Option(help="Local copy of the support sets.", show_default=False)
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the local copy; one per worker.", show_default=False)
    ] = None,
    web_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Serve /live, /ready and /metrics here.", show_default=False)
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what Faust and the Kafka client do.")] = False,
) -> None:
    """Consume events, adapt, publish lists; run as many as there are partitions, at most."""
    from stream.shell.heap import share_one_heap

    share_one_heap()
    from stream.engine.bundle import load_bundle
    from stream.engine.watch import Watch
    from stream.shell.folder import held, require_writable
    from stream.shell.preflight import check_cluster
    from stream.shell.worker import serve

    settings = Settings.load(
        kafka={"bootstrap_servers": bootstrap_servers, "topic_prefix": topic_prefix},
        model={"store": model_store, "name": model},
        worker={"app_id": app_id, "delivery": delivery},
        state={"store": state_store, "data_dir": data_dir},
        web={"port": web_port},
    )
    _set_log_levels(verbose)
    signal.signal(signal.SIGTERM, _end)  # until the event loop takes over: nothing is in hand yet
    require_writable(settings.state.data_dir)
    bundle = load_bundle(settings.model.store, settings.model.name)
    found = check_cluster(settings)
    logging.getLogger("fewstep.worker").info(
        "serving %s %s from %s to %s", bundle.manifest.model, bundle.manifest.version, settings.model.store,
        settings.kafka.bootstrap_servers,
    )  # fmt: skip
    with held(settings, found.changelog_id):
        serve(settings, Watch(settings, bundle), found)


def _end(number: int, frame: object) -> None:
    raise SystemExit(0)


def _set_log_levels(verbose: bool) -> None:
    from stream.shell.quiet import OncePerInterval

    for handler in logging.getLogger().handlers:
        handler.addFilter(OncePerInterval())
    if verbose:
        for name in ("fewstep", "faust", "mode", "aiokafka", "stream"):
            logging.getLogger(name).setLevel(logging.DEBUG if name == "fewstep" else logging.INFO)
        return
    # Faust logs through the logger of the module that a class is defined in: ours are then `stream.shell.*`.
    for name in ("faust", "mode", "stream.shell", "asyncio"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Rebalances and coordinator moves are business as usual here, and it warns of each.
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.CRITICAL)
