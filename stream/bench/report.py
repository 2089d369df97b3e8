"""The figures as JSON, as Markdown and on the screen: one summary, three ways to write it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group
from rich.table import Table

from stream.bench.figures import COMPARED, DESCRIBED, Delays, Run, Rung, Section, Spread, Variant, ratio, spread
from stream.bench.kernel import BEST, KernelTimes
from stream.bench.latency import RUNG_S
from stream.bench.sustained import BEHIND_S, GROWTH, TRIES, sustained_rate
from stream.bench.traffic import ACTIVITY

RUN_MEASURES: dict[str, tuple[str, str, Callable[[Run], float]]] = {
    "events_per_s": ("events/s", ",.0f", lambda run: run.events_per_s),
    "lists_per_event": ("lists/event", ".2f", lambda run: run.lists_per_event),
    "lists_per_s": ("lists/s", ",.0f", lambda run: run.lists_per_s),
    "cpu_us_per_event": ("CPU us/event", ",.1f", lambda run: run.cpu_us_per_event),
    "peak_mib": ("peak MiB", ",.0f", lambda run: run.peak_mib),
    "list_bytes": ("bytes/list", ",.0f", lambda run: run.list_bytes),
}
"""By name in JSON: column, format, and how it is got from a run."""
DELAY_MEASURES: dict[str, tuple[str, str, Callable[[Delays], float]]] = {
    "p50_ms": ("p50 ms", ",.1f", lambda delays: delays.p50_ms),
    "p99_ms": ("p99 ms", ",.1f", lambda delays: delays.p99_ms),
}
STAGES = {
    "consume": "consume: the thread that fetches",
    "decode": "decode and validate",
    "state": "state: read, deduplicate, fold, write as rows",
    "adapt": "adapt: encode users, inner steps",
    "rank": "rank: score, hide, top n, explain",
    "render": "render the lists",
    "produce": "produce: all else, sending and storing above all",
}
"""Stages of the worker, in the order of a poll's way."""
CLOCK = (
    "Clock: from the first event in hand to the last list handed to the producer, on the program's own wall clock; "
    "CPU: user and system time of its process within these seconds; peak: its largest resident memory so far."
)
OPEN_LOOP = (
    "Open loop: an event is due at its time, whether or not others are answered, and its delay ends when a consumer "
    "holds the first list that includes it. A rate is sustained if everything is answered, the median delay of the "
    f"last third of {RUNG_S:.0f} s exceeds that of the first by no more than {GROWTH:.0%} of the time between, and no "
    f"more than {BEHIND_S} s of the load are unanswered when its last event is due; it is not if it fails {TRIES} "
    "times. The sustained rate, the highest found, is less than the drained throughput: a backlog needs fewer lists, "
    "and while it is drained nobody sends and reads on the same cores."
)
SHARED = {
    "program": "the program", "broker": "broker", "load": "load generator", "reader": "reader of lists",
}  # fmt: skip
"""What shares the cores while latency is measured, by name in JSON."""
SHARED_FROM = 1000
"""Events a second from which CPU time per event is shown: below, it is what an idle second costs."""


@dataclass(frozen=True)
class Conditions:
    """What the figures hold for."""

    broker: str
    events: int
    users: int
    partitions: int
    model: str
    n_items: int
    d: int
    cpus: int
    load_before: float
    """Load average of the last minute when it began: what others took."""


@dataclass(frozen=True)
class Results:
    """All that was measured."""

    conditions: Conditions
    runs: Sequence[Run]
    delays: Sequence[Delays]
    kernels: Sequence[KernelTimes] = ()
    sections: Sequence[Section] = ()
    rungs: Sequence[Rung] = ()


def as_json(results: Results) -> dict[str, Any]:
    """Conditions, every run, and the summary."""
    runs = [asdict(run) | {name: get(run) for name, (_, _, get) in RUN_MEASURES.items()} for run in results.runs]
    return {
        "conditions": asdict(results.conditions),
        "runs": runs,
        "latency_runs": [asdict(delays) for delays in results.delays],
        "summary": {
            variant: {name: spread(map(get, own))._asdict() for name, (_, _, get) in RUN_MEASURES.items()}
            for variant, own in _by_variant(results.runs)
        },
        "ratios": {
            over: {"events_per_s": rates._asdict(), "cpu_us_per_event": cpu._asdict() if cpu else None}
            for over, rates, cpu in _ratios(results.runs)
        },
        "stages_us_per_event": {stage: cost._asdict() for stage, cost in _stages(results.runs).items()},
        "latency": [
            {"variant": variant, "rate": rate, "unanswered": sum(one.unanswered for one in own)}
            | {name: spread(map(get, own))._asdict() for name, (_, _, get) in DELAY_MEASURES.items()}
            | {"cpu_us_per_event": {who: cost._asdict() for who, cost in _shared(own).items()}}
            for variant, rate, own in _by_rate(results.delays)
        ],
        "sustained": {
            "events_per_s": sustained_rate(results.rungs) or None,
            "rungs": [asdict(rung) for rung in results.rungs],
        },
        "kernels": [asdict(times) | {"ratio": spread(times.ratios())._asdict()} for times in results.kernels],
        "sections": {section.name: [asdict(one) for one in section.figures] for section in results.sections},
        "latency_ratios": [
            {"rate": rate} | {name: one._asdict() for name, one in both.items()}
            for rate, both in _delay_ratios(results.delays)
        ],
    }


