"""Coverage-guided fuzzing of the decoder, for as long as you like.

pip install -c constraints.txt -e '.[fuzz]'
python tests/faults/fuzz_with_atheris.py -runs=1000000 -max_len=4096 [-timeout=1] [CORPUS FOLDER]
"""

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent))

with atheris.instrument_imports(include=["stream.core", "schemas"]):
    from fuzzing import KEYS, NOW, ROLES, STRUCTURED, taken_apart

    from stream.core.records import Record

NAMES = ("ce_specversion", "ce_id", "ce_time", "content-type")


def one_input(data: bytes) -> None:
    """The first bytes choose role, key, time and headers; the rest is the value."""
    provider = atheris.FuzzedDataProvider(data)
    role = ROLES[provider.ConsumeIntInRange(0, 2)]
    key = KEYS[provider.ConsumeIntInRange(0, len(KEYS) - 1)]
    timestamp = (NOW, -1, 2**53)[provider.ConsumeIntInRange(0, 2)]
    headers: list[tuple[str, bytes]] = []
    mode = provider.ConsumeIntInRange(0, 3)
    if mode == 1:
        headers = [STRUCTURED]
    elif mode == 2:
        headers = [(name, provider.ConsumeBytes(24)) for name in NAMES]
    value = provider.ConsumeBytes(provider.remaining_bytes())
    taken_apart(Record(role, "topic", 0, 0, timestamp, key, value, headers))


def main() -> None:
    """Run libFuzzer with the flags of the command line."""
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
