"""Measures top-N over a stream through Kafka, on MovieLens-100K, while a worker runs and its model is trained anew:

    python tests/refreshed_stream.py [--parts 10] [--window 50]

The first fifth of the positive ratings warms up. The rest comes in parts, event by event, each asked for just before it
is sent; between two parts a model is trained on all that went before, and the running worker takes it over. The recipe
was chosen inside the warm-up, on its second half. Prints what `fewstep evaluate --prequential` says.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from deployment import Deployment

from stream.broker import open_broker

RECIPE = """
sliding_share = 1.0
fixed_share = 0.0
query_events = 3
epochs = 240
support_sizes = [0, 1, 2, 3, 5, 10, 20, {window}]
"""
"""For a stream: the next few events of a window that moves, as long as the worker's, and long training."""


def fewstep(*arguments: str | Path) -> str:
    """Run a command; gives what it printed. Ends the program if it fails."""
    done = subprocess.run([sys.executable, "-m", "stream", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"fewstep {arguments[0]}: {done.stderr}")
    return done.stdout


def train(folder: Path, known: list[str]) -> str:
    """Train on these lines and publish; gives the version."""
    (folder / "known.jsonl").write_text("".join(known))
    files = ["--interactions", folder / "known.jsonl", "--items", folder / "ml" / "items.jsonl"]
    store = ["--model-store", folder / "models", "--model", "default", "--config", folder / "recipe.toml"]
    version: str = json.loads(fewstep("train", *files, *store, "--json"))["version"]
    return version


def main() -> None:
    """Run it."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--parts", type=int, default=10)
    asked.add_argument("--window", type=int, default=50)
    given = asked.parse_args()
    environment = {
        "FEWSTEP_STATE__WINDOW": str(given.window),
        "FEWSTEP_STATE__SEEN_ITEMS": "1000",
        "FEWSTEP_LISTS__REASONS": "0",
        "FEWSTEP_MODEL__POLL_INTERVAL_S": "1",
    }
    with TemporaryDirectory() as name, open_broker() as broker:
        folder = Path(name)
        data = folder / "ml"
        fewstep("data", "movielens-100k", "--out", data, "--warm-up", "0.2", "--least-rating", "4")
        (folder / "recipe.toml").write_text(RECIPE.format(window=given.window))
        known = (data / "interactions.jsonl").read_text().splitlines(keepends=True)
        rest = (data / "stream.jsonl").read_text().splitlines(keepends=True)
        with Deployment(broker, "stream-", folder, store="memory", environment=environment) as served:
            kafka = served.settings.kafka
            at = ["--bootstrap-servers", kafka.bootstrap_servers, "--topic-prefix", kafka.topic_prefix]
            version = train(folder, known)
            served.start_worker()
            served.wait_for_log("ready:")
            fewstep("replay", data / "interactions.jsonl", "--hold", *at)
            for number in range(given.parts):
                if number:
                    version = train(folder, known)
                served.wait_for_log(f" {version} ")
                part = rest[number * len(rest) // given.parts : (number + 1) * len(rest) // given.parts]
                (folder / "part.jsonl").write_text("".join(part))
                fewstep("replay", folder / "part.jsonl", "--by-round", "2000", "--hold", "--ask", *at)
                known += part
                print(f"part {number + 1} of {given.parts}: {len(part)} events, {version}", flush=True)  # noqa: T201
            lists = folder / "lists.jsonl"
            lists.write_text(fewstep("watch", "--from-beginning", "--until-idle", "10", "--json", *at))
        found = fewstep(
            "evaluate", "--prequential", "--lists", lists, "--items", data / "items.jsonl",
            "--interactions", data / "stream.jsonl", "--train-interactions", data / "interactions.jsonl",
        )  # fmt: skip
        print(f"{broker.name}\n{found}")  # noqa: T201


if __name__ == "__main__":
    main()
