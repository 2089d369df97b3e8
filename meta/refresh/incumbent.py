"""The version that is served: what a candidate starts from and has to beat."""

import logging
from collections.abc import Mapping
from typing import NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load

from meta import ledger
from meta.bundle import PARAMETERS_FILE
from meta.inner import Tensors
from meta.ledger import Publication
from meta.served import ServedBundle, load_served
from meta.store import Store, read_file
from schemas.errors import BundleError

_log = logging.getLogger("fewstep.refresh")


class Incumbent(NamedTuple):
    """A loaded version, and what a training that follows it starts from."""

    publication: Publication
    served: ServedBundle
    parameters: Tensors
    """Empty where the bundle has none"""
    positions: Mapping[int, int]
    """How far it knows the interactions topic, by partition; empty where it was not trained from an archive"""
    events: int
    """How many events the archive had been given when it was trained"""


def load_incumbent(store: Store, model: str, *, topic: str) -> Incumbent | None:
    """The served version, None where none is or this build cannot read it, which is logged.

    Raises BundleError where the store itself cannot be read.
    """
    publication = ledger.head(store, model)
    if publication is None:
        return None
    try:
        served = load_served(store.url, model, publication.version)
        content = read_file(store, model, publication.version, PARAMETERS_FILE)
        parameters = load(content) if content and PARAMETERS_FILE in served.manifest.files else {}
    except (BundleError, SafetensorError) as error:
        _log.warning("the served version cannot be used, so the next one starts from scratch: %s", error)
        return None
    known = served.manifest.data.get("archive", {})
    if known.get("topic") != topic:
        return Incumbent(publication, served, parameters, {}, 0)
    positions = {int(partition): int(offset) for partition, offset in known["positions"].items()}
    return Incumbent(publication, served, parameters, positions, int(known["events"]))
