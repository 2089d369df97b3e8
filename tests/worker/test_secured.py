"""TLS, SASL and rights on a real Kafka: a worker that has what it needs runs, and each lack is one line."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
from deployment import Deployment
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from pydantic import SecretStr
from test_bad_records import event, last_offset
from tiny_bundle import write_tiny_bundle

from schemas import ModelAnnouncement, Role
from schemas.errors import BrokerError
from stream.broker import ApacheKafka
from stream.clients.connect import open_admin, open_producer
from stream.shell.preflight import check_cluster
from stream.topics import changelog_topic

PASSWORD = "a-secret-of-the-test"
PROPERTIES = """
listeners=PLAINTEXT://{{host}}:{{port}},CONTROLLER://{{host}}:{{controller_port}},SASL_SSL://{{host}}:{tls_port}
advertised.listeners=PLAINTEXT://{{host}}:{{port}},SASL_SSL://{{host}}:{tls_port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""


class Secured(NamedTuple):
    """A broker with a plain listener for whom everything is allowed, and a secured one."""

    broker: ApacheKafka
    address: str
    ca: Path
    other_ca: Path


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    if not os.environ.get("KAFKA_HOME") or shutil.which("openssl") is None:
        pytest.skip("needs Apache Kafka (KAFKA_HOME) and openssl")
    folder = tmp_path_factory.mktemp("tls")
    with socket.create_server(("127.0.0.1", 0)) as probe:  # out of the range that the broker takes its own ports from
        port = probe.getsockname()[1]
    certificate(folder, "ca")
    certificate(folder, "other")
    certificate(folder, "broker", signed_by="ca")
    keystore = folder / "keystore.pem"
    keystore.write_text((folder / "broker.key").read_text() + (folder / "broker.pem").read_text())
    with ApacheKafka(more_properties=PROPERTIES.format(tls_port=port, keystore=keystore)) as broker:
        yield Secured(broker, f"127.0.0.1:{port}", folder / "ca.pem", folder / "other.pem")


def certificate(folder: Path, name: str, *, signed_by: str | None = None) -> None:
    """Write `<name>.key` and `<name>.pem`: an authority, or a certificate of 127.0.0.1 that one signed."""
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem",
    ]  # fmt: skip
    if signed_by is not None:
        command += ["-CA", f"{signed_by}.pem", "-CAkey", f"{signed_by}.key", "-addext", "subjectAltName=IP:127.0.0.1"]
        command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def rights(deployment: Deployment) -> dict[str, tuple[ResourceType, str, ACLOperation, ACLResourcePatternType]]:
    """All rights that a worker needs, by the name that a refusal gives them."""
    topic, literal = ResourceType.TOPIC, ACLResourcePatternType.LITERAL
    app_id = deployment.settings.worker.app_id
    needed = {}
    for role in (Role.INTERACTIONS, Role.REQUESTS, Role.USERS):
        needed[f"Read on topic {deployment.topic(role)}"] = (topic, deployment.topic(role), ACLOperation.READ, literal)
    for name in (deployment.topic(Role.RECOMMENDATIONS), deployment.topic(Role.DEAD_LETTERS), changelog_topic(app_id)):
        needed[f"Write on topic {name}"] = (topic, name, ACLOperation.WRITE, literal)
    changelog = changelog_topic(app_id)
    needed[f"Read on topic {changelog}"] = (topic, changelog, ACLOperation.READ, literal)
    needed[f"Read on group {app_id}"] = (ResourceType.GROUP, app_id, ACLOperation.READ, literal)
    needed[f"Write on transactional ids {app_id}-tx-"] = (
        ResourceType.TRANSACTIONAL_ID, f"{app_id}-tx-", ACLOperation.WRITE, ACLResourcePatternType.PREFIXED,
    )  # fmt: skip
    return needed


def grant(deployment: Deployment, user: str, *, but: str | None = None) -> None:
    """Make a user with all rights that a worker needs, but one, which it may only describe."""
    acls = [
        ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name, pattern))
        for right, (kind, name, wanted, pattern) in rights(deployment).items()
        for operation in ([ACLOperation.DESCRIBE] if right == but else [wanted])
    ]
    credentials = UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_512, PASSWORD)
    with open_admin(deployment.settings.kafka) as admin:
        assert admin.alter_user_scram_credentials([credentials])[user] is None
        assert admin.create_acls(acls)["failed"] == []


def environment(secured: Secured, user: str, **changes: str) -> dict[str, str]:
    kafka = {
        "BOOTSTRAP_SERVERS": secured.address, "SECURITY_PROTOCOL": "SASL_SSL", "SSL_CA_FILE": str(secured.ca),
        "SASL_USERNAME": user, "SASL_PASSWORD": PASSWORD,
    }  # fmt: skip
    named = {f"FEWSTEP_KAFKA__{name}": value for name, value in (kafka | changes).items() if value}
    return {"PATH": "/usr/bin:/bin", "FEWSTEP_WORKER__BROKER_PATIENCE_S": "0", **named}


def refusal(deployment: Deployment, variables: dict[str, str]) -> str:
    settings = deployment.settings
    command = [
        sys.executable, "-m", "stream", "worker", "--topic-prefix", settings.kafka.topic_prefix,
        "--app-id", settings.worker.app_id, "--model-store", settings.model.store, "--delivery", "exactly_once",
    ]  # fmt: skip
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert PASSWORD not in done.stderr
    return done.stderr


