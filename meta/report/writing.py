"""Writes the report."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meta.report.page import page
from schemas.errors import DataError

PAGE, FIGURES = "report.html", "report.json"


def write(figures: Mapping[str, Any], folder: Path) -> Path:
    """Write `report.html` and `report.json` into a folder, which is made where it is missing; gives the page's path.

    Raises DataError where it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        (folder / PAGE).write_text(page(figures), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}; name a folder that can be written to with --report") from None
    return folder / PAGE
