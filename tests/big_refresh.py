"""Runs whole refreshes over a large archive, as the program on a real broker, and tells what they took:

    python tests/big_refresh.py DATA WORK [MAX_EVENTS]

DATA is what `fewstep data synthetic --parquet` writes; WORK gets archive and model store. The first refresh learns from
all but the last part of the events, the second from what is new then; topics are not read, they would be empty. The
recipe takes few steps: `most_steps` bounds what a training takes, whatever there is. Prints a line of JSON for each.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import polars as pl

from meta.refresh.archive import PART_ROWS, Archive, State, open_archive
from schemas import KafkaSettings, Role, topic_name
from stream.broker import open_broker
from stream.clients.provision import create_topics
from stream.settings import Settings

NOW = datetime(2026, 1, 31, tzinfo=UTC)
PARTITIONS = 12
PROGRAM = """
from meta.refresh import history
from stream.__main__ import main

history.update = lambda archive, kafka, now: archive.state()
main()
"""
RECIPE = "epochs = 8\nvalidate_every = 8\nmost_steps = 320\n"


def convert(folder: Path, archive: Archive, kafka: KafkaSettings) -> Iterator[None]:
    """Bring the files into the archive as if they had come over the topics, a part at a time."""
    state = State()
    for kind, name, key in (("items", "items.jsonl", "item_id"), ("profiles", "users.jsonl", "user_id")):
        lines = (folder / name).read_text().splitlines()
        frame = pl.DataFrame({key: [json.loads(line)[key] for line in lines], "message": lines})
        if kind == "profiles":
            frame = frame.with_columns(received=pl.lit(0, pl.Int64))
        state = state.model_copy(update={"parts": (*state.parts, archive.write(state, kind, frame))})
    topic = topic_name(Role.INTERACTIONS, kafka.topic_prefix)
    for file in sorted((folder / "interactions").glob("*.parquet")):
        for rows in pl.read_parquet(file).iter_slices(PART_ROWS):
            numbers = np.arange(state.events, state.events + len(rows))
            frame = rows.with_columns(
                pl.col("timestamp").alias("received"),
                pl.Series("partition", numbers % PARTITIONS, dtype=pl.Int32),
                pl.Series("offset", numbers // PARTITIONS),
            )
            after = {
                "parts": (*state.parts, archive.write(state, "interactions", frame)),
                "events": state.events + len(rows),
                "positions": {topic: dict.fromkeys(range(PARTITIONS), (state.events + len(rows)) // PARTITIONS)},
            }
            state = archive.commit(state, state.model_copy(update=after), NOW)
            yield


def refresh(kafka: KafkaSettings, work: Path, max_events: int) -> dict[str, Any]:
    """Run `fewstep refresh`; gives its seconds by stage and its peak memory in MB."""
    (work / "recipe.toml").write_text(RECIPE)
    command = [
        sys.executable, "-c", PROGRAM, "refresh", "--model-store", str(work / "store"), "--model", "big", "--json",
        "--archive", str(work / "archive"), "--config", str(work / "recipe.toml"), "--max-events", str(max_events),
        "--bootstrap-servers", kafka.bootstrap_servers, "--topic-prefix", kafka.topic_prefix,
    ]  # fmt: skip
    began, peak = monotonic(), 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, peak_mb(process.pid))
            sleep(0.2)
        told = process.stdout.read() if process.stdout else ""
    report = json.loads(told) if told else {"outcome": f"ended with {process.returncode}"}
    names = ("outcome", "training", "seconds")
    return {"whole_s": round(monotonic() - began), "peak_mb": round(peak)} | {n: report.get(n) for n in names}


def peak_mb(process: int) -> float:
    """Its peak resident memory so far, 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except ProcessLookupError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def main() -> None:
    """See above."""
    data, work = Path(sys.argv[1]), Path(sys.argv[2])
    most = int(sys.argv[3]) if len(sys.argv) > 3 else 100_000_000
    work.mkdir(parents=True)
    with open_broker() as broker:
        settings = Settings.load(kafka={"bootstrap_servers": broker.bootstrap_servers}, worker={"app_id": "big"})
        create_topics(settings, partitions=PARTITIONS, replication_factor=1)
        archive = open_archive(str(work / "archive"))
        parts = sum(
            -(-pl.scan_parquet(file).select(pl.len()).collect().item() // PART_ROWS)
            for file in (data / "interactions").glob("*.parquet")
        )
        arriving = convert(data, archive, settings.kafka)
        for _ in range(parts - 1):
            next(arriving)
        print(json.dumps(refresh(settings.kafka, work, most)), flush=True)  # noqa: T201
        next(arriving)
        print(json.dumps(refresh(settings.kafka, work, most)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
