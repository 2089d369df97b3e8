"""Takes a bundle that passed the gate into the model store, and tells the workers."""

from datetime import datetime
from hashlib import sha256

from pydantic import ValidationError

from meta import ledger
from meta.ledger import Publication
from meta.refresh.kafka import produce
from meta.refresh.topic import reading
from meta.store import Store, read_file, write_file
from schemas import FORMAT_VERSION, KafkaSettings, Manifest, ModelAnnouncement, Role, topic_name
from schemas.errors import BundleError, RefusedError

_CHUNK = 1000


def copy_version(source: Store, target: Store, model: str, version: str, *, after: int) -> None:
    """Copy a version, `manifest.json` last, and read it back; it is not served yet.

    Raises BundleError where the copy is not what the manifest says, RefusedError where the version exists.
    """
    manifest = verify(source, model, version)
    if read_file(target, model, version, "manifest.json") is not None:
        raise RefusedError(f"version {version} of {model} is in model store {target.url} already")
    ledger.claim(target, model, version, after=after)
    for name in (*manifest.files, "README.md", "manifest.json"):
        write_file(target, _content(source, model, version, name), model, version, name)
    verify(target, model, version)


def verify(store: Store, model: str, version: str) -> Manifest:
    """The manifest of a version whose files all have the size and checksum that it says.

    Raises BundleError naming the first file that has not.
    """
    where = f"{model}/{version} in model store {store.url}"
    try:
        manifest = Manifest.model_validate_json(_content(store, model, version, "manifest.json"))
    except ValidationError:
        raise BundleError(f"the manifest of {where} cannot be read by this build: export the model again") from None
    if manifest.format_version != FORMAT_VERSION:
        raise BundleError(f"{where} has format {manifest.format_version}, this build reads {FORMAT_VERSION}")
    if (manifest.model, manifest.version) != (model, version):
        raise BundleError(f"the manifest of {where} is that of {manifest.model}/{manifest.version}")
    for name, entry in manifest.files.items():
        content = _content(store, model, version, name)
        if len(content) != entry.size or sha256(content).hexdigest() != entry.sha256:
            raise BundleError(f"{name} of {where} is damaged: it is not what the manifest says")
    return manifest


def announce(store: Store, model: str, kafka: KafkaSettings, now: datetime) -> Publication | None:
    """Make the newest record for the model on the models topic name what is served; nothing is sent where it does.

    Whoever announces looks again afterwards, so that of several trainers the last one names the newest version.
    Raises BrokerError.
    """
    while True:
        newest = ledger.settle(store, model)
        if newest is None:
            return None
        told = last_announcement(model, kafka)
        if told is not None and _says(told, newest):
            return newest
        message = ModelAnnouncement(
            model=model,
            version=newest.version,
            digest=newest.digest,
            url=f"{model}/{newest.version}",
            published_at=newest.published_at or f"{now:%Y-%m-%dT%H:%M:%SZ}",
            action=newest.action,
        )
        topic = topic_name(Role.MODELS, kafka.topic_prefix)
        produce(kafka, topic, key=model, value=message.model_dump_json().encode())


def last_announcement(model: str, kafka: KafkaSettings) -> ModelAnnouncement | None:
    """The newest record for the model that can be read, None where there is none. Raises BrokerError."""
    last = None
    with reading(kafka, topic_name(Role.MODELS, kafka.topic_prefix), {}) as reader:
        while records := reader.take(_CHUNK):
            for record in records:
                if record.key == model.encode():
                    last = record.value
    try:
        return None if last is None else ModelAnnouncement.model_validate_json(last)
    except ValidationError:
        return None


def _says(told: ModelAnnouncement, newest: Publication) -> bool:
    same = (told.version, told.digest, told.action) == (newest.version, newest.digest, newest.action)
    # A version that was put there by hand has no time of publication.
    return same and newest.published_at in ("", told.published_at)


def _content(store: Store, model: str, version: str, name: str) -> bytes:
    content = read_file(store, model, version, name)
    if content is None:
        raise BundleError(f"{model}/{version}/{name} of model store {store.url} does not exist: see fewstep model list")
    return content
