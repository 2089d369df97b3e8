"""Dials a cluster before a client does, and says in one line what keeps us from it; for both clients, in both packages.

kafka-python tries a refused connection again until its timeout, and then does not say why.
"""

import socket
import ssl
from typing import Any

from schemas.connection import KafkaSettings
from schemas.errors import BrokerError
from schemas.security import security_options

_DIAL_TIMEOUT_S = 2.0
# ApiVersions request 0 with correlation id 1 and client id "fewstep", behind its length.
_API_VERSIONS = bytes.fromhex("0000001100120000000000010007") + b"fewstep"
_TLS_ALERT = b"\x15"


class UnreachableError(BrokerError):
    """No address of the cluster answers; it may yet."""


def dialed(kafka: KafkaSettings) -> dict[str, Any]:
    """Address and security of a cluster that answers, as kafka-python takes them.

    Raises UnreachableError, BrokerError where what answers is not what the settings say, ConfigurationError for TLS
    files that do not serve.
    """
    security = security_options(kafka)
    _dial(kafka, security.get("ssl_context"))
    return {"bootstrap_servers": kafka.bootstrap_servers.split(","), **security}


def failure(kafka: KafkaSettings, error: Exception) -> BrokerError:
    """What a Kafka client raised (kafka-python or aiokafka), as one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if kafka.uses_sasl and text.startswith("KafkaTimeoutError: Unable to bootstrap"):
        # It has just been reached; a broker hangs up on whom it does not know, and the client only sees that.
        return BrokerError(
            f"Kafka at {kafka.bootstrap_servers} does not let {kafka.sasl_username} in: correct the password or "
            f"user name, or kafka.sasl_mechanism {kafka.sasl_mechanism}"
        )
    return BrokerError(f"Kafka at {kafka.bootstrap_servers} failed: {text}; see its log, or run fewstep doctor")


def _dial(kafka: KafkaSettings, context: ssl.SSLContext | None) -> None:
    """Connect once."""
    servers = kafka.bootstrap_servers
    reason = "no address is given"
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not port.isdigit():
            raise BrokerError(f"{server!r} is not host:port: correct --bootstrap-servers {servers}")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), _DIAL_TIMEOUT_S) as plain:
                if context is None:
                    _require_plain(plain, server)
                else:
                    _require_tls(plain, context, server, host.strip("[]"), kafka)
                return
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
    raise UnreachableError(
        f"Kafka at {servers} is unreachable ({reason.lower()}): start it or correct --bootstrap-servers"
    )


def _require_tls(plain: socket.socket, context: ssl.SSLContext, server: str, host: str, kafka: KafkaSettings) -> None:
    try:
        context.wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        raise BrokerError(
            f"the certificate of {server} is not trusted ({error.verify_message}): correct kafka.ssl_ca_file"
            f"{f' {kafka.ssl_ca_file}' if kafka.ssl_ca_file else ', which is not set'}, or the address"
        ) from error
    except (ssl.SSLError, ConnectionResetError, TimeoutError) as error:
        raise BrokerError(
            f"{server} does not speak TLS as kafka.security_protocol {kafka.security_protocol} asks "
            f"({type(error).__name__}): correct the port or the protocol"
        ) from error


def _require_plain(plain: socket.socket, server: str) -> None:
    """Ask for the API versions, which every Kafka tells before it knows who asks; a TLS port answers with an alert."""
    try:
        plain.sendall(_API_VERSIONS)
        answer = plain.recv(1)
    except TimeoutError:
        return  # slow, which is for the client to judge
    except ConnectionResetError:
        answer = b""
    if answer in (_TLS_ALERT, b""):
        raise UnreachableError(
            f"{server} does not speak plain Kafka, it may be a TLS port: set kafka.security_protocol to SSL or "
            "SASL_SSL, or correct the port"
        )
