"""Runs whole refreshes over a large archive, as the program on a real broker, and tells what they took:

    python tests/big_refresh.py DATA WORK [MAX_EVENTS]

DATA is what `fewstep data synthetic --parquet` writes; WORK gets archive and model store, or has the archive from a run
that did not get far. The first refresh learns from all but the last 250,000 events, which lie in the archive already as
if they had come over the topics. The rest is then sent, and the second refresh reads it from Kafka. The recipe takes
few steps: `most_steps` bounds what a training takes, whatever there is. Prints a line of JSON for each: seconds,
memory, and what every stage read and wrote.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import orjson
import polars as pl

from meta.refresh.archive import PART_ROWS, Archive, State, open_archive
from schemas import KafkaSettings, Role, topic_name
from stream.broker import open_broker
from stream.clients.event_file import FileEvent
from stream.clients.outbox import open_outbox
from stream.clients.provision import create_topics
from stream.settings import Settings

NOW = datetime(2026, 1, 31, tzinfo=UTC)
PARTITIONS = 12
RECIPE = "epochs = 8\nvalidate_every = 8\nmost_steps = 1000\nexact_items = 5000\n"
STAGES = ("read", "train", "export", "judge", "publish", "announce")
_MB = 1_000_000


def parts_of(folder: Path) -> Iterator[pl.DataFrame]:
    """The events in the files, oldest first, a part of an archive at a time."""
    for file in sorted((folder / "interactions").glob("*.parquet")):
        yield from pl.read_parquet(file).iter_slices(PART_ROWS)


def fill(archive: Archive, folder: Path, kafka: KafkaSettings, *, parts: int) -> None:
    """Bring catalog, profiles and so many parts into the archive.

    They get offsets below zero: what is sent to the empty topic later follows them.
    """
    state = State()
    for kind, name, key in (("items", "items.jsonl", "item_id"), ("profiles", "users.jsonl", "user_id")):
        lines = (folder / name).read_text().splitlines()
        frame = pl.DataFrame({key: [json.loads(line)[key] for line in lines], "message": lines})
        if kind == "profiles":
            frame = frame.with_columns(received=pl.lit(0, pl.Int64))
        state = state.model_copy(update={"parts": (*state.parts, archive.write(state, kind, frame))})
    topic = topic_name(Role.INTERACTIONS, kafka.topic_prefix)
    for _, rows in zip(range(parts), parts_of(folder), strict=False):
        numbers = np.arange(state.events, state.events + len(rows))
        frame = rows.with_columns(
            pl.col("timestamp").alias("received"),
            pl.Series("partition", numbers % PARTITIONS, dtype=pl.Int32),
            pl.Series("offset", numbers // PARTITIONS - parts * PART_ROWS),
        )
        after = {
            "parts": (*state.parts, archive.write(state, "interactions", frame)),
            "events": state.events + len(rows),
            "positions": {topic: dict.fromkeys(range(PARTITIONS), 0)},
        }
        state = archive.commit(state, state.model_copy(update=after), NOW)


def send(rows: pl.DataFrame, kafka: KafkaSettings) -> None:
    """Send events to the topic."""
    columns = [name for name in rows.columns if name != "value"]
    events = [FileEvent(row["user_id"], None, orjson.dumps(row)) for row in rows.select(columns).iter_rows(named=True)]

    async def sent() -> None:
        topic = topic_name(Role.INTERACTIONS, kafka.topic_prefix)
        async with open_outbox(kafka, topic, partitions=PARTITIONS) as outbox:
            await outbox.send(events)

    asyncio.run(sent())


def refresh(kafka: KafkaSettings, work: Path, max_events: int) -> dict[str, Any]:
    """Run `fewstep refresh`; gives its seconds, memory and traffic, whole and by stage."""
    (work / "recipe.toml").write_text(RECIPE)
    command = [
        sys.executable, "-m", "stream", "refresh", "--model-store", str(work / "store"), "--model", "big", "--json",
        "--archive", str(work / "archive"), "--config", str(work / "recipe.toml"), "--max-events", str(max_events),
        "--bootstrap-servers", kafka.bootstrap_servers, "--topic-prefix", kafka.topic_prefix,
    ]  # fmt: skip
    began, log = monotonic(), work / "refresh.log"
    with log.open("w") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as run:
        peaks, stages = watch(run, log)
        told = run.stdout.read() if run.stdout else ""
    report = json.loads(told) if told else {"outcome": f"ended with {run.returncode}: {log.read_text()[-500:]}"}
    names = ("outcome", "reasons", "training", "seconds", "archive")
    return {"whole_s": round(monotonic() - began), **peaks, "stages": stages} | {n: report.get(n) for n in names}


def watch(run: subprocess.Popen[str], log: Path) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Follow a refresh until it ends: peak memory in MB, and by stage anonymous memory in MB and bytes in MB."""
    peaks = {"peak_mb": 0, "peak_anonymous_mb": 0}
    stages: dict[str, dict[str, int]] = {}
    before: dict[str, int] = {}
    while run.poll() is None:
        entered = [line.partition(":")[0] for line in log.read_text().splitlines()]
        stage = next((name for name in reversed(entered) if name in STAGES), "start")
        if now := numbers_of(run.pid):
            peaks["peak_mb"] = max(peaks["peak_mb"], now["VmHWM"] // 1024)
            peaks["peak_anonymous_mb"] = max(peaks["peak_anonymous_mb"], now["RssAnon"] // 1024)
            of_stage = stages.setdefault(stage, {"anonymous_mb": 0, "read_mb": 0, "written_mb": 0})
            of_stage["anonymous_mb"] = max(of_stage["anonymous_mb"], now["RssAnon"] // 1024)
            for name, field in (("read_mb", "rchar"), ("written_mb", "wchar")):
                of_stage[name] += now[field] // _MB - before.get(field, 0) // _MB
            before = now
        sleep(0.1)
    return peaks, stages


def numbers_of(process: int) -> dict[str, int]:
    """What /proc tells of its memory in kB, and of the bytes that it read and wrote; nothing once it has ended."""
    try:
        lines = [line for name in ("status", "io") for line in Path(f"/proc/{process}/{name}").read_text().splitlines()]
    except (ProcessLookupError, FileNotFoundError):
        return {}
    found = dict(line.partition(":")[::2] for line in lines)
    names = ("VmHWM", "RssAnon", "rchar", "wchar")
    return {name: int(found[name].split()[0]) for name in names} if all(name in found for name in names) else {}


def main() -> None:
    """See above."""
    data, work = Path(sys.argv[1]), Path(sys.argv[2])
    most = int(sys.argv[3]) if len(sys.argv) > 3 else 100_000_000
    work.mkdir(parents=True, exist_ok=True)
    with open_broker() as broker:
        settings = Settings.load(kafka={"bootstrap_servers": broker.bootstrap_servers}, worker={"app_id": "big"})
        create_topics(settings, partitions=PARTITIONS, replication_factor=1)
        *_, last = parts_of(data)
        rows = (pl.scan_parquet(file).select(pl.len()).collect().item() for file in data.glob("interactions/*.parquet"))
        parts = sum(-(-count // PART_ROWS) for count in rows)
        archive = open_archive(str(work / "archive"))
        if not archive.state().events:
            fill(archive, data, settings.kafka, parts=parts - 1)
        print(json.dumps(refresh(settings.kafka, work, most)), flush=True)  # noqa: T201
        send(last, settings.kafka)
        print(json.dumps(refresh(settings.kafka, work, most)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
