"""What the demo shows of single users: the events that came, and what they did to the list."""

from collections.abc import Mapping, Sequence

import orjson
from rich.table import Table
from rich.text import Text

from schemas import Recommendation, RecommendedItem
from stream.clients.event_file import FileEvent

SHOWN = 5


def plain_table(title: str, *, expand: bool = False) -> Table:
    """A table without lines: with them the measures would not fit into the 80 columns of a terminal."""
    return Table(
        title=f"\n{title}", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=expand
    )


def user_table(
    user: str, events: Sequence[FileEvent], start: Recommendation, adapted: Recommendation, titles: Mapping[str, str]
) -> Table:
    """The support events of one user, the list before them, and the list after them with what moved each item."""
    table = plain_table(f"user {user}", expand=True)
    table.add_column("what the user did", ratio=3)
    table.add_column("list before", ratio=3)
    table.add_column("list after", ratio=3)
    table.add_column("because of", ratio=4)
    seen = {orjson.loads(event.value)["item_id"] for event in events}
    before = [item.item_id for item in start.items if item.item_id not in seen]
    for row in range(SHOWN):
        table.add_row(
            _event(events[row], titles) if row < len(events) else "",
            titles.get(before[row], before[row]) if row < len(before) else "",
            *_after(adapted.items[row], before, titles) if row < len(adapted.items) else ("", ""),
        )
    return table


def _event(event: FileEvent, titles: Mapping[str, str]) -> str:
    what = orjson.loads(event.value)
    value = f" {what['value']:g}" if what.get("value") is not None else ""
    return f"{what['event_type']}{value}: {titles.get(what['item_id'], what['item_id'])}"


def _after(item: RecommendedItem, before: Sequence[str], titles: Mapping[str, str]) -> tuple[Text, str]:
    title = titles.get(item.item_id, item.item_id)
    place = before.index(item.item_id) if item.item_id in before else None
    moved = "new" if place is None else f"was {place + 1}"
    reasons = ", ".join(
        f"{titles.get(reason.item_id, reason.item_id)} {reason.contribution:+.2f}" for reason in item.reasons[:2]
    )
    return Text.assemble(title, (f"  {moved}", "bold green" if place is None else "dim")), reasons
