"""Measurements and questions in a process of their own.

onnxruntime leaves a file where temporary files lie, and BLAS reads once how many threads it may use.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from schemas.errors import FewstepError
from stream.children import environment


def ask(module: str, *arguments: object, home: Path, **variables: str) -> Any:
    """What `python -m MODULE ARGUMENTS` prints as JSON; `variables` go into its environment.

    Raises FewstepError with the last line of what it said where it fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(home) | variables,
    )
    if done.returncode != 0:
        raise FewstepError((done.stderr.strip().splitlines() or [f"{module} failed and said nothing"])[-1])
    return json.loads(done.stdout)
