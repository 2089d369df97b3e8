"""What the load and the tables need to know of the model.

The bundle is loaded, and so checked, in a process of its own: onnxruntime leaves a file where temporary files lie.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

from schemas import Manifest
from schemas.errors import BundleError, FewstepError
from stream.bench.apart import ask


class Served(NamedTuple):
    """A model: its manifest, and item ids in row order."""

    manifest: Manifest
    item_ids: list[str]


def describe(store: str, model: str, *, home: Path) -> Served:
    """Load the bundle and tell of it. Raises BundleError with what the loader said."""
    try:
        found = ask("stream.bench.served", store, model, home=home)
    except FewstepError as error:
        raise BundleError(str(error)) from None
    return Served(Manifest.model_validate(found["manifest"]), found["item_ids"])


def _main(store: str, model: str) -> int:
    from stream.engine.bundle import load_bundle

    try:
        bundle = load_bundle(store, model)
    except FewstepError as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        return 1
    manifest = bundle.manifest.model_dump(mode="json")
    sys.stdout.write(json.dumps({"manifest": manifest, "item_ids": bundle.catalog.item_ids}))
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
