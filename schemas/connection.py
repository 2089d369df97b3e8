"""Where Kafka is and how its topics are named: the one section of settings that `stream` and `meta` share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class KafkaSettings(BaseModel):
    """Where Kafka is and how topics are named; `FEWSTEP_KAFKA__<FIELD>` in the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: Annotated[str, Field(description="host:port[,host:port]")] = "127.0.0.1:9092"
    topic_prefix: str = "fewstep-"
    session_timeout_s: Annotated[float, Field(gt=0, description="A dead worker is noticed after this")] = 10.0
    request_timeout_s: Annotated[float, Field(gt=0)] = 20.0
    fetch_max_wait_ms: Annotated[int, Field(ge=1, description="A fetch without data returns after this")] = 500
