"""Where Kafka is and how its topics are named: the one section of settings that `stream` and `meta` share."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class KafkaSettings(BaseModel):
    """Where Kafka is and how topics are named; `FEWSTEP_KAFKA__<FIELD>` in the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: Annotated[str, Field(description="host:port[,host:port]")] = "127.0.0.1:9092"
    topic_prefix: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9._-]*$", max_length=200, description="Start of all topic names")
    ] = "fewstep-"
    session_timeout_s: Annotated[float, Field(gt=0, description="A dead worker is noticed after this")] = 10.0
    request_timeout_s: Annotated[float, Field(gt=0)] = 20.0
    fetch_max_wait_ms: Annotated[int, Field(ge=1, description="A fetch without data returns after this")] = 500
    security_protocol: SecurityProtocol = "PLAINTEXT"
    ssl_ca_file: Annotated[Path | None, Field(description="PEM; without it the system's authorities are trusted")] = (
        None
    )
    ssl_certificate_file: Annotated[Path | None, Field(description="PEM, where the brokers ask for a client's")] = None
    ssl_key_file: Annotated[Path | None, Field(description="PEM; may be part of the certificate file")] = None
    sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol in ("SSL", "SASL_SSL")

    @property
    def uses_sasl(self) -> bool:
        """Whether a user name and a password are sent."""
        return self.security_protocol in ("SASL_PLAINTEXT", "SASL_SSL")

    @model_validator(mode="after")
    def _credentials_belong_to_the_protocol(self) -> Self:
        if self.uses_sasl and (self.sasl_username is None or self.sasl_password is None):
            raise ValueError(f"security_protocol {self.security_protocol} needs sasl_username and sasl_password")
        if not self.uses_sasl and (self.sasl_username is not None or self.sasl_password is not None):
            raise ValueError(
                f"sasl_username and sasl_password are not used with {self.security_protocol}: use SASL_SSL"
            )
        for name in ("ssl_ca_file", "ssl_certificate_file", "ssl_key_file"):
            if not self.uses_tls and getattr(self, name) is not None:
                raise ValueError(f"{name} is not used with {self.security_protocol}: use SSL or SASL_SSL")
        if self.ssl_key_file is not None and self.ssl_certificate_file is None:
            raise ValueError("ssl_key_file needs ssl_certificate_file")
        return self