@pytest.mark.timeout(300)
def test_a_worker_with_all_rights_serves_over_tls_and_sasl(secured: Secured, prefix: str, tmp_path: Path) -> None:
    with Deployment(secured.broker, prefix, tmp_path, partitions=1) as served:
        grant(served, "sound")
        served.start_worker(delivery="exactly_once", environment=environment(secured, "sound"))
        lists = served.wait_for_lists(last_offset(served, event("ann", "i1")))
        assert lists["ann"]["support_size"] == 1
        assert served.stop_worker() == 0


def may(deployment: Deployment, user: str, **roles: str) -> None:
    """Give a user that exists more rights: operations by role, such as MODELS="READ WRITE"."""
    acls = [
        ACL(
            f"User:{user}", "*", ACLOperation[name], ACLPermissionType.ALLOW,
            ResourcePattern(ResourceType.TOPIC, deployment.topic(Role[role]), ACLResourcePatternType.LITERAL),
        )
        for role, names in roles.items() for name in names.split()
    ]  # fmt: skip
    with open_admin(deployment.settings.kafka) as admin:
        assert admin.create_acls(acls)["failed"] == []


@pytest.mark.timeout(300)
def test_a_bundle_is_announced_to_a_worker_over_tls_and_sasl(secured: Secured, prefix: str, tmp_path: Path) -> None:
    with Deployment(secured.broker, prefix, tmp_path, partitions=1) as served:
        grant(served, "listener")
        may(served, "listener", MODELS="READ", ITEMS="READ")
        served.start_worker(environment=environment(secured, "listener"))
        served.wait_for_lists(last_offset(served, event("ann", "i1")))
        write_tiny_bundle(served.folder / "models", version="v2", n_items=200, created_at="2026-02-01T12:00:00Z")
        content = (served.folder / "models" / "default" / "v2" / "manifest.json").read_bytes()
        told = ModelAnnouncement(
            model="default", version="v2", digest=sha256(content).hexdigest(), url="default/v2", published_at="now"
        )
        with open_producer(served.settings.kafka) as producer:
            producer.send(served.topic(Role.MODELS), key=b"default", value=told.model_dump_json().encode())
            producer.flush()
        served.wait_for_log("serving default v2 instead of v1")


@pytest.mark.timeout(300)
def test_a_refresh_reads_and_announces_over_tls_and_sasl(secured: Secured, prefix: str, tmp_path: Path) -> None:
    with Deployment(secured.broker, prefix, tmp_path, partitions=1) as deployment:
        grant(deployment, "trainer")
        may(deployment, "trainer", MODELS="READ WRITE", ITEMS="READ", REFRESH_REQUESTS="READ")
        deployment.send([event("ann", "i1")])
        refresh = ["--archive", str(tmp_path / "archive")]
        for command, options, code in (("refresh", refresh, 0), ("model", ["promote", "v1"], 0)):
            done = subprocess.run(
                [
                    sys.executable, "-m", "stream", command, *options, "--model-store", deployment.settings.model.store,
                    "--model", "default", "--topic-prefix", prefix,
                ],
                env=environment(secured, "trainer"), capture_output=True, text=True, timeout=120,
            )  # fmt: skip
            assert done.returncode == code, done.stderr
        (record,) = deployment.records(deployment.topic(Role.MODELS))  # by the refresh: nothing had announced it
        assert ModelAnnouncement.model_validate_json(record.value).version == "v1"
        archived = json.loads(next((tmp_path / "archive" / "reports").iterdir()).read_text())
        assert archived["archive"]["rows"] == 1


@pytest.mark.timeout(300)
def test_each_missing_right_is_named_before_anything_is_read(secured: Secured, prefix: str, tmp_path: Path) -> None:
    with Deployment(secured.broker, prefix, tmp_path, partitions=1, delivery="exactly_once") as deployment:
        for number, right in enumerate(rights(deployment)):
            user = f"lacks-{number}"
            grant(deployment, user, but=right)
            kafka = {
                "bootstrap_servers": secured.address, "security_protocol": "SASL_SSL", "ssl_ca_file": secured.ca,
                "sasl_username": user, "sasl_password": SecretStr(PASSWORD),
            }  # fmt: skip
            known = deployment.settings
            with pytest.raises(BrokerError, match=re.escape(right)):
                check_cluster(known.model_copy(update={"kafka": known.kafka.model_copy(update=kafka)}))


@pytest.mark.timeout(120)
def test_what_is_wrong_with_the_connection_is_said_in_one_line(secured: Secured, prefix: str, tmp_path: Path) -> None:
    with Deployment(secured.broker, prefix, tmp_path, partitions=1) as deployment:
        grant(deployment, "known")

        def said(**changes: str) -> str:
            return refusal(deployment, environment(secured, "known", **changes))

        assert "password or user name" in said(SASL_PASSWORD="wrong-" + PASSWORD[::-1])
        assert "is not trusted" in said(SSL_CA_FILE=str(secured.other_ca))
        plain = {"SECURITY_PROTOCOL": "PLAINTEXT", "SSL_CA_FILE": "", "SASL_USERNAME": "", "SASL_PASSWORD": ""}
        assert "may be a TLS port" in said(**plain)
        assert "does not speak TLS" in said(BOOTSTRAP_SERVERS=secured.broker.bootstrap_servers)
