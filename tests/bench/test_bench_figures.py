"""The arithmetic of the benchmark: spreads, ratios within rounds, percentiles, matching of lists to events."""

import json
from dataclasses import replace
from itertools import islice
from xml.etree import ElementTree

import pytest

from stream.bench.figures import Delays, Run, Rung, Spread, Variant, percentile, ratio, spread
from stream.bench.kernel import KernelTimes
from stream.bench.latency import phases_at
from stream.bench.open_loop import Position, waits
from stream.bench.plot import as_svg
from stream.bench.report import Conditions, Results, as_json, as_markdown
from stream.bench.traffic import make_events

CONDITIONS = Conditions(
    broker="a broker", events=100, users=10, partitions=4, model="m v1", n_items=40, d=4, cpus=2, load_before=0.0
)


def run(variant: Variant, number: int, seconds: float) -> Run:
    """A run of 1000 events, a tenth of its time on the CPU, with half as many lists."""
    return Run(variant, number, 1000, seconds, seconds / 10, 100.0, 500, 800.0)


def rate(run: Run) -> float:
    return run.events_per_s


def test_a_spread_is_median_least_and_greatest() -> None:
    assert spread([5.0, 1.0, 3.0]) == Spread(3.0, 1.0, 5.0)
    assert spread([1.0, 2.0]) == Spread(1.5, 1.0, 2.0)


def test_ratios_are_taken_within_a_round() -> None:
    runs = [
        run(Variant.FEWSTEP, 0, 1.0), run(Variant.PLAIN, 0, 10.0),  # a quiet round
        run(Variant.FEWSTEP, 1, 5.0), run(Variant.PLAIN, 1, 60.0),  # a busy one
        run(Variant.FEWSTEP, 2, 1.0), run(Variant.PLAIN, 2, 11.0),
    ]  # fmt: skip
    found = ratio(runs, Variant.PLAIN, rate)
    assert found is not None
    assert found == pytest.approx((11.0, 10.0, 12.0))


def test_a_round_without_a_partner_gives_no_ratio() -> None:
    runs = [run(Variant.FEWSTEP, 0, 1.0), run(Variant.PLAIN, 0, 10.0), run(Variant.FEWSTEP, 1, 1.0)]
    assert ratio(runs, Variant.PLAIN, rate) == pytest.approx((10.0, 10.0, 10.0))
    assert ratio(runs, Variant.MAML, rate) is None


def test_rates_and_cost_follow_from_events_and_seconds() -> None:
    one = run(Variant.FEWSTEP, 0, 2.0)
    assert (one.events_per_s, one.cpu_us_per_event, one.lists_per_event) == pytest.approx((500.0, 200.0, 0.5))


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_a_percentile_is_the_nearest_rank(share: float, expected: int) -> None:
    assert percentile([float(value) for value in range(100, 0, -1)], share) == expected


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 0.5) == percentile([7.0], 0.99) == 7.0


def test_an_event_is_answered_by_the_first_list_that_includes_it() -> None:
    sent = [(Position("a", 0, 3), 1.0), (Position("a", 0, 7), 2.0), (Position("b", 0, 5), 2.0)]
    arrivals = [
        (Position("a", 0, 2), 1.5),  # too old for both
        (Position("b", 0, 9), 9.0),
        (Position("a", 0, 7), 4.0),  # one list for both events
        (Position("a", 1, 8), 1.1),  # of another partition
        (Position("a", 0, 8), 3.5),  # newer, and yet it came first
    ]
    assert waits(sent, arrivals) == [2.5, 1.5, 7.0]


def test_an_event_that_no_list_includes_is_unanswered() -> None:
    assert waits([(Position("a", 0, 3), 1.0)], [(Position("a", 0, 2), 2.0)]) == [None]


def test_rates_are_fixed_ones_and_shares_of_what_the_worker_sustains() -> None:
    assert [*phases_at(20_040.0)] == [1, 100, 1000, 5000, 10_000, 15_000]


def test_a_rate_is_shown_as_a_share_of_the_sustained_and_of_the_drained_one() -> None:
    cpu_s = {"program": 0.1, "broker": 0.05, "load": 0.03, "reader": 0.02}
    delays = [Delays(Variant.FEWSTEP, 0, 5000, 10_000, 0, 4.0, 9.0, cpu_s)]
    rungs = [Rung(10_000, 40_000, 5.0, 6.0, 0.01, True), Rung(15_000, 60_000, 50.0, 900.0, 0.9, False)]
    results = Results(CONDITIONS, [run(Variant.FEWSTEP, 0, 0.05)], delays, rungs=rungs)
    text = as_markdown(results)
    assert "| (c) fewstep worker | 5,000 | 50.0% | 25.0% | 4.0 | 9.0 | 0 of 10,000 |" in text
    assert "| 15,000 | 50.0 | 900.0 | 0.90 | not sustained |" in text
    assert "| (c) fewstep worker | 5,000 | 10.0 | 5.0 | 3.0 | 2.0 | 0.10 |" in text
    found = as_json(results)
    assert (found["sustained"]["events_per_s"], len(found["sustained"]["rungs"])) == (10_000, 2)
    assert found["latency"][0]["cpu_us_per_event"]["broker"]["median"] == pytest.approx(5.0)


