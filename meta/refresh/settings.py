"""How much a refresh asks for before it publishes."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class RefreshSettings(BaseModel):
    """Bounds of one refresh and of its gate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_events: Annotated[int, Field(ge=1, description="Newest events that are learned from, at most")] = 4_000_000
    min_new_events: Annotated[int, Field(ge=1, description="Fewer events since the last version: nothing to do")] = 500
    min_events: Annotated[int, Field(ge=1, description="A candidate trained on fewer is refused")] = 1000
    min_judged: Annotated[int, Field(ge=1, description="A candidate judged on fewer users is refused")] = 30
    margin: Annotated[
        float, Field(ge=0, description="nDCG@10 by which a candidate may look worse than what is served, by chance")
    ] = 0.01
    min_overlap: Annotated[
        float, Field(ge=0, le=1, description="Share of the served catalog that a candidate has to know, at least")
    ] = 0.5
    keep: Annotated[int, Field(ge=2, description="Published versions that stay in the store")] = 5
