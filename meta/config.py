"""What a training run can be told, and how it is read from a file."""

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from meta.algorithms import Algorithm, traits_of
from schemas.errors import ConfigurationError


class Objective(StrEnum):
    """What is predicted, and what a score is."""

    RANKING = "ranking"
    """which items come next; scores order one user's list"""
    RATING = "rating"
    """what the user will rate an item with; the score is that rating"""

    @property
    def rating(self) -> bool:
        """Whether scores are ratings."""
        return self is Objective.RATING


class RankingLoss(StrEnum):
    """The outer loss of ranking."""

    SOFTMAX = "softmax"
    """log-likelihood of a query item among the catalog, sampled with correction where that is too large"""
    BCE = "bce"
    """each query item against sampled negatives, as yes and no"""


class RatingLoss(StrEnum):
    """The outer loss of ratings; the inner one is squared error, which has a closed form."""

    ABSOLUTE = "absolute"
    """scores near the median of what a user may say: the least mean absolute error"""
    SQUARED = "squared"
    """scores near its mean: the least root mean squared error"""


_RANKING_RECIPES: dict[Algorithm, dict[str, Any]] = {
    Algorithm.REPTILE: {"inner_rate": 0.2},
    Algorithm.SIAMESE: {"margin": 1.0},
}
"""Defaults of single members of the family where the objective is ranking."""

_RATING_RECIPE: dict[str, Any] = {
    "d": 4,
    "inner_steps": 5,
    "epochs": 20,
    "batch_users": 32,
    "dropout": 0.0,
    "validate_every": 1,
}
"""Defaults where the objective is rating: it starts from factors in closed form and needs few epochs from there."""


SupportSize = Annotated[int, Field(ge=0, le=1000)]


