"""Where a step's time goes: every clock finds its function, and the stages add up."""

import json
import subprocess
import sys

from stream.bench.report import STAGES as SHOWN
from stream.bench.stages import CONSUME, STAGES, Stages


def test_every_stage_finds_its_functions_and_is_shown() -> None:
    # In a process of its own: what it replaces stays replaced.
    code = "from stream.bench.stages import Stages, install; install(Stages())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [*SHOWN] == [CONSUME, *STAGES, "produce"]


def test_time_in_a_stage_inside_of_another_counts_once() -> None:
    stages = Stages()

    def work() -> int:
        return sum(range(300_000))

    inner = stages.timed("inner", work)
    stages.timed("outer", lambda: [inner(), inner()])()
    assert stages.seconds["inner"] > 10 * stages.seconds["outer"] > 0
    json.dumps(stages.seconds)
