"""The benchmark from broker to figures: every program in turn, round after round, then their latencies."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from schemas.errors import ConfigurationError
from stream.bench.courses import PARTITIONS, SEED, apart, fill_with, in_turn, lay_out, load_for, settings_for
from stream.bench.draining import measure_drain
from stream.bench.figures import DESCRIBED, RESEARCH, Run, Section, Variant
from stream.bench.grown import grow_bundle
from stream.bench.kernel import KernelTimes, run_kernel
from stream.bench.model import NAME, make_bundle
from stream.bench.polls import SIZES, run_polls
from stream.bench.process_clock import require_linux
from stream.bench.recovery import measure_recovery
from stream.bench.report import Conditions, Results
from stream.bench.runs import Course, measure
from stream.bench.scaling import measure_scaling
from stream.bench.served import Served, describe
from stream.bench.timing import Timed, time_variants
from stream.broker.choose import reach_broker
from stream.clients.provision import delete_prefixed
from stream.settings import Settings

LARGE_CATALOG = 20_000
"""Items for which the kernel is measured too."""


class Further(NamedTuple):
    """Measurements beside the throughput; 0 or empty: not wanted."""

    workers: int = 0
    """Up to so many workers at once."""
    recovery: int = 0
    """Users of a changelog to be recovered."""
    backlog: int = 0
    """Events of a backlog to be drained."""
    catalogs: Sequence[int] = ()
    """Catalog sizes for which the worker's rate is measured."""


def run_bench(
    variants: Sequence[Variant],
    *,
    further: Further,
    events: int,
    users: int,
    rounds: int,
    latency: bool,
    kernel: bool,
    bootstrap_servers: str | None,
    model_store: str | None,
    model: str | None,
    show: Callable[[str], None],
) -> Results:
    """Measure these variants; whatever ends it, no process, topic, group or temporary file of it is left.

    Without `model_store` a small model is trained first, and without torch (b) and (b2) are left out; `show` is told.
    Raises FewstepError if a program fails or stands still.
    """
    require_linux()
    load_before = os.getloadavg()[0]
    chosen = _runnable(variants, show)
    with tempfile.TemporaryDirectory(prefix="fewstep-bench-") as folder, reach_broker(bootstrap_servers) as broker:
        home = Path(folder)
        show(f"broker: {broker.name} at {broker.bootstrap_servers}")
        sampling = cache(partial(_make_sampling, home, show))
        large = sampling if model_store is None else None
        if model_store is None:
            show("training a small model to serve")
            model_store, model = make_bundle(home, seed=SEED), NAME
        prefix = f"fewstep-bench-{uuid4().hex[:8]}-"
        settings = settings_for(broker.bootstrap_servers, prefix, model_store=model_store, model=model)
        served = describe(settings.model.store, settings.model.name, home=home)
        with _swept(settings):
            course = lay_out(settings, served, home, events=events)
            if chosen:
                show(f"filling the topic with {events:,} events of {users:,} users")
                fill_with(course, load_for(course, served, count=events, users=users))
            runs = list(_throughput(course, chosen, rounds=rounds, show=show))
            kernels = list(_kernels(settings, served, home, large, show=show)) if kernel else []
            timed = Timed()
            if latency and chosen:
                timed = time_variants(
                    course, served, chosen, users=users, rounds=rounds, broker_pid=broker.pid, show=show
                )
            sections = list(_sections(further, course, served, sampling, events=events, users=users, show=show))
    manifest = served.manifest
    conditions = Conditions(
        broker=broker.name, events=events, users=users, partitions=PARTITIONS,
        model=f"{manifest.model} {manifest.version}", n_items=manifest.n_items, d=manifest.d,
        cpus=os.cpu_count() or 1, load_before=load_before,
    )  # fmt: skip
    return Results(conditions, runs, timed.delays, kernels, sections, timed.rungs)


def _sections(
    further: Further,
    course: Course,
    served: Served,
    sampling: Callable[[], str],
    *,
    events: int,
    users: int,
    show: Callable[[str], None],
) -> Iterator[Section]:
    if further.workers:
        wide = replace(course, partitions=max(PARTITIONS, 2 * further.workers))
        load = load_for(course, served, count=events, users=users)
        yield measure_scaling(wide, load, most=further.workers, show=show)
    if further.recovery:
        yield measure_recovery(course, further.recovery, served.item_ids, show)
    if further.backlog:
        alone = apart(course, served, "backlog")
        load = load_for(alone, served, count=further.backlog, users=users)
        fill_with(alone, load)
        yield measure_drain(alone, load, show)
    if further.catalogs:
        yield _large_catalogs(course, served, further.catalogs, sampling(), count=events, users=users, show=show)


