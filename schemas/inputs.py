"""Messages that others write: interactions, requests, profiles, items."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from schemas.base import Flat, Incoming, IncomingIdentifier, Timestamp


class InteractionEvent(Incoming):
    """One thing that a user did with an item. Topic key: `user_id`; a null value forgets the user."""

    event_id: Annotated[
        IncomingIdentifier | None, Field(description="Without one it is derived from topic, partition and offset")
    ] = None
    user_id: Annotated[IncomingIdentifier | None, Field(description="Defaults to the record key")] = None
    item_id: IncomingIdentifier
    event_type: Annotated[str, Field(min_length=1, max_length=64, examples=["view", "click", "like", "rating", "skip"])]
    value: Annotated[float | None, Field(description="A number; the rating for `rating`")] = None
    timestamp: Annotated[Timestamp | None, Field(description="Defaults to the record timestamp")] = None
    context: Flat = {}


class Filters(BaseModel):
    """What a requested list may hold. An unknown filter is an error: a rule must not be skipped silently."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    categories: Annotated[list[str], Field(description="Only items with one of these categories")] = []
    domains: Annotated[list[str], Field(description="Only items of one of these domains")] = []
    exclude_items: Annotated[list[IncomingIdentifier], Field(description="Never these items")] = []


class RecommendationRequest(Incoming):
    """A list is wanted without an interaction. Topic key: `user_id`."""

    user_id: Annotated[IncomingIdentifier | None, Field(description="Defaults to the record key")] = None
    n: Annotated[int | None, Field(ge=1, le=1000, description="List length; the worker's default if absent")] = None
    context: Flat = {}
    filters: Filters = Filters()
    timestamp: Annotated[Timestamp | None, Field(description="Defaults to the record timestamp")] = None


class UserProfile(Incoming):
    """What is known of a user apart from interactions. Topic key: `user_id`; a null value forgets the user."""

    user_id: Annotated[IncomingIdentifier | None, Field(description="Defaults to the record key")] = None
    features: Flat = {}


class Item(Incoming):
    """One item of the catalog. Topic key: `item_id`; a null value withdraws the item."""

    item_id: IncomingIdentifier
    title: str = ""
    categories: list[str] = []
    domain: str = ""
    features: Flat = {}
    available: bool = True
    timestamp: Timestamp | None = None
