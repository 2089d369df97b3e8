"""One refresh: read, cut, train, judge, refit, publish, announce. Killed anywhere, the next run finishes the job."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from meta import baselines, ledger
from meta.config import TrainingConfig
from meta.dataset import Dataset, load, subset
from meta.refresh import gate, history, report
from meta.refresh.archive import Archive, State, open_archive
from meta.refresh.candidate import Lesson, Origin, continue_from, learn, obstacle, origin_of, recipe_of, stage
from meta.refresh.incumbent import Incumbent, load_incumbent
from meta.refresh.kafka import require_topic
from meta.refresh.loading import Check
from meta.refresh.publishing import announce, copy_version
from meta.refresh.report import Report
from meta.refresh.settings import RefreshSettings
from meta.refresh.window import Window, cut_window
from meta.refresh.workplace import sweep, workplace
from meta.store import Store, open_store, require_writable
from meta.training import as_scorer
from schemas import KafkaSettings, Manifest, Role, topic_name
from schemas.errors import ConfigurationError, DataError, RefusedError

_BASELINE_USERS = 20_000
"""Baselines are fitted on a sample of so many users."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What is to be refreshed, and with what."""

    model_store: str
    model: str
    archive: str
    kafka: KafkaSettings
    settings: RefreshSettings
    recipe: TrainingConfig | None
    seed: int


@dataclass
class _Progress:
    """What happened so far."""

    tell: Tell
    checks: list[Check] = field(default_factory=list)
    measures: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    version: str | None = None
    _since: float = field(default_factory=monotonic)
    _stage: str = ""

    def enter(self, stage: str, text: str) -> None:
        """The next stage begins."""
        self.leave()
        self._stage, self._since = stage, monotonic()
        self.tell(f"{stage}: {text}")

    def leave(self) -> None:
        """The stage is over."""
        if self._stage:
            self.seconds[self._stage] = round(self.seconds.get(self._stage, 0.0) + monotonic() - self._since, 3)

    def require(self, checks: list[Check]) -> None:
        """Note checks. Raises RefusedError where one does not hold."""
        self.checks += checks
        reasons = [f"{check.name}: {check.detail}" for check in checks if not check.passed]
        if reasons:
            raise RefusedError("; ".join(reasons))


def refresh(order: Order, now: datetime, tell: Tell) -> tuple[Report, str]:
    """Run once; gives the report and where it was written.

    Raises RefusedError, after the report is written, where the gate says no; BrokerError, DataError and BundleError
    where something is not as it has to be. Whatever is served stays so until the last moment.
    """
    store, archive = open_store(order.model_store), open_archive(order.archive)
    for role in (Role.ITEMS, Role.USERS, Role.INTERACTIONS, Role.MODELS):
        require_topic(order.kafka, topic_name(role, order.kafka.topic_prefix))
    progress = _Progress(tell)
    progress.enter("read", f"topics into archive {order.archive}")
    # What an earlier run was killed in: its files go, latest.json and the announcement follow from the ledger.
    sweep()
    announce(store, order.model, order.kafka, now)
    ledger.tidy(store, order.model, keep=order.settings.keep, now=now)
    before = archive.state()
    state = history.update(archive, order.kafka, now)
    incumbent = load_incumbent(store, order.model, topic=topic_name(Role.INTERACTIONS, order.kafka.topic_prefix))
    served = ledger.head(store, order.model)
    n_new = state.events - (incumbent.events if incumbent else 0)

    def finish(outcome: str, reasons: list[str]) -> tuple[Report, str]:
        progress.leave()
        head = ledger.head(store, order.model)
        found = Report(
            outcome,
            order.model,
            progress.version,
            head.version if head else None,
            reasons,
            report.describe_archive(state, before),
            progress.training,
            progress.checks,
            progress.measures,
            progress.seconds,
        )
        return found, report.write(archive, found, now)

    if incumbent is not None and n_new < order.settings.min_new_events:
        least = order.settings.min_new_events
        return finish(
            "nothing new", [f"{n_new} new events since {incumbent.publication.version}, {least} are the least"]
        )
    require_writable(store, order.model)
    try:
        with workplace() as folder:
            staged = _prepare(order, archive, state, incumbent, n_new, folder, progress, now)
            progress.enter("publish", f"{progress.version} to {order.model_store}")
            _publish(staged, store, order, progress.version or "", ledger.number_of(served), now)
    except RefusedError as error:
        _, where = finish("refused", [str(error)])
        raise RefusedError(f"{order.model} stays as it is: {error}; report: {where}") from None
    progress.enter("announce", f"{progress.version} on the models topic")
    announce(store, order.model, order.kafka, now)
    ledger.tidy(store, order.model, keep=order.settings.keep, now=now)
    return finish("published", [])


def _publish(staged: Store, store: Store, order: Order, version: str, seen: int, now: datetime) -> None:
    copy_version(staged, store, order.model, version, after=seen)
    ledger.publish(store, order.model, version, now=now, after=seen)


