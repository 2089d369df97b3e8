"""Writes the JSON Schema of every wire model to `schemas/json/`; with --check it only says whether they are current.

python -m schemas.generate [--check]
"""

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from schemas.inputs import InteractionEvent, Item, RecommendationRequest, UserProfile
from schemas.manifest import Latest, Manifest
from schemas.outputs import ModelAnnouncement, Recommendation, RefreshRequest

MODELS: tuple[type[BaseModel], ...] = (
    InteractionEvent,
    RecommendationRequest,
    UserProfile,
    Item,
    Recommendation,
    ModelAnnouncement,
    RefreshRequest,
    Manifest,
    Latest,
)
DIRECTORY = Path(__file__).parent / "json"


def rendered() -> dict[str, str]:
    """File name to text, one per model."""
    return {
        f"{model.__name__}.schema.json": json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()},
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
        for model in MODELS
    }


def stale(directory: Path = DIRECTORY) -> list[str]:
    """Names of files in `directory` that differ from the models, are missing, or belong to no model."""
    wanted = rendered()
    present = {path.name: path.read_text() for path in directory.glob("*.json")}
    return sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))


def main(arguments: list[str]) -> int:
    """Write the files, or with --check name those that are not current; 1 if any."""
    if arguments == ["--check"]:
        for name in stale():
            sys.stderr.write(f"schemas/json/{name} is not current: run python -m schemas.generate\n")
        return 1 if stale() else 0
    DIRECTORY.mkdir(exist_ok=True)
    for name in stale():
        (DIRECTORY / name).unlink(missing_ok=True)
    for name, text in rendered().items():
        (DIRECTORY / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
