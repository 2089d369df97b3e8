"""Test, then learn, through Kafka: each event is predicted by a list that the worker published just before it."""

import json
import subprocess
import sys
from pathlib import Path

from deployment import Deployment

from stream.broker import Broker

START_MS = 1_700_000_000_000
USERS, EVENTS = 6, 9


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", "stream", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_stream_is_replayed_asked_for_captured_and_measured(broker: Broker, prefix: str, tmp_path: Path) -> None:
    events = [
        {
            "user_id": f"u{user}", "item_id": f"i{(user * 31 + number * 7) % 200}", "event_type": "rating",
            "value": 3 + number % 3, "timestamp": START_MS + number * 1000 + user,
        }
        for number in range(EVENTS) for user in range(USERS if number else USERS - 2)
    ]  # fmt: skip
    warm_up, stream, items, lists = (tmp_path / f"{name}.jsonl" for name in ("warm-up", "stream", "items", "lists"))
    warm_up.write_text("".join(json.dumps(event) + "\n" for event in events[:10]))
    stream.write_text("".join(json.dumps(event) + "\n" for event in events[10:]))
    items.write_text("".join(json.dumps({"item_id": f"i{row}"}) + "\n" for row in range(200)))
    with Deployment(broker, prefix, tmp_path) as deployment:
        kafka = deployment.settings.kafka
        at = ["--bootstrap-servers", kafka.bootstrap_servers, "--topic-prefix", kafka.topic_prefix]
        deployment.start_worker()
        run("replay", str(warm_up), "--hold", *at)
        run("replay", str(stream), "--by-round", str(EVENTS), "--hold", "--ask", *at)
        lists.write_text(run("watch", "--from-beginning", "--until-idle", "3", "--json", *at))
    files = ["--interactions", str(stream), "--train-interactions", str(warm_up), "--items", str(items)]
    found = json.loads(run("evaluate", "--prequential", "--lists", str(lists), *files, "--json"))
    assert found["n_events"] == sum(event["value"] >= 4 for event in events[10:])
    answers = map(json.loads, lists.read_text().splitlines())
    asked = [one for one in answers if one["source"]["topic"] == f"{prefix}requests"]
    assert len(asked) == len(events) - 10
    sent = {}
    for event in events:
        sent.setdefault(event["user_id"], []).append(event["item_id"])
    hits = 0
    for one in asked:
        event = sent[one["user_id"]][one["support_size"]]
        value = next(e["value"] for e in events if (e["user_id"], e["item_id"]) == (one["user_id"], event))
        hits += value >= 4 and event in [item["item_id"] for item in one["items"][:10]]
    assert found["hit_rate"]["fewstep"] * found["n_events"] == hits
