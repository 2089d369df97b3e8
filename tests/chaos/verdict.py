"""The truth at the end of a run: rows, lists and dead letters beside the reference, and lists computed again."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from deployment import Deployment
from reference.lists import disagreements
from reference.worker import ExpectedList, Reference, same_person

from chaos.reading import read_topic
from schemas import Role
from stream.core.codec import decode_row
from stream.core.records import Record
from stream.engine.bundle import load_bundle
from stream.topics import changelog_topic

VERIFIED_LISTS = 10_000


def judge(deployment: Deployment, words: Mapping[str, tuple[int, int]], *, newest: str, seed: int) -> dict[str, Any]:
    """What is wrong, counted. `words` are the positions of every user's last event, `newest` is the last bundle."""
    catalog = load_bundle(deployment.settings.model.store, "default").catalog
    reference = Reference(deployment.settings, catalog.rows)
    changelog = changelog_topic(deployment.settings.worker.app_id)
    inputs, last = _inputs(deployment), set(words.values())
    is_last = [one.role is Role.INTERACTIONS and (one.partition, one.offset) in last for one in inputs]
    before = reference.take([one for one, is_one in zip(inputs, is_last, strict=True) if not is_one])
    final = reference.take([one for one, is_one in zip(inputs, is_last, strict=True) if is_one])
    return {
        "users": len(words),
        "inputs": len(inputs),
        **_judge_rows({row.key: row.value for row in _records(deployment, changelog)}, reference),
        **_judge_lists(deployment, final.lists, newest=newest),
        **_judge_letters(deployment, before.letters),
        "verify": _verify(deployment, seed=seed),
    }


def faults_of(verdict: Mapping[str, Any]) -> list[str]:
    """The names of what should be nothing and is something."""
    nothing = [
        "users_with_wrong_rows", "users_with_wrong_lists", "users_with_an_old_model", "letters_missing",
        "letters_unexpected", "lists_repeated_with_other_content",
    ]  # fmt: skip
    verify = verdict["verify"]
    wrong = [name for name in nothing if verdict[name]]
    if verdict["delivery"] == "exactly_once":
        wrong += [name for name in ("lists_repeated", "letters_repeated") if verdict[name]]
    if verify["differences"] or verify["verified"] != verify["lists"]:
        wrong.append("verify")
    return wrong


def _records(deployment: Deployment, topic: str) -> list[Any]:
    return read_topic(deployment.settings.kafka, topic)


def _inputs(deployment: Deployment) -> list[Record]:
    """What was sent and changes rows, as a worker takes it."""
    return [
        Record(role, r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)
        for role in (Role.INTERACTIONS, Role.USERS)
        for r in _records(deployment, deployment.topic(role))
    ]


def _judge_rows(rows: Mapping[bytes, bytes | None], reference: Reference) -> dict[str, Any]:
    people = {key: (partition, person) for (partition, key), person in reference.people.items()}
    kept = {key: decode_row(row, key) for key, row in rows.items() if row is not None}
    wrong = [
        key
        for key in people.keys() | kept.keys()
        if key not in people or key not in kept or not same_person(kept[key], people[key][1])
    ]
    details = [
        {
            "user": key.decode(),
            "partition": people[key][0] if key in people else None,
            "events": people[key][1].n_events if key in people else None,
            "events_found": kept[key].events if key in kept else None,
        }
        for key in wrong
    ]
    return {"users_with_wrong_rows": len(wrong), "wrong_rows": details}


def _judge_lists(deployment: Deployment, expected: Iterable[ExpectedList], *, newest: str) -> dict[str, Any]:
    published: Counter[tuple[Any, ...]] = Counter()
    contents: dict[tuple[Any, ...], set[bytes]] = {}
    last: dict[tuple[int, bytes], dict[str, Any]] = {}
    for record in _records(deployment, deployment.topic(Role.RECOMMENDATIONS)):
        if record.value is None:
            continue
        found = orjson.loads(record.value)
        last[record.partition, record.key] = found
        # What docs/architecture.md says identifies a list; only the clock may differ between two of the same identity.
        identity = (record.key, found["model_version"], str(found["source"]), dict(record.headers).get("fewstep-state"))
        published[identity] += 1
        contents.setdefault(identity, set()).add(orjson.dumps(found | {"generated_at": ""}))
    settings, wrong, old = deployment.settings, 0, 0
    bundles = {}
    for one in expected:
        found = last.get(one.user, {})
        version = found.get("model_version", newest)
        old += version != newest
        if version not in bundles:
            bundles[version] = load_bundle(settings.model.store, settings.model.name, version)
        window, reasons = settings.state.window, settings.lists.reasons
        wrong += not found or bool(disagreements(found, one, bundles[version], window=window, reasons=reasons))
    return {
        "lists": published.total(),
        "lists_repeated": published.total() - len(published),
        "lists_repeated_with_other_content": sum(len(found) > 1 for found in contents.values()),
        "users_with_wrong_lists": wrong,
        "users_with_an_old_model": old,
    }


def _judge_letters(deployment: Deployment, expected: Iterable[tuple[int, int, str]]) -> dict[str, Any]:
    found: Counter[tuple[int, int, str]] = Counter()
    for record in _records(deployment, deployment.topic(Role.DEAD_LETTERS)):
        headers = {name: value.decode() for name, value in record.headers}
        at = int(headers["__connect.errors.partition"]), int(headers["__connect.errors.offset"])
        found[*at, headers["fewstep-reason"]] += 1
    wanted = set(expected)
    return {
        "letters": found.total(),
        "letters_repeated": found.total() - len(found),
        "letters_missing": len(wanted - found.keys()),
        "letters_unexpected": len(found.keys() - wanted),
        "letters_by_reason": dict(Counter(reason for *_, reason in found)),
    }


def _verify(deployment: Deployment, *, seed: int) -> dict[str, Any]:
    """What `fewstep replay --verify` says of a sample of all lists."""
    settings = deployment.settings
    command = [
        sys.executable, "-m", "stream", "replay", "--verify", "--json", "--sample", str(VERIFIED_LISTS),
        "--seed", str(seed), "--bootstrap-servers", settings.kafka.bootstrap_servers,
        "--topic-prefix", settings.kafka.topic_prefix, "--model-store", settings.model.store,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"replay --verify failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
