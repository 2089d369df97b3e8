"""Decides by hand which version is served; the store says so first, then the announcement."""

from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import NamedTuple

from meta import ledger
from meta.ledger import Action, Publication
from meta.refresh.loading import check_loading
from meta.refresh.publishing import announce, copy_version, verify
from meta.store import Store, open_store
from schemas import KafkaSettings
from schemas.errors import BrokerError, RefusedError


class Decision(NamedTuple):
    """What is served, and whether that is new."""

    publication: Publication
    changed: bool


def promote(store_url: str, model: str, version: str, kafka: KafkaSettings) -> Decision:
    """Serve a version that lies in the store; the one that is served already is announced again if need be.

    Raises BundleError where it is damaged, RefusedError where no worker could load it, BrokerError where it is served
    but could not be announced.
    """
    store = open_store(store_url)
    served = ledger.settle(store, model)
    if served is not None and served.version == version:
        return Decision(_announced(store, model, served, kafka), changed=False)
    return _decide(store, model, version, "promote", ledger.number_of(served), kafka)


def rollback(store_url: str, model: str, kafka: KafkaSettings) -> Decision:
    """Serve the version that was first published before the served one.

    Raises RefusedError where there is none; else as `promote`.
    """
    store = open_store(store_url)
    served = ledger.settle(store, model)
    present = set(ledger.versions(store, model))
    entries = [entry for entry in ledger.history(store, model) if entry.version in present]
    previous = ledger.before_current(entries, served.version) if served else None
    if served is None or previous is None:
        raise RefusedError(f"{model} in model store {store_url} has no earlier version: see fewstep model list")
    return _decide(store, model, previous, "rollback", served.number, kafka)


def _decide(store: Store, model: str, version: str, action: Action, seen: int, kafka: KafkaSettings) -> Decision:
    verify(store, model, version)
    _require_loading(store, model, version, kafka)
    publication = ledger.publish(store, model, version, action=action, after=seen, now=datetime.now(UTC))
    return Decision(_announced(store, model, publication, kafka), changed=True)


def _require_loading(store: Store, model: str, version: str, kafka: KafkaSettings) -> None:
    """The worker's checks load what is served; so they are given a copy that is."""
    with TemporaryDirectory(prefix="fewstep-model-") as folder:
        copy = open_store(folder)
        copy_version(store, copy, model, version, after=0)
        ledger.publish(copy, model, version, now=datetime.now(UTC))
        check = check_loading(folder, model, kafka)
    if not check.passed:
        raise RefusedError(f"{version} of {model} is not served, a worker could not load it: {check.detail}")


def _announced(store: Store, model: str, publication: Publication, kafka: KafkaSettings) -> Publication:
    try:
        announce(store, model, kafka, datetime.now(UTC))
    except BrokerError as error:
        raise BrokerError(
            f"{publication.version} of {model} is served by workers that start or look into the store, but it is not"
            f" announced: {error}; then run fewstep model promote {publication.version}"
        ) from error
    return publication
