"""TLS and SASL, as both Kafka clients take them: kafka-python and aiokafka agree on the names."""

import ssl
from typing import Any

from schemas.connection import KafkaSettings
from schemas.errors import ConfigurationError


def security_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Arguments for any client of kafka-python or aiokafka. Raises ConfigurationError for files that do not serve."""
    options: dict[str, Any] = {"security_protocol": kafka.security_protocol}
    if kafka.uses_tls:
        options["ssl_context"] = tls_context(kafka)
    if kafka.uses_sasl and kafka.sasl_password is not None:
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": kafka.sasl_password.get_secret_value(),
        }
    return options


def tls_context(kafka: KafkaSettings) -> ssl.SSLContext:
    """Certificates are verified, and host names too. Raises ConfigurationError naming the file that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"kafka.ssl_ca_file {kafka.ssl_ca_file} cannot be used ({_said(error)}): name a file of PEM certificates"
        ) from error
    if kafka.ssl_certificate_file is not None:
        try:
            context.load_cert_chain(kafka.ssl_certificate_file, kafka.ssl_key_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"kafka.ssl_certificate_file {kafka.ssl_certificate_file} and kafka.ssl_key_file cannot be used "
                f"({_said(error)}): name PEM files that belong together"
            ) from error
    return context


def _said(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