def _make_sampling(home: Path, show: Callable[[str], None]) -> str:
    """The store of a model whose inner steps range over a sample, as they do where the catalog is large."""
    show("training a model whose inner steps range over a sample")
    return make_bundle(home / "sampled", seed=SEED, sampling=True)


def _large_catalogs(
    course: Course,
    served: Served,
    sizes: Sequence[int],
    store: str,
    *,
    count: int,
    users: int,
    show: Callable[[str], None],
) -> Section:
    """The worker's rate with the model that is served, then with catalogs grown from the one of `store`."""
    stores = [(course.settings.model.store, served)]
    for size in sizes:
        name = grow_bundle(store, NAME, n_items=size, seed=SEED)
        stores.append((store, describe(store, name, home=course.home)))
    runs, polls = [], []
    for where, one in stores:
        alone = apart(course, one, f"catalog-{one.manifest.n_items}", model_store=where)
        fill_with(alone, load_for(alone, one, count=count, users=users))
        runs.append(measure(replace(alone, events=count), Variant.FEWSTEP, number=0))
        show(f"{one.manifest.n_items:,} items: {runs[-1].events_per_s:,.0f} events/s")
        polls.append(run_polls(where, one.manifest.model, home=course.home))
    rows = [
        [
            f"{one.manifest.n_items:,}", f"{run.events_per_s:,.0f}", f"{run.lists_per_event:.2f}",
            f"{run.events_per_s / runs[0].events_per_s:.0%}", f"{run.cpu_us_per_event:,.1f}", f"{run.peak_mib:,.0f}",
            *(times.shown() for times in found),
        ]
        for (_, one), run, found in zip(stores, runs, polls, strict=True)
    ]  # fmt: skip
    header = ["items", "events/s", "lists/event", "of the first", "CPU us/event", "peak MiB"]
    header += [f"step for a poll of {size}, ms p50 / p99" for size in SIZES]
    title = "The worker by catalog size, ranked exactly"
    return Section("catalogs", title, header, rows, [*runs, *(times for found in polls for times in found)])


def _runnable(variants: Sequence[Variant], show: Callable[[str], None]) -> list[Variant]:
    """Those that can run here. Raises ConfigurationError if none can."""
    if not set(RESEARCH) & set(variants) or find_spec("torch") is not None:
        return list(variants)
    for variant in RESEARCH:
        show(f"left out, because torch is not installed: {DESCRIBED[variant]}")
    left: list[Variant] = [variant for variant in variants if variant not in RESEARCH]
    if not left:
        raise ConfigurationError("--only maml and --only melu need torch: pip install 'fewstep[train]'")
    return left


@contextmanager
def _swept(settings: Settings) -> Iterator[None]:
    """Delete in the end whatever bears the prefix; the programs create topics and groups of their own."""
    try:
        yield
    finally:
        delete_prefixed(settings.kafka, settings.kafka.topic_prefix)


def _throughput(
    course: Course, variants: Sequence[Variant], *, rounds: int, show: Callable[[str], None]
) -> Iterator[Run]:
    for number in range(rounds):
        for variant in in_turn(variants, number):
            run = measure(course, variant, number=number)
            show(
                f"round {number + 1}, {DESCRIBED[variant]}: {run.events_per_s:,.0f} events/s, "
                f"{run.cpu_us_per_event:,.1f} us of CPU per event, {run.peak_mib:,.0f} MiB"
            )
            yield run


def _kernels(
    settings: Settings, served: Served, home: Path, large: Callable[[], str] | None, *, show: Callable[[str], None]
) -> Iterator[KernelTimes]:
    """For the catalog as it is and for a large one, with the model of the store `large` if one is named."""
    for n_items, store in ((served.manifest.n_items, None), (LARGE_CATALOG, large)):
        where = store() if store is not None else settings.model.store
        show(f"adapting and ranking alone, {n_items:,} items")
        yield run_kernel(where, settings.model.name, n_items=n_items, home=home)