def _prepare(
    order: Order,
    archive: Archive,
    state: State,
    incumbent: Incumbent | None,
    n_new: int,
    folder: Path,
    progress: _Progress,
    now: datetime,
) -> Store:
    """A store below `folder` whose latest version may be published. Raises RefusedError where none may."""
    recipe = recipe_of(incumbent, order.recipe)
    if recipe.objective.rating:
        raise ConfigurationError("a refresh judges lists, not ratings: choose a ranking objective with --config")
    window = cut_window(
        archive,
        state,
        folder,
        trained=incumbent.positions if incumbent else {},
        n_new=n_new,
        max_events=order.settings.max_events,
        incremental=bool(incumbent and incumbent.parameters),
        fallback_items=incumbent.served.items if incumbent else [],
    )
    origin, like = _start(incumbent, window, recipe, order, progress)
    progress.enter("train", f"on events before the cut, {'from ' + origin.version if origin else 'from scratch'}")
    lesson = _learn(window.before, window, recipe, origin, like, order, unseen=window.new_share)
    progress.training |= {
        "window_events": window.n_events,
        "new_events": window.n_new,
        "trained_events": len(lesson.dataset.item),
        "cut_ms": window.cut_ms,
        "started_from": lesson.started_from,
    }
    progress.require([gate.check_data(len(lesson.dataset.item), order.settings)])
    progress.require([gate.check_catalog(lesson.dataset.item_ids, incumbent, order.settings)])
    bench = _Bench(order, recipe, window, incumbent, progress, now, archive_data=_archive_data(state, order))
    candidate, judged = bench.examine(folder / "candidate", lesson, measures={})
    bench.judge(candidate, judged, lesson)
    progress.enter("train", "once more with the newest events, from the candidate")
    again = continue_from(lesson, candidate)
    lesson = _learn(window.everything, window, recipe, again, candidate.manifest, order, unseen=window.kept_share)
    refitted, judged = bench.examine(folder / "refitted", lesson, measures=progress.measures["levels"])
    progress.require(
        [gate.check_refit(refitted, candidate, judged, cut_ms=window.cut_ms, settings=order.settings, seed=order.seed)]
    )
    return open_store(str(folder / "refitted"))


def _start(
    incumbent: Incumbent | None, window: Window, recipe: TrainingConfig, order: Order, progress: _Progress
) -> tuple[Origin | None, Manifest | None]:
    """What to start from and whose encodings to keep; nothing of either where it has to be from scratch."""
    if incumbent is None:
        return None, None
    why = obstacle(incumbent, window, recipe, min_overlap=order.settings.min_overlap)
    if why is None:
        return origin_of(incumbent), incumbent.served.manifest
    progress.training["from_scratch"] = why
    return None, None


def _learn(
    events: Path,
    window: Window,
    recipe: TrainingConfig,
    origin: Origin | None,
    like: Manifest | None,
    order: Order,
    *,
    unseen: float,
) -> Lesson:
    try:
        return learn(events, window, recipe, origin=origin, like=like, seed=order.seed, unseen=unseen)
    except DataError as error:
        raise RefusedError(f"data: {error}") from error


def _archive_data(state: State, order: Order) -> dict[str, Any]:
    topic = topic_name(Role.INTERACTIONS, order.kafka.topic_prefix)
    return {"topic": topic, "commit": state.number, "events": state.events, "positions": state.positions.get(topic, {})}


@dataclass(frozen=True)
class _Bench:
    """Where bundles are exported and examined."""

    order: Order
    recipe: TrainingConfig
    window: Window
    incumbent: Incumbent | None
    progress: _Progress
    now: datetime
    archive_data: dict[str, Any]

    def examine(self, store: Path, lesson: Lesson, *, measures: dict[str, Any]) -> tuple[Any, Dataset]:
        """Export and check what has to hold of any bundle; gives it, and the judged users in its encoding."""
        order, window = self.order, self.window
        self.progress.enter("export", "and let the worker's own code load it")
        manifest = stage(
            str(store),
            order.model,
            lesson,
            self.recipe,
            seed=order.seed,
            measures=measures,
            data={"archive": self.archive_data, "started_from": lesson.started_from, "cut_ms": window.cut_ms},
            parent=self.incumbent.publication.version if self.incumbent else None,
            created=self.now,
        )
        self.progress.version = manifest.version
        judged = load(window.judged, window.items, window.profiles, like=manifest, item_ids=lesson.dataset.item_ids)
        checks, served = gate.check_candidate(str(store), order.model, as_scorer(lesson.trained), judged, order.kafka)
        self.progress.require(checks)
        return served, judged

    def judge(self, candidate: Any, judged: Dataset, lesson: Lesson) -> None:
        """Against the served version and the baselines. Raises RefusedError."""
        order, window = self.order, self.window
        self.progress.enter("judge", "against what is served, and against simple baselines")
        as_incumbent = None
        if self.incumbent is not None:
            like = self.incumbent.served.manifest
            as_incumbent = load(
                window.judged, window.items, window.profiles, like=like, item_ids=lesson.dataset.item_ids
            )
        verdict = gate.judge(
            candidate,
            judged,
            incumbent=self.incumbent,
            as_incumbent=as_incumbent,
            baselines=baselines.fit_all(_sample(lesson.dataset, order.seed)),
            cut_ms=window.cut_ms,
            settings=order.settings,
            seed=order.seed,
        )
        self.progress.measures = verdict.measures
        self.progress.require(verdict.checks)


def _sample(dataset: Dataset, seed: int) -> Dataset:
    if dataset.n_users <= _BASELINE_USERS:
        return dataset
    return subset(dataset, np.sort(np.random.default_rng(seed).permutation(dataset.n_users)[:_BASELINE_USERS]))