def as_markdown(results: Results) -> str:
    """The tables, with what they hold for."""
    sections = [*_notes(results)]
    sections += ["\n".join(_markdown_rows(title, rows)) for title, rows in _tables(results)]
    return "\n\n".join(sections) + "\n"


def as_screen(results: Results) -> Group:
    """The tables for a terminal."""
    tables = []
    for title, (header, *rows) in _tables(results):
        table = Table(title=title, title_justify="left")
        for number, column in enumerate(header):
            table.add_column(column, justify="right" if number else "left", no_wrap=number > 0)
        for row in rows:
            table.add_row(*row)
        tables.append(table)
    conditions, *others = _notes(results)
    return Group(conditions, *tables, *others)


def _notes(results: Results) -> list[str]:
    """What the figures hold for, first, and what they mean."""
    return [_conditions(results.conditions), CLOCK, *([OPEN_LOOP] if results.delays else [])]


def _tables(results: Results) -> list[tuple[str, list[list[str]]]]:
    """Titles and cells; the first row is the header."""
    tables = [(section.title, [section.header, *section.rows]) for section in results.sections]
    if results.runs:
        tables.append(("Throughput, median (least to greatest) over the rounds", _run_rows(results.runs)))
    if rows := _ratio_rows(results.runs):
        tables.append(("(c) divided by the others, within each round", rows))
    if rows := _stage_rows(results.runs):
        tables.append(("CPU us per event of the worker by stage", rows))
    if results.kernels:
        title = f"Adapt and pick the best {BEST}, beside one matrix product and a partial sort; one core"
        tables.append((title, _kernel_rows(results.kernels)))
    if results.rungs:
        title = f"What (c) carries in an open loop: {sustained_rate(results.rungs):,} events/s sustained"
        tables.append((title, _rung_rows(results.rungs)))
    if results.delays:
        tables.append(("Open-loop latency, event due to list readable", _delay_rows(results)))
    if rows := _shared_rows(results.delays):
        tables.append(("CPU us per event in these open loops, by what shares the cores", rows))
    return tables


def _run_rows(runs: Sequence[Run]) -> list[list[str]]:
    rows = [["", *(column for column, _, _ in RUN_MEASURES.values())]]
    for variant, own in _by_variant(runs):
        cells = [_show(spread(map(get, own)), form) for _, form, get in RUN_MEASURES.values()]
        rows.append([DESCRIBED[variant], *cells])
    return rows


def _ratio_rows(runs: Sequence[Run]) -> list[list[str]]:
    rows = [["", "events/s", "CPU us/event"]]
    for over, rates, cpu in _ratios(runs):
        rows.append([f"(c) / {DESCRIBED[over]}", _show(rates, ".2f"), _show(cpu, ".3f") if cpu else ""])
    return rows if len(rows) > 1 else []


def _stage_rows(runs: Sequence[Run]) -> list[list[str]]:
    rows = [[STAGES[stage], _show(cost, ".2f")] for stage, cost in _stages(runs).items()]
    return [["", "CPU us/event"], *rows] if rows else []


def _kernel_rows(kernels: Sequence[KernelTimes]) -> list[list[str]]:
    rows = [["", "adapt, ms", "product, ms", "ratio"]]
    for times in kernels:
        cells = [_show(spread(one), ".1f") for one in (times.adapt_ms, times.product_ms, times.ratios())]
        rows.append([f"{times.batch} users, {times.n_items:,} items, steps over {times.inner_rows:,}", *cells])
    return rows


def _rung_rows(rungs: Sequence[Rung]) -> list[list[str]]:
    rows = [["events/s", "p50 ms, first third", "p50 ms, last third", "unanswered at the end, s of the load", ""]]
    for rung in rungs:
        verdict = "sustained" if rung.sustained else "not sustained"
        rows.append(
            [f"{rung.rate:,}", f"{rung.first_ms:,.1f}", f"{rung.last_ms:,.1f}", f"{rung.behind_s:.2f}", verdict]
        )
    return rows


