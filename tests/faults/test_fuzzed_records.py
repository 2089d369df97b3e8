"""F1, F2, F5: whatever bytes arrive, each record is a value or has a reason, at once, and nothing raises.

FEWSTEP_TEST_FUZZ sets how many records are made up; a release is preceded by a run with 1000000.
"""

import os
import random
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from time import thread_time_ns

import pytest
from fuzzing import fuzzed_record, taken_apart

from schemas.errors import StateError
from stream.core import decode as decoding
from stream.core.decode import Refusal, Rejection

RECORDS = int(os.environ.get("FEWSTEP_TEST_FUZZ", "20000"))
MOST_MS = 50
"""Of this thread's own CPU time: what else the machine does meanwhile is not the decoder's."""


@pytest.mark.timeout(1800)
def test_every_fuzzed_record_is_a_value_or_has_a_reason_at_once() -> None:
    rng = random.Random("fuzz")
    found: Counter[str] = Counter()
    slowest = 0
    for _ in range(RECORDS):
        record = fuzzed_record(rng)
        began = thread_time_ns()
        decoded = taken_apart(record)
        slowest = max(slowest, thread_time_ns() - began)
        found[decoded.reason if isinstance(decoded, Rejection) else type(decoded).__name__] += 1
    assert slowest < MOST_MS * 1_000_000, f"{slowest / 1e6:.1f} ms"
    # The records reach every branch but the size limit, which needs no parser; else they would prove little.
    assert found.keys() >= {"Event", "Request", "Profile", "Forget", *Refusal} - {Refusal.TOO_LARGE}
    print(f"{RECORDS} records, slowest {slowest / 1e6:.2f} ms, {dict(found)}")  # noqa: T201 - shown by pytest -s


def test_a_decoder_that_raises_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its own check of 64-bit numbers a profile cannot be written into a row."""
    monkeypatch.setitem(
        decoding._DECODERS,
        decoding.Role.USERS,
        lambda record, envelope, limits: decoding.Profile(
            b"ann", decoding.UserProfile.model_validate_json(envelope.data).features
        ),
    )
    rng = random.Random("fuzz")
    with pytest.raises((TypeError, AssertionError, StateError)):
        for _ in range(20_000):
            taken_apart(fuzzed_record(rng))


@pytest.mark.skipif(find_spec("atheris") is None, reason="pip install 'fewstep[fuzz]'")
def test_coverage_guided_fuzzing_finds_nothing_either(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("fuzz_with_atheris.py"))]
    runs = f"-runs={max(RECORDS // 4, 2000)}"
    done = subprocess.run(
        [*command, "-seed=1", runs, "-max_len=4096", f"-artifact_prefix={tmp_path}/"],
        cwd=tmp_path, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "DONE" in done.stderr
