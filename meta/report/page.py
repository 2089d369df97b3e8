"""The figures as one HTML page."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from meta.all_measures import NAMES
from meta.report import plots
from meta.report.plots import Series
from meta.report.style import STYLE

_SHOWN_SIZES = ("0", "1", "5", "20")
"""Support sizes of the table of all measures"""
Estimates = Mapping[str, Mapping[str, float | None]]


def page(figures: Mapping[str, Any]) -> str:
    """HTML of figures as `meta.report.figures.collect` gives them; a section without figures is left out."""
    sections = [section for build in _SECTIONS if (section := build(figures))]
    title = f"{figures['model']}, version {figures['version']}"
    about = (
        f"{figures['n_users']} held-out users, query set <em>{escape(figures['mode'])}</em>. Bands and ranges are 95"
        " % bootstrap intervals over users; scorers are compared on the same users, so trust paired differences more"
        " than bands that overlap."
    )
    contents = "".join(f'<li><a href="#{name}">{escape(head)}</a></li>' for name, head, _ in sections)
    body = "".join(
        f'<section id="{name}" aria-labelledby="{name}-head"><h2 id="{name}-head">{escape(head)}</h2>{inner}</section>'
        for name, head, inner in sections
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<style>{STYLE}</style></head><body><header><h1>{escape(title)}</h1><p>{about}</p>"
        f'<nav aria-label="Contents"><ul>{contents}</ul></nav></header><main>{body}</main></body></html>\n'
    )


Section = tuple[str, str, str] | None
"""Anchor, heading, HTML"""


def _cold_start(figures: Mapping[str, Any]) -> Section:
    chart = plots.lines(
        [_series(name, found["ndcg"]) for name, found in figures["measures"].items()],
        label="nDCG@10 by the number of support events, a line for each scorer",
        x_label="support events k",
        y_label="nDCG@10",
    )
    paired = _table(
        ["scorer", *(f"k={k}" for k in figures["support_sizes"])],
        [
            [name, *(_cell(estimate, signed=True) for estimate in found.values())]
            for name, found in figures["minus_reference"].items()
            if name != figures["reference"]
        ],
        f"nDCG@10 minus that of {figures['reference']}, user by user",
    )
    return "cold-start", "Cold start", chart + paired


def _steps(figures: Mapping[str, Any]) -> Section:
    if len(figures["steps"]) < 2:
        return None
    sizes = [str(k) for k in figures["support_sizes"] if k]
    series = []
    for size in sizes:
        by_steps = {steps: found[size] for steps, found in figures["steps"].items()}
        series.append(_series(f"k = {size}", by_steps, bands=False))
    chart = plots.lines(
        series,
        label="nDCG@10 by the number of inner steps taken, a line for each number of support events",
        x_label="inner steps taken",
        y_label="nDCG@10",
    )
    note = "<p>The served bundle, stopped after so many steps; it was trained to take all of them.</p>"
    return "steps", "Inner steps", note + chart


def _calibration(figures: Mapping[str, Any]) -> Section:
    if "calibration" not in figures:
        return None
    chart = plots.diagonal(
        [(point["expected"], point["observed"], point["n"]) for point in figures["calibration"]],
        label="Observed against expected share of relevant items, beside the diagonal",
        x_label="expected share of relevant items",
        y_label="observed share",
    )
    note = (
        "<p>The softmax of the scores after five support events, times the number of query items, in bins of equally"
        " many candidates. On the dotted diagonal the model is as sure as it should be.</p>"
    )
    return "calibration", "Calibration", note + chart


def _learning(figures: Mapping[str, Any]) -> Section:
    curve = figures.get("learning_curve")
    if not curve:
        return None
    epochs, values = [float(epoch) for epoch, _ in curve], [float(value) for _, value in curve]
    chart = plots.lines(
        [Series("validation users", epochs, values, values, values)],
        label="Measure on the validation users by epoch",
        x_label="epoch",
        y_label="validation measure",
        even=False,
    )
    return "learning", "Learning curve", chart


def _item_map(figures: Mapping[str, Any]) -> Section:
    found = figures["item_map"]
    chart = plots.dots(
        [(item["x"], item["y"], item["title"], item["group"]) for item in found["items"]],
        found["groups"],
        label="Items in the plane of the two main axes of their vectors",
    )
    shares = " and ".join(f"{share:.0%}" for share in found["explained"])
    note = f"<p>{len(found['items'])} item vectors on their two main axes, which hold {shares} of the spread.</p>"
    return "items", "Item map", note + chart


def _drift(figures: Mapping[str, Any]) -> Section:
    found = figures.get("drift")
    if not found:
        return None
    chart = plots.lines(
        [_series(name, estimates) for name, estimates in found.items()],
        label="Share of the lost distance that is made up, by events since the switch",
        x_label="events since tastes switched",
        y_label="made up",
    )
    return "drift", "Recovery after a drift", chart


def _measures(figures: Mapping[str, Any]) -> Section:
    parts = []
    for size in _SHOWN_SIZES:
        rows = [
            [name, *(_cell(found[measure][size]) for measure in NAMES)] for name, found in figures["measures"].items()
        ]
        parts.append(_table(["scorer", *NAMES.values()], rows, f"k = {size}"))
    return "measures", "All measures", "".join(parts)


def _groups(figures: Mapping[str, Any]) -> Section:
    found = figures["groups"]
    if not found:
        return None
    scorers = list(next(iter(found.values())))
    rows = [
        [group, str(by_scorer[scorers[0]]["n_users"]), *(_cell(by_scorer[scorer]) for scorer in scorers)]
        for group, by_scorer in found.items()
    ]
    return "groups", "User groups", _table(["group", "users", *scorers], rows, "nDCG@10, mean over k ≥ 1")


def _cold(figures: Mapping[str, Any]) -> Section:
    found = figures.get("cold_items")
    if not found:
        return None
    rows = [[name, str(estimate["n_users"]), _cell(estimate)] for name, estimate in found["auc"].items()]
    title = f"AUC of users' items among the {found['n_items']} without a training event"
    return "cold", "Cold items", _table(["scorer", "users", "AUC"], rows, title)


_SECTIONS = (_cold_start, _steps, _calibration, _learning, _drift, _measures, _groups, _cold, _item_map)


def _series(name: str, estimates: Estimates, *, bands: bool = True) -> Series:
    kept = {float(x): estimate for x, estimate in estimates.items() if estimate["mean"] is not None}
    means = [float(estimate["mean"] or 0.0) for estimate in kept.values()]
    if not bands:
        return Series(name, list(kept), means, means, means)
    low, high = ([float(estimate[end] or 0.0) for estimate in kept.values()] for end in ("low", "high"))
    return Series(name, list(kept), means, low, high)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A table that scrolls by itself where the page is narrow; cells after the first are HTML of their own."""
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = (
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>'
        for first, *others in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{cells}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(estimate: Mapping[str, float | None], *, signed: bool = False) -> str:
    mean, low, high = (estimate[part] for part in ("mean", "low", "high"))
    if mean is None:
        return "–"
    form = "{:+.3f}" if signed else "{:.3f}"
    if low is None or high is None:
        return form.format(mean)
    return f'{form.format(mean)} <span class="range">{form.format(low)} to {form.format(high)}</span>'
