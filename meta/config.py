"""What a training run can be told, and how it is read from a file."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import ConfigurationError


class TrainingConfig(BaseModel):
    """Sizes of the model and the recipe of the outer loop. The defaults were measured on MovieLens-100K."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    d: Annotated[int, Field(ge=1, le=512, description="Latent dimensions")] = 32
    inner_steps: Annotated[int, Field(ge=0, le=20, description="Gradient steps per adaptation; 0 is the control")] = 3
    first_order: Annotated[bool, Field(description="Do not differentiate through the inner gradient")] = False
    positions: Annotated[int, Field(ge=1, le=1000, description="Recent events with an attention logit each")] = 32
    taus_days: Annotated[
        tuple[float, ...], Field(min_length=1, description="Decay times of the recent popularity, in days")
    ] = (20.0, 100.0)
    prior_rows: Annotated[int, Field(ge=1, le=256, description="Most times at which the prior is tabulated")] = 256
    support_sizes: Annotated[
        tuple[int, ...], Field(min_length=1, description="Support sizes to draw from, when the query starts later")
    ] = (0, 1, 2, 3, 5, 10, 20)
    long_support_sizes: Annotated[
        tuple[int, ...], Field(description="Sizes added for tasks whose query starts right after the support")
    ] = (32,)
    fixed_query_begin: Annotated[
        int, Field(ge=1, description="First query event of the tasks that hide the events in between")
    ] = 20
    fixed_share: Annotated[float, Field(ge=0, le=1, description="Share of the tasks that hide events in between")] = 0.5
    epochs: Annotated[int, Field(ge=1)] = 80
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


def read_config(path: Path | None) -> TrainingConfig:
    """Read a TOML file of `TrainingConfig` fields; the defaults without a file.

    Raises ConfigurationError naming the file, the field and what is expected.
    """
    if path is None:
        return TrainingConfig()
    try:
        return TrainingConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; name a readable TOML file with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}; write it as TOML in UTF-8") from None
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{path}: {name} is {first['input']!r}: {first['msg']}; correct it") from None
