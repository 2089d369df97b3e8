"""Messages that fewstep writes: recommendations, model announcements and refresh requests."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.base import Flat, Identifier, Outgoing, Timestamp


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Reason(_Part):
    """One support event's share of a score: the item interacted with, and what it adds to the score."""

    item_id: Identifier
    contribution: float


class RecommendedItem(_Part):
    """An item of a list. Scores order one list; they are not probabilities and not comparable between users."""

    item_id: Identifier
    score: float
    reasons: list[Reason] = []


class Source(_Part):
    """A position in an input topic."""

    topic: str
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]


class Recommendation(Outgoing):
    """One list for one user, best first. Topic key: `user_id`; a null value says that the user was forgotten."""

    user_id: Identifier
    model: str
    model_version: str
    items: list[RecommendedItem]
    support_size: Annotated[int, Field(ge=0, description="Events in the user's support set, known items or not")]
    source: Annotated[Source, Field(description="The newest input that this list includes: read your writes")]
    generated_at: Annotated[str, Field(description="RFC 3339; the worker's clock")]


class ModelAnnouncement(Outgoing):
    """A version of a model is to be served from now on. Topic key: `model`."""

    model: Identifier
    version: Identifier
    digest: Annotated[str, Field(description="sha256 of the bundle's manifest.json")]
    url: Annotated[str, Field(description="Path below the model store; never leaves it")]
    published_at: str
    action: Annotated[
        Literal["publish", "promote", "rollback"],
        Field(description="Why: it is new; a person chose it; a person goes back to it, so that workers do too"),
    ] = "publish"
    measures: Flat = {}


class RefreshRequest(Outgoing):
    """A worker asks for a newer version of its model, because what it serves has become worse. Topic key: `model`."""

    model: Identifier
    model_version: Annotated[Identifier, Field(description="The version that is served and found wanting")]
    reason: Annotated[str, Field(min_length=1, description="What was noticed, one line")]
    measures: dict[str, float] = {}
    timestamp: Annotated[Timestamp, Field(description="Event time at which it was noticed")]
