"""Items that came after the training are scored from their attributes, and count like any other."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from tiny_bundle import write_manifest, write_tiny_bundle

from schemas import Item
from stream.core.step import Step
from stream.engine.bundle import Bundle, load_bundle
from stream.engine.live_items import MOST_BYTES, LiveItems
from stream.settings import Settings


def live(*items: Item | bytes) -> LiveItems:
    """Items as heard on the topic; bytes are withdrawn."""
    heard = LiveItems()
    heard.take(
        (one, None) if isinstance(one, bytes) else (one.item_id.encode(), one.model_dump_json().encode())
        for one in items
    )
    return heard


def ranked(polls: Any, bundle: Bundle, **event: Any) -> list[dict[str, Any]]:
    polls.step = Step(bundle, Settings(lists={"length": 60}))
    outcome = polls.run(polls.event("ann", event.pop("item", "i0"), **event))
    items: list[dict[str, Any]] = orjson.loads(outcome.recommendations[0].value)["items"]
    return items


def test_a_new_item_is_listed_with_the_score_of_its_attributes(polls: Any, bundle: Bundle) -> None:
    crime = Item(item_id="new", categories=["crime", "unheard of"])
    found = ranked(polls, live(crime, Item(item_id="bare")).over(bundle))
    assert len(found) == 40  # 39 that are not withdrawn, less the one of the event, and two new ones
    scores = {item["item_id"]: item["score"] for item in found}
    plain = {item["item_id"]: item["score"] for item in ranked(polls, bundle, item="i0", event_id="x")}
    mean = np.mean([bundle.tensors["item_vectors"][row] for row in range(2, 40, 3)], axis=0)
    vector = np.linalg.lstsq(  # the user vector, from the scores of items that the bundle knows
        bundle.tensors["item_vectors"][1:39],
        np.array([scores[f"i{row}"] for row in range(1, 39)]) - bundle.tensors["prior"][0][1:39],
        rcond=None,
    )[0]
    prior = bundle.tensors["new_item_prior"][0]
    assert scores["new"] == pytest.approx(vector @ mean + prior, abs=1e-3)
    assert scores["bare"] == pytest.approx(prior, abs=1e-3)
    assert "new" not in plain


def test_an_event_on_a_new_item_counts_in_adaptation_and_hides_it(polls: Any, bundle: Bundle) -> None:
    grown = live(Item(item_id="new", categories=["crime"])).over(bundle)
    polls.step = Step(grown, Settings())
    outcome = polls.run(polls.event("ann", "new"))
    assert outcome.counts["unknown_items"] == 0
    items = orjson.loads(outcome.recommendations[0].value)["items"]
    assert "new" not in {item["item_id"] for item in items}
    assert {reason["item_id"] for item in items for reason in item["reasons"]} == {"new"}


def test_filters_and_withdrawals_hold_for_new_items(polls: Any, bundle: Bundle) -> None:
    gone = Item(item_id="new", categories=["crime"], available=False)
    assert "new" not in {item["item_id"] for item in ranked(polls, live(gone).over(bundle))}
    assert "new" not in {item["item_id"] for item in ranked(polls, live(gone, b"new").over(bundle), event_id="x")}
    grown = live(Item(item_id="new", categories=["rare"])).over(bundle)
    assert grown.catalog.categories["rare"].tolist() == [40]


def test_a_bundle_without_maps_follows_the_topic_for_the_items_that_it_knows(tmp_path: Path) -> None:
    manifest = write_tiny_bundle(tmp_path)
    write_manifest(tmp_path, manifest, content=None)
    bundle = load_bundle(str(tmp_path), "default")
    grown = live(Item(item_id="new", categories=["crime"]), b"i3").over(bundle)
    assert len(grown.catalog) == 40
    assert grown.catalog.withdrawn.tolist() == [3]


def test_what_cannot_be_read_is_counted_and_changes_nothing() -> None:
    heard = LiveItems()
    heard.take([(b"i1", b"junk"), (None, None), (b"i1", b'{"item_id": 1, "schema_version": 99}')])
    heard.take([(b"i1", b'{"item_id": "i1", "title": "' + b"x" * MOST_BYTES + b'"}')])
    assert (heard.refused, heard.digest, heard.changed()) == (4, "", False)


def test_only_news_is_a_change() -> None:
    one = Item(item_id="i1", title="a", available=False).model_dump_json().encode()
    heard = LiveItems()
    heard.take([(b"i1", one)])
    assert heard.changed()
    heard.take([(b"i1", one), (b"i1", one.replace(b'"a"', b'"b"'))])  # no list depends on a title
    assert not heard.changed()
    heard.take([(b"i1", None)])
    assert heard.changed()
