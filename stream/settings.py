"""All settings of the worker and the command line, read once into one frozen model.

Flag > environment (`FEWSTEP_` prefix, `__` between levels) > `fewstep.toml` in the working directory > default.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, Secret

from schemas import KafkaSettings
from schemas.sources import Sources

StoreKind = Literal["rocksdict", "memory"]
DeliveryKind = Literal["at_least_once", "exactly_once"]
DEFAULT_EVENT_TYPES = ("view", "click", "like", "dislike", "purchase", "rating", "skip")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSettings(_Section):
    """Which bundle is served."""

    store: Annotated[str, Field(description="fsspec URL or path of the model store")] = "models"
    name: str = "default"
    poll_interval_s: Annotated[
        float, Field(gt=0, description="The store is looked into this often, in case an announcement was missed")
    ] = 30.0
    challenger: Annotated[
        str, Field(description="A second bundle, NAME or NAME/VERSION, that is measured beside the first; empty: none")
    ] = ""
    challenger_share: Annotated[
        float, Field(ge=0, le=1, description="Users that the challenger serves; 0: it is measured only")
    ] = 0.0


class MeasureSettings(_Section):
    """What the worker measures of the bundles that it serves: would the next item have been in the list?"""

    share: Annotated[float, Field(ge=0, le=1, description="Users that are measured, always the same ones")] = 0.01
    cooldown_s: Annotated[float, Field(ge=0, description="Event time between two requests for a better model")] = (
        21_600.0
    )


class StateSettings(_Section):
    """The per-user state: a window of recent events and what deduplicates them."""

    store: Annotated[StoreKind, Field(description="Local copy of the changelog")] = "rocksdict"
    data_dir: Annotated[Path, Field(description="Local state; one per worker")] = Path("fewstep-data")
    window: Annotated[int, Field(ge=1, le=1000, description="Events of a user's support set")] = 32
    event_ids: Annotated[int, Field(ge=0, le=10_000, description="Recent event ids remembered per user")] = 32
    seen_items: Annotated[int, Field(ge=0, le=10_000, description="Items remembered after they left the window")] = 96


class ListSettings(_Section):
    """The published lists."""

    length: Annotated[int, Field(ge=1, le=1000, description="Items of a list")] = 10
    reasons: Annotated[int, Field(ge=0, le=20, description="Support events named per item")] = 3


class LimitSettings(_Section):
    """What the worker refuses, as a dead letter."""

    event_bytes: Annotated[int, Field(ge=256, le=900_000, description="Larger values are refused by reference")] = (
        65_536
    )
    future_skew_s: Annotated[float, Field(gt=0, description="Event time ahead of the record's by more is refused")] = (
        86_400.0
    )
    event_types: Annotated[tuple[str, ...], Field(description="Event types that are accepted")] = DEFAULT_EVENT_TYPES
    dead_letter_share: Annotated[
        float, Field(gt=0, le=1, description="The worker stops when more of the window is refused; 1: never")
    ] = 1.0
    dead_letter_window: Annotated[int, Field(ge=1, description="Records that dead_letter_share is taken of")] = 10_000


class WorkerSettings(_Section):
    """The worker process."""

    app_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", description="Consumer group and changelog prefix")] = (
        "fewstep"
    )
    delivery: Annotated[
        DeliveryKind, Field(description="exactly_once: lists, rows and offsets of a batch in one Kafka transaction")
    ] = "at_least_once"
    poll_records: Annotated[int, Field(ge=1, description="Most records of one step")] = 8000
    commit_interval_s: Annotated[float, Field(gt=0)] = 0.5
    stall_timeout_s: Annotated[
        float, Field(gt=0, description="No progress with records waiting for this long ends the process")
    ] = 120.0
    step_timeout_s: Annotated[float, Field(gt=0, description="A step that takes longer ends the process")] = 60.0
    broker_patience_s: Annotated[
        float, Field(ge=0, description="An unreachable Kafka is tried again for this long at the start")
    ] = 60.0


class WebSettings(_Section):
    """Probes and metrics over HTTP; off without a port."""

    port: Annotated[int | None, Field(ge=1, le=65535, description="Serves /live, /ready and /metrics")] = None
    bind: Annotated[str, Field(description="Address to listen on")] = "127.0.0.1"
    token: Annotated[
        Secret[Annotated[str, Field(min_length=16)]] | None,
        Field(description="Bearer token of /metrics; needed beyond the loopback"),
    ] = None


class Settings(Sources):
    """The root: `Settings.load()` reads it, everything else is handed a section."""

    kafka: KafkaSettings = KafkaSettings()
    model: ModelSettings = ModelSettings()
    state: StateSettings = StateSettings()
    lists: ListSettings = ListSettings()
    limits: LimitSettings = LimitSettings()
    worker: WorkerSettings = WorkerSettings()
    web: WebSettings = WebSettings()
    measures: MeasureSettings = MeasureSettings()