class TrainingConfig(BaseModel):
    """Sizes of the model and the recipe of the outer loop. The defaults were measured on MovieLens-100K."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: Annotated[Algorithm, Field(description="Member of the family, see meta.algorithms")] = (
        Algorithm.AMORTIZED
    )
    objective: Annotated[Objective, Field(description="What a score says: an order, or a rating")] = Objective.RANKING
    ranking_loss: Annotated[RankingLoss, Field(description="Outer loss of ranking")] = RankingLoss.SOFTMAX
    rating_loss: Annotated[RatingLoss, Field(description="Outer loss of ratings")] = RatingLoss.ABSOLUTE
    d: Annotated[int, Field(ge=1, le=512, description="Latent dimensions")] = 32
    inner_steps: Annotated[int, Field(ge=0, le=20, description="Gradient steps per adaptation; 0 is the control")] = 3
    inner_rate: Annotated[
        float, Field(gt=0, description="Step size; where step sizes are learned, the one they start from")
    ] = 1.0
    kind_weights: Annotated[
        dict[str, float],
        Field(description="Where the weights of event types in the inner loss start; negative for one that says no"),
    ] = {}
    low_rating: Annotated[
        float | None, Field(description="Ratings below this say no in the inner loss of ranking; none does if absent")
    ] = None
    exact_items: Annotated[
        int, Field(ge=1, description="Largest catalog over which the outer loss is taken in full")
    ] = 20_000
    exact_inner_items: Annotated[
        int,
        Field(
            ge=1, description="Largest catalog over all of which the inner steps range; what they cost grows with it"
        ),
    ] = 5000
    sampled_items: Annotated[
        int, Field(ge=1, description="Catalog rows sampled for the softmaxes over larger catalogs")
    ] = 2048
    negatives: Annotated[
        int, Field(ge=1, description="Items sampled as negatives of a batch: bce, siamese and triplet")
    ] = 128
    margin: Annotated[float, Field(gt=0, description="Of the contrastive losses, in squared distance")] = 0.5
    agreement: Annotated[
        int,
        Field(
            ge=0,
            description="Rank of the agreement of newer events with older ones, which tells the inner loss where tastes"
            " switched and what to leave out; 0 weighs all events alike",
        ),
    ] = 0
    taus_days: Annotated[
        tuple[float, ...], Field(min_length=1, description="Decay times of the recent popularity, in days")
    ] = (20.0, 100.0)
    prior_rows: Annotated[int, Field(ge=1, le=256, description="Most times at which the prior is tabulated")] = 256
    support_sizes: Annotated[
        tuple[SupportSize, ...],
        Field(min_length=1, description="Support sizes to draw from, when the query starts later"),
    ] = (0, 1, 2, 3, 5, 10, 20)
    long_support_sizes: Annotated[
        tuple[SupportSize, ...], Field(description="Sizes added for tasks whose query starts right after the support")
    ] = (32,)
    fixed_query_begin: Annotated[
        int, Field(ge=1, description="First query event of the tasks that hide the events in between")
    ] = 20
    fixed_share: Annotated[float, Field(ge=0, le=1, description="Share of the tasks that hide events in between")] = 0.5
    sliding_share: Annotated[
        float, Field(ge=0, le=1, description="Share of the tasks whose support set is a window from all of a history")
    ] = 0.0
    spliced_share: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="Tasks added that begin with another user's events, as in a switch, over the other tasks; at"
            " first, for they grow fewer, to none in the end",
        ),
    ] = 0.0
    refit: Annotated[
        bool, Field(description="Once measured, train again for all epochs, with the validation users as well")
    ] = True
    query_events: Annotated[
        int | None, Field(ge=1, description="Events of the query set, from its first on; all later ones if absent")
    ] = None
    epochs: Annotated[int, Field(ge=1)] = 80
    most_steps: Annotated[
        int, Field(ge=1, description="Outer steps at most: with many users an epoch is a part of them")
    ] = 10_000
    batch_users: Annotated[int, Field(ge=1, description="Tasks of one outer step")] = 128
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    inner_rate_factor: Annotated[
        float, Field(gt=0, description="Learning rate of what shapes the steps and the pooling, over learning_rate")
    ] = 5.0
    weight_decay: Annotated[float, Field(ge=0, description="On item and content embeddings")] = 3.0
    user_weight_decay: Annotated[float, Field(ge=0, description="On the weights of the user features")] = 1.0
    apart_share: Annotated[
        float, Field(ge=0, le=1, description="Share of the loss in which query items do not compete with each other")
    ] = 0.2
    dropout: Annotated[float, Field(ge=0, lt=1, description="On support vectors and on the user vector")] = 0.5
    validation_share: Annotated[
        float, Field(gt=0, lt=1, description="Share of the users kept for early stopping and for the measures")
    ] = 0.1
    validate_every: Annotated[int, Field(ge=1, description="Epochs between two looks at the validation users")] = 5

    @property
    def window(self) -> int:
        """The most events of a support set, and so how many of the newest have a weight of their own by position.

        Let a worker's `state.window` be no larger: to older events the last of these weights applies.
        """
        return max(1, *self.support_sizes, *self.long_support_sizes)

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """Defaults that depend on objective and algorithm; what is given stays."""
        if not isinstance(given, dict):
            return given
        rating, algorithm = given.get("objective") == Objective.RATING, None
        if given.get("algorithm") in set(Algorithm):
            algorithm = Algorithm(given["algorithm"])
        defaults = dict(_RATING_RECIPE) if rating else {}
        if algorithm is not None:
            defaults |= {} if rating else _RANKING_RECIPES.get(algorithm, {})
            defaults |= {} if traits_of(algorithm).steps else {"inner_steps": 0}
        return defaults | given

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainingConfig":
        traits = traits_of(self.algorithm)
        if self.inner_steps and not traits.steps:
            raise ValueError(f"algorithm {self.algorithm} takes no inner steps; leave inner_steps out")
        if self.objective.rating and traits.encoder:
            raise ValueError(f"algorithm {self.algorithm} learns from what is near and gives no ratings; name another")
        return self


def read_toml(path: Path, *, flag: str) -> dict[str, Any]:
    """The content of a TOML file that a flag names. Raises ConfigurationError where it is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; name a readable TOML file with {flag}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}; write it as TOML in UTF-8") from None


def read_config(path: Path | None, **given: Any) -> TrainingConfig:
    """Read a TOML file of `TrainingConfig` fields, none without a file; fields `given` that are not None go first.

    Raises ConfigurationError naming the file, the field and what is expected.
    """
    where = "the command line" if path is None else str(path)
    fields = {} if path is None else read_toml(path, flag="--config")
    try:
        return TrainingConfig.model_validate(
            fields | {name: value for name, value in given.items() if value is not None}
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        found = f"{name} is {first['input']!r}: " if name else ""
        raise ConfigurationError(f"{where}: {found}{first['msg'].removeprefix('Value error, ')}; correct it") from None
