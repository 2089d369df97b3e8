"""Which versions of a model were published, in order: `<model>/publications/`, from which `latest.json` follows.

A publication is a file `<number>.json` that is created and never overwritten, so of two trainers that want the same
number one fails: nobody publishes over what he has not seen. `latest.json` repeats the newest publication; whoever
finds that it does not, because a trainer was killed in between, puts it right. Before the first file of a version is
written a claim `<number>.<version>.claim` says which publication it is meant for. Once that number is taken the version
is either published or waste, and waste is deleted without asking how long ago it was written, or by whom.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from meta.store import Store, create_file, list_names, read_file, read_latest, remove, remove_unfinished, write_file
from schemas import Latest, rfc3339
from schemas.base import Identifier
from schemas.errors import BundleError, RefusedError
from schemas.manifest import Sha256

FOLDER = "publications"
Action = Literal["publish", "promote", "rollback"]
_ENTRY, _CLAIM = ".json", ".claim"
_REMEMBERED = 200
"""Publications that are kept: the record of who served when, some weeks of it."""
_TRIES = 20
_PARTIAL_AGE = timedelta(hours=1)


class Publication(BaseModel):
    """One decision to serve a version from now on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: Annotated[int, Field(ge=0, description="1 for the first; 0 for a version that was put there by hand")]
    version: Identifier
    digest: Annotated[Sha256, Field(description="sha256 of that version's manifest.json")]
    action: Action = "publish"
    published_at: str


class Claim(NamedTuple):
    """A version that is being written for a publication to come."""

    number: int
    version: str


def history(store: Store, model: str) -> list[Publication]:
    """All publications that are remembered, oldest first. Raises BundleError for one that cannot be read."""
    return [_read(store, model, name) for name in list_names(store, model, FOLDER) if name.endswith(_ENTRY)]


def head(store: Store, model: str) -> Publication | None:
    """What is to be served, None where nothing was ever published. Raises BundleError where it cannot be read."""
    names = [name for name in list_names(store, model, FOLDER) if name.endswith(_ENTRY)]
    if names:
        return _read(store, model, names[-1])
    latest = read_latest(store, model)
    if latest is None:
        return None
    return Publication(number=0, version=latest.version, digest=latest.digest, published_at="")


def publish(
    store: Store,
    model: str,
    version: str,
    *,
    now: datetime,
    action: Action = "publish",
    after: int | None = None,
) -> Publication:
    """Serve a version that lies in the store, complete, from now on.

    `after` is the number of the publication that the caller has seen and judged against (0 for none); None for whatever
    is served.
    Raises RefusedError where another publication came in between, BundleError where the version is not there or the
    store cannot be written to.
    """
    for _ in range(_TRIES):
        seen = number_of(head(store, model))
        if after not in (None, seen):
            break
        content = read_file(store, model, version, "manifest.json")
        if content is None:
            raise BundleError(f"model store {store.url} has no version {version} of {model}: see fewstep model list")
        entry = Publication(
            number=seen + 1,
            version=version,
            digest=sha256(content).hexdigest(),
            action=action,
            published_at=rfc3339(round(now.timestamp() * 1000)),
        )
        if create_file(store, _bytes(entry), model, FOLDER, f"{entry.number:08}{_ENTRY}"):
            settle(store, model)
            return entry
    raise RefusedError(
        f"another version of {model} was published to {store.url} meanwhile; run again to be judged against that one"
    )


def settle(store: Store, model: str) -> Publication | None:
    """Make `latest.json` name the newest publication; gives it.

    It is looked up again after each write, so that of several trainers the last to write has seen them all.
    Raises BundleError where that cannot be read or written.
    """
    for _ in range(_TRIES):
        newest = head(store, model)
        if newest is None:
            return None
        wanted = Latest(model=model, version=newest.version, digest=newest.digest)
        try:
            if read_latest(store, model) == wanted:
                return newest
        except BundleError:
            if newest.number == 0:
                raise
        write_file(store, wanted.model_dump_json().encode() + b"\n", model, "latest.json")
    raise BundleError(f"{model}/latest.json of {store.url} is written by somebody else all the time: stop that one")


def claim(store: Store, model: str, version: str, *, after: int) -> None:
    """Say that this version is being written, to be published after that publication."""
    write_file(store, b"", model, FOLDER, f"{after + 1:08}.{version}{_CLAIM}")


def tidy(store: Store, model: str, *, keep: int, now: datetime) -> list[str]:
    """Delete versions that never were published, and published ones but the newest `keep`; gives the deleted.

    What is served stays, and so does a version that somebody put there whole without publishing it.
    """
    entries = history(store, model)
    newest = number_of(head(store, model))
    published = list(dict.fromkeys(entry.version for entry in reversed(entries)))
    served = read_latest(store, model)
    kept = {*published[:keep], *([served.version] if served else [])}
    claims = _claims(store, model)
    pending = {each.version for each in claims if each.number > newest}
    waste = {each.version for each in claims if each.number <= newest} - set(published)
    present = versions(store, model)
    broken = {version for version in present if version not in pending and not _has_manifest(store, model, version)}
    removed = ((waste | broken | set(published[keep:])) - kept) & set(present)
    for version in sorted(removed):
        remove(store, model, version, first=["manifest.json"])  # without it nobody takes the rest for a version
    for each in claims:
        if each.number <= newest:
            remove(store, model, FOLDER, f"{each.number:08}.{each.version}{_CLAIM}")
    for entry in entries[:-_REMEMBERED]:
        remove(store, model, FOLDER, f"{entry.number:08}{_ENTRY}")
    for folder in ([model], [model, FOLDER]):
        remove_unfinished(store, *folder, before=now - _PARTIAL_AGE)
    return sorted(removed)


def versions(store: Store, model: str) -> list[str]:
    """Names of the version folders, complete or not."""
    return [name for name in list_names(store, model) if name not in (FOLDER, "latest.json")]


def number_of(publication: Publication | None) -> int:
    """Its number, 0 for none."""
    return 0 if publication is None else publication.number


def before_current(entries: Iterable[Publication], current: str) -> str | None:
    """The version that was first published right before the current one, None where there is none."""
    order = list(dict.fromkeys(entry.version for entry in entries))
    at = order.index(current) if current in order else 0
    return order[at - 1] if at else None


def _has_manifest(store: Store, model: str, version: str) -> bool:
    return "manifest.json" in list_names(store, model, version)


def _claims(store: Store, model: str) -> list[Claim]:
    names = [name.removesuffix(_CLAIM) for name in list_names(store, model, FOLDER) if name.endswith(_CLAIM)]
    return [Claim(int(number), version) for number, _, version in (name.partition(".") for name in names)]


def _read(store: Store, model: str, name: str) -> Publication:
    content = read_file(store, model, FOLDER, name)
    try:
        return Publication.model_validate_json(content or b"")
    except ValidationError as error:
        raise BundleError(
            f"{model}/{FOLDER}/{name} of model store {store.url} is damaged: delete it if latest.json names another"
        ) from error


def _bytes(entry: Publication) -> bytes:
    return entry.model_dump_json().encode() + b"\n"