def _delay_rows(results: Results) -> list[list[str]]:
    delays = results.delays
    drained = [run.events_per_s for run in results.runs if run.variant is Variant.FEWSTEP]
    wholes = sustained_rate(results.rungs), spread(drained).median if drained else 0
    columns = [column for column, _, _ in DELAY_MEASURES.values()]
    rows = [["", "events/s", "of (c) sustained", "of (c) drained", *columns, "unanswered"]]
    for variant, rate, own in _by_rate(delays):
        shares = [f"{rate / whole:.1%}" if whole else "" for whole in wholes]
        cells = [_show(spread(map(get, own)), form) for _, form, get in DELAY_MEASURES.values()]
        unanswered = f"{sum(one.unanswered for one in own):,} of {sum(one.events for one in own):,}"
        rows.append([DESCRIBED[variant], f"{rate:,}", *shares, *cells, unanswered])
    for rate, both in _delay_ratios(delays):
        rows.append(["(c) / (a)", f"{rate:,}", "", "", *(_show(one, ".2f") for one in both.values()), ""])
    return rows


def _shared_rows(delays: Sequence[Delays]) -> list[list[str]]:
    rows = [["", "events/s", *SHARED.values(), "cores at work"]]
    for variant, rate, own in _by_rate(delays):
        if rate >= SHARED_FROM and (costs := _shared(own)):
            cells = [_show(costs[who], ",.1f") if who in costs else "" for who in SHARED]
            cores = spread(sum(one.cpu_s.values()) / one.seconds for one in own)
            rows.append([DESCRIBED[variant], f"{rate:,}", *cells, _show(cores, ".2f")])
    return rows if len(rows) > 1 else []


def _shared(delays: Sequence[Delays]) -> dict[str, Spread]:
    """Microseconds of CPU per event by who took them, of those that all know."""
    known = [who for who in SHARED if all(who in one.cpu_s for one in delays)]
    return {who: spread(one.cpu_s[who] / one.events * 1e6 for one in delays) for who in known}


def _stages(runs: Sequence[Run]) -> dict[str, Spread]:
    """Microseconds of CPU per event by stage, over the runs that tell it."""
    told = [run for run in runs if run.stages]
    return {stage: spread(run.stages.get(stage, 0.0) / run.events * 1e6 for run in told) for stage in STAGES if told}


def _by_variant(runs: Sequence[Run]) -> list[tuple[Variant, list[Run]]]:
    found = [(variant, [run for run in runs if run.variant is variant]) for variant in Variant]
    return [(variant, own) for variant, own in found if own]


def _by_rate(delays: Sequence[Delays]) -> list[tuple[Variant, int, list[Delays]]]:
    keys = sorted({(one.rate, list(Variant).index(one.variant), one.variant) for one in delays})
    return [(who, rate, [one for one in delays if (one.rate, one.variant) == (rate, who)]) for rate, _, who in keys]


def _ratios(runs: Sequence[Run]) -> list[tuple[Variant, Spread, Spread | None]]:
    found = [
        (over, ratio(runs, over, lambda run: run.events_per_s), ratio(runs, over, lambda run: run.cpu_us_per_event))
        for over in COMPARED
    ]
    return [(over, rates, cpu) for over, rates, cpu in found if rates is not None]


def _delay_ratios(delays: Sequence[Delays]) -> list[tuple[int, dict[str, Spread]]]:
    found = []
    for rate in sorted({one.rate for one in delays}):
        own = [one for one in delays if one.rate == rate]
        both = {name: ratio(own, Variant.PLAIN, get) for name, (_, _, get) in DELAY_MEASURES.items()}
        found.append((rate, {name: one for name, one in both.items() if one is not None}))
    return [(rate, both) for rate, both in found if both]


def _conditions(found: Conditions) -> str:
    busy = "" if found.load_before < 0.5 else "; others were at work, so trust the ratios only"
    return (
        f"Broker: {found.broker}, on this machine's {found.cpus} cores unless it is yours; load average before: "
        f"{found.load_before:.2f}{busy}. {found.events:,} events of {found.users:,} users, whose activity falls "
        f"with the power {ACTIVITY} of the rank, over {found.partitions} partitions; "
        f"model {found.model}, {found.n_items:,} items, d = {found.d}."
    )


def _show(found: Spread, form: str) -> str:
    if found.low == found.high:
        return f"{found.median:{form}}"
    return f"{found.median:{form}} ({found.low:{form}} to {found.high:{form}})"


def _markdown_rows(title: str, rows: Sequence[Sequence[str]]) -> list[str]:
    header, *body = rows
    line = ["---"] + ["---:"] * (len(header) - 1)
    return [f"**{title}**", "", *(f"| {' | '.join(row)} |" for row in (header, line, *body))]
