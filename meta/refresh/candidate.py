"""Trains a candidate on a window and lays it out as a bundle in a store of its own."""

import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from meta.bundle import build_bundle, describe_data, write_version
from meta.config import TrainingConfig
from meta.dataset import Dataset, load
from meta.inner import Tensors
from meta.ledger import publish
from meta.model import Initialization
from meta.refresh.incumbent import Incumbent
from meta.refresh.warm import MisfitError, take_up
from meta.refresh.window import Window
from meta.served import ServedBundle
from meta.store import open_store
from meta.training import Progress, Trained, train
from schemas import Item, Manifest

LEAST_SHARE = 1 / 8
"""A warm start takes the share of the epochs that new events have of all, and no less than this."""
_MOST_UNKNOWN = 0.01
_SHAPE = ("algorithm", "objective", "d", "inner_steps", "window", "taus_days")
_log = logging.getLogger("fewstep.refresh")


class Origin(NamedTuple):
    """What a training starts from."""

    version: str
    parameters: Tensors
    items: list[Item]


class Lesson(NamedTuple):
    """A finished training."""

    dataset: Dataset
    trained: Trained
    started_from: str | None


def recipe_of(incumbent: Incumbent | None, given: TrainingConfig | None) -> TrainingConfig:
    """The recipe: as given, else that of the served version, else the defaults."""
    if given is not None:
        return given
    if incumbent is None:
        return TrainingConfig()
    try:
        return TrainingConfig.model_validate(incumbent.served.manifest.hyper_parameters)
    except ValidationError:
        _log.warning("the recipe of the served version is not one of this build: the defaults are taken")
        return TrainingConfig()


def origin_of(incumbent: Incumbent) -> Origin:
    """The served version as something to start from."""
    return Origin(incumbent.publication.version, incumbent.parameters, incumbent.served.items)


def obstacle(incumbent: Incumbent, window: Window, recipe: TrainingConfig, *, min_overlap: float) -> str | None:
    """Why a training cannot start from the served version, None where it can."""
    manifest = incumbent.served.manifest
    if not incumbent.parameters:
        return "the served version has no parameters to start from"
    served = recipe_of(incumbent, None)
    for name in _SHAPE:
        before, now = getattr(served, name), getattr(recipe, name)
        if before != now:
            return f"{name} was {before} and is {now}"
    dataset = load(window.judged, window.items, window.profiles, like=manifest)
    share = len(set(dataset.item_ids) & set(incumbent.served.item_ids)) / max(1, len(incumbent.served.item_ids))
    if share < min_overlap:
        return f"{share:.0%} of the served catalog are left"
    unknown = float((dataset.kind < 0).mean())
    if unknown > _MOST_UNKNOWN:
        return f"{unknown:.0%} of the events are of types that the served version does not know"
    return None


def learn(
    events: Path,
    window: Window,
    recipe: TrainingConfig,
    *,
    origin: Origin | None,
    like: Manifest | None,
    seed: int,
    unseen: float,
    progress: Progress | None = None,
) -> Lesson:
    """Train on one of the window's files; from `origin` with fewer epochs, in the encodings of `like`.

    `unseen` is the share of the events that the origin does not know: it gets that share of the epochs. Where the
    parameters of the origin do not fit this build's model the training is from scratch, which is logged.
    Raises DataError where the interactions are too few to learn from.
    """
    dataset = load(events, window.items, window.profiles, like=like)
    if origin is not None:
        shorter = max(1, round(recipe.epochs * max(LEAST_SHARE, unseen)))
        short = recipe.model_copy(update={"epochs": shorter, "validate_every": min(recipe.validate_every, shorter)})

        def start(model: Initialization) -> None:
            take_up(model, origin.parameters, old_items=origin.items, new_ids=dataset.item_ids)

        try:
            trained = train(dataset, short, seed=seed, progress=progress, warm_start=start)
            return Lesson(dataset, trained, origin.version)
        except MisfitError as error:
            _log.warning("%s cannot be started from, so the training is from scratch: %s", origin.version, error)
    return Lesson(dataset, train(dataset, recipe, seed=seed, progress=progress), None)


def continue_from(lesson: Lesson, served: ServedBundle) -> Origin:
    """What was just learned, as something to start from."""
    return Origin(served.manifest.version, lesson.trained.parameters, served.items)


def stage(
    store_url: str,
    model: str,
    lesson: Lesson,
    recipe: TrainingConfig,
    *,
    seed: int,
    measures: Mapping[str, Any],
    data: Mapping[str, Any],
    parent: str | None,
    created: datetime,
) -> Manifest:
    """Export into a store that nobody serves from, as its latest version. Raises BundleError where that fails."""
    built = build_bundle(
        model,
        trained=lesson.trained,
        dataset=lesson.dataset,
        config=recipe,
        seed=seed,
        measures=measures,
        data=describe_data(lesson.dataset) | dict(data),
        created=created,
        parent=parent,
    )
    store = open_store(store_url)
    write_version(store, built, after=0)
    publish(store, model, built.manifest.version, now=created)
    return built.manifest