def test_the_stages_of_the_worker_are_shown_per_event() -> None:
    one = replace(run(Variant.FEWSTEP, 0, 1.0), stages={"decode": 0.002, "produce": 0.003})
    text = as_markdown(Results(CONDITIONS, [one], []))
    assert "| decode and validate | 2.00 |" in text
    assert as_json(Results(CONDITIONS, [one], []))["stages_us_per_event"]["produce"]["median"] == pytest.approx(3.0)


def test_a_kernel_is_compared_turn_by_turn() -> None:
    times = KernelTimes(20_000, 256, 2048, adapt_ms=[4.0, 30.0], product_ms=[2.0, 10.0])
    row = "| 256 users, 20,000 items, steps over 2,048 | 17.0 (4.0 to 30.0) | 6.0 (2.0 to 10.0) | 2.5 (2.0 to 3.0) |"
    assert row in as_markdown(Results(CONDITIONS, [run(Variant.FLOOR, 0, 1.0)], [], [times]))


def test_the_json_has_each_run_and_the_ratios_of_its_rounds() -> None:
    runs = [run(variant, number, 1.0 + number) for number in range(2) for variant in Variant]
    delays = [Delays(variant, 0, 100, 500, 0, 4.0, 9.0) for variant in (Variant.PLAIN, Variant.FEWSTEP)]
    found = json.loads(json.dumps(as_json(Results(CONDITIONS, runs, delays))))
    assert len(found["runs"]) == 2 * len(Variant)
    assert set(found["ratios"]) == {"plain", "tuned", "maml", "melu", "faust", "exactly-once"}
    assert found["ratios"]["maml"]["events_per_s"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert found["latency_ratios"] == [
        {"rate": 100, **{name: {"median": 1.0, "low": 1.0, "high": 1.0} for name in ("p50_ms", "p99_ms")}}
    ]


def test_the_markdown_shows_median_and_spread() -> None:
    runs = [run(Variant.FEWSTEP, number, seconds) for number, seconds in enumerate((1.0, 0.5, 2.0))]
    text = as_markdown(Results(CONDITIONS, runs, []))
    assert (
        "| (c) fewstep worker | 1,000 (500 to 2,000) | 0.50 | 500 (250 to 1,000) | 100.0 (50.0 to 200.0) | 100 | 800 |"
        in text
    )
    assert "divided by" not in text  # there is nothing to divide by


def test_the_plot_has_a_bar_for_each_program_that_ran() -> None:
    runs = [run(Variant.PLAIN, 0, 10.0), run(Variant.FEWSTEP, 0, 0.1), run(Variant.FEWSTEP, 1, 0.2)]
    drawn = ElementTree.fromstring(as_svg(runs, "a < b"))
    names = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert "a < b" in names and "7,500 events/s" in names
    widths = [float(bar.get("width", "0").rstrip("%")) for bar in drawn.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert len(widths) == 2 and widths[0] < widths[1]


def test_a_busy_machine_is_told() -> None:
    busy = Conditions(**{**vars(CONDITIONS), "load_before": 1.5})
    assert "trust the ratios only" in as_markdown(Results(busy, [run(Variant.FLOOR, 0, 1.0)], []))
    assert "trust the ratios only" not in as_markdown(Results(CONDITIONS, [run(Variant.FLOOR, 0, 1.0)], []))


def test_the_load_is_the_same_for_a_seed_and_of_accepted_types() -> None:
    from schemas import EventKinds

    kinds = EventKinds(types=["click", "odd"], edges={"rating": [1.5, 2.5]})

    def load(seed: int) -> list[bytes]:
        endless = make_events(
            users=5,
            item_ids=["i0", "i1"],
            kinds=kinds,
            event_types=("click", "rating"),
            oldest_ms=10**12,
            seed=seed,
        )
        events = list(islice(endless, 50))
        assert [event.timestamp_ms for event in events] == [10**12 + 1000 * number for number in range(50)]
        return [event.value for event in events]

    assert load(1) == load(1) != load(2)
    assert {json.loads(value)["event_type"] for value in load(1)} == {"click", "rating"}
