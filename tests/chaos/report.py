"""What a run has found, as JSON and as text."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaos.gauges import BLOCK_S, WARM_UP_S


def write_report(folder: Path, found: dict[str, Any]) -> str:
    """Write report.json and report.txt; gives the text."""
    text = _as_text(found)
    (folder / "report.json").write_text(json.dumps(found, indent=1))
    (folder / "report.txt").write_text(text)
    return text


def _as_text(found: dict[str, Any]) -> str:
    verdict, verify = found["verdict"], found["verdict"]["verify"]
    lines = [
        f"chaos, seed {found['seed']}, {found['minutes']:g} minutes on {found['broker']}, {found['delivery']}, "
        f"{found['store']}: " + ("0 differences" if not found["wrong"] else f"WRONG: {', '.join(found['wrong'])}"),
        f"sent      {_counts(found['sent'])}",
        f"faults    {_counts(found['faults'])}; {found['bundles']} bundles published",
        f"exits     {_counts(found['exits']) or 'none'}",
        f"users     {verdict['users']}: {verdict['users_with_wrong_rows']} wrong rows, "
        f"{verdict['users_with_wrong_lists']} wrong last lists, {verdict['users_with_an_old_model']} with an old model",
        f"lists     {verdict['lists']}, {verdict['lists_repeated']} repeated, "
        f"{verdict['lists_repeated_with_other_content']} of them with other content",
        f"letters   {verdict['letters']} ({_counts(verdict['letters_by_reason'])}), {verdict['letters_repeated']} "
        f"repeated, {verdict['letters_missing']} missing, {verdict['letters_unexpected']} unexpected",
        f"verify    {verify['lists']} lists: {verify['verified']} computed again, {len(verify['differences'])} differ, "
        f"{sum(verify['unchecked'].values())} not to be checked",
    ]
    lines += [
        f"worker {one['worker']}  {one['processes']} processes, at most {one['rss_mib']:.0f} MiB and "
        f"{one['handles']} handles"
        for one in found["peaks"]
    ]
    lines += [
        f"worker {one['worker']}  for {one['minutes']:.1f} min after its warm-up of {WARM_UP_S:.0f} s: "
        f"{one['rss_mib']:.0f} MiB, {_slope(one['rss'])} a minute; {one['handles']} handles, "
        f"{_slope(one['handle'])} a minute; {one['threads']} threads"
        for one in found["trends"]
    ]
    lines.append(
        f"(slopes: least squares over means of {BLOCK_S:.0f} s, with 95 % intervals; a process that ends before "
        f"{2 * WARM_UP_S:.0f} s has none)"
    )
    return "\n".join(lines) + "\n"


def _slope(slope: Sequence[float]) -> str:
    per_minute, margin = slope
    return f"{per_minute:+.2f} [{per_minute - margin:+.2f} {per_minute + margin:+.2f}]"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
