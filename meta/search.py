"""Search for a recipe: Bayesian optimization of the training configuration on validation users.

A study lives in a folder: a journal that each finished trial is appended to, and what the study is about. A study that
was killed goes on where it stopped; the trial in hand is run again.
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import optuna
from optuna.trial import TrialState
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from meta.config import TrainingConfig, read_toml
from meta.dataset import Dataset
from meta.training import train
from schemas.errors import ConfigurationError

_STARTUP_TRIALS = 8
"""Drawn at random before the sampler learns from them"""


class Choices(BaseModel):
    """One of several values."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    choices: Annotated[list[bool | int | float | str], Field(min_length=1)]


class Range(BaseModel):
    """A number between `low` and `high`; whole where both are."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    low: int | float
    high: int | float
    log: Annotated[bool, Field(description="Search the logarithm")] = False


Space = dict[str, Choices | Range]
"""By field of TrainingConfig."""

SPACE: Space = {
    "d": Choices(choices=[16, 32, 48, 64]),
    "inner_steps": Range(low=1, high=6),
    "learning_rate": Range(low=1e-3, high=1e-2, log=True),
    "weight_decay": Range(low=0.3, high=10.0, log=True),
    "user_weight_decay": Range(low=0.1, high=10.0, log=True),
    "dropout": Range(low=0.2, high=0.7),
    "apart_share": Range(low=0.0, high=0.5),
    "fixed_share": Range(low=0.2, high=0.8),
}
"""Searched unless another space is given."""


class Found(NamedTuple):
    """The outcome of a study."""

    config: TrainingConfig
    """The best recipe"""
    value: float
    """Its measure on the validation users"""
    trials: list[dict[str, Any]]
    """number, state, value, params of each, in order"""
    importances: dict[str, float]
    """Share of the differences among the better trials that a field explains; empty with too few trials"""


def read_space(path: Path | None) -> Space:
    """Read a TOML file with a table per field: `choices = [...]`, or `low`, `high` and `log`.

    Raises ConfigurationError for a file that is no such thing, or names a field that TrainingConfig lacks.
    """
    if path is None:
        return SPACE
    try:
        space = TypeAdapter(Space).validate_python(read_toml(path, flag="--space"))
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(f"{path}: {first['loc'][0]}: {first['msg']}; give choices, or low and high") from None
    unknown = sorted(set(space) - set(TrainingConfig.model_fields))
    if unknown or not space:
        known = ", ".join(sorted(TrainingConfig.model_fields))
        raise ConfigurationError(f"{path}: {unknown[0] if unknown else 'nothing'} to search; fields are {known}")
    return space


def search(
    dataset: Dataset,
    base: TrainingConfig,
    space: Space,
    folder: Path,
    *,
    about: dict[str, Any],
    trials: int,
    timeout_s: float | None,
    seed: int,
    tell: Callable[[int, float | None], None],
) -> Found:
    """Bring the study in `folder` to `trials` finished trials and give what it found.

    Every trial trains on the training users and is judged on the validation users, the same in all of them; a trial
    that is behind the median of the others at some epoch is pruned. `about` says what data the study is about; `tell`
    hears of each finished trial. Raises ConfigurationError where the folder holds a study of something else, or another
    process works on it, and where no trial could be finished.
    """
    with _locked(folder):
        study = _open_study(folder, seed=seed)
        _require_same(
            study, folder, about | {"space": _as_json(space), "base": base.model_dump(mode="json"), "seed": seed}
        )
        _requeue_broken(study)

        def objective(trial: optuna.Trial) -> float:
            return _run_trial(trial, dataset, base, space, seed=seed)

        def told(_: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            tell(trial.number, trial.value)

        left = trials - sum(trial.state.is_finished() and trial.state != TrialState.FAIL for trial in study.trials)
        if left > 0:
            study.optimize(objective, n_trials=left, timeout=timeout_s, callbacks=[told])
        return _found(study, base)


def _run_trial(trial: optuna.Trial, dataset: Dataset, base: TrainingConfig, space: Space, *, seed: int) -> float:
    best = float("-inf")

    def watch(epoch: int, measure: float | None) -> None:
        nonlocal best
        if measure is None:
            return
        best = max(best, measure)
        trial.report(best, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        config = TrainingConfig.model_validate(
            base.model_dump() | {name: _suggest(trial, name, what) for name, what in space.items()}
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(f"the space holds {first['loc'][0]} = {first['input']!r}: {first['msg']}") from None
    train(dataset, config, seed=seed, progress=watch)
    return best


def _suggest(trial: optuna.Trial, name: str, what: Choices | Range) -> Any:
    if isinstance(what, Choices):
        return trial.suggest_categorical(name, what.choices)
    if isinstance(what.low, int) and isinstance(what.high, int):
        return trial.suggest_int(name, what.low, what.high, log=what.log)
    return trial.suggest_float(name, what.low, what.high, log=what.log)


def _open_study(folder: Path, *, seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it warns of what ends a trial, with a traceback, and raises it
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    return optuna.create_study(
        study_name="fewstep",
        storage=optuna.storages.JournalStorage(backend),
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS // 2),
        direction="maximize",
        load_if_exists=True,
    )


def _require_same(study: optuna.Study, folder: Path, about: dict[str, Any]) -> None:
    for name, value in about.items():
        if study.user_attrs.setdefault(name, value) != value:
            raise ConfigurationError(f"{folder} holds a study with another {name}; give another --out, or remove it")
        study.set_user_attr(name, value)


def _requeue_broken(study: optuna.Study) -> None:
    """Trials that a killed process left behind are run again with the same numbers."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)


def _found(study: optuna.Study, base: TrainingConfig) -> Found:
    finished = study.get_trials(states=(TrialState.COMPLETE,))
    if not finished:
        raise ConfigurationError("no trial was finished: give more --trials or a longer --timeout")
    varied = {name for name in study.best_params if len({str(trial.params.get(name)) for trial in finished}) > 1}
    importances = {}
    if len(finished) > _STARTUP_TRIALS and varied:
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        importances = optuna.importance.get_param_importances(study, evaluator=evaluator, params=sorted(varied))
    return Found(
        config=TrainingConfig.model_validate(base.model_dump() | study.best_params),
        value=study.best_value,
        trials=[
            {"number": trial.number, "state": trial.state.name.lower(), "value": trial.value, "params": trial.params}
            for trial in study.trials
            if trial.state.is_finished()
        ],
        importances=importances,
    )


def _as_json(space: Space) -> dict[str, Any]:
    return {name: what.model_dump(mode="json") for name, what in space.items()}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep others out of the folder; the lock goes with the process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "study.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError:
        raise ConfigurationError(f"another search works in {folder}; wait for it, or give another --out") from None
    except OSError as error:
        raise ConfigurationError(f"{folder}: {error.strerror}; give a folder that can be written with --out") from None
