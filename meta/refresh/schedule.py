"""When to refresh: once, every so often, or when a worker asks for it."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic, sleep

from pydantic import ValidationError

from meta import ledger
from meta.refresh.report import Report
from meta.refresh.run import Order, Tell, refresh
from meta.refresh.topic import Positions, reading
from meta.store import open_store
from schemas import RefreshRequest, Role, topic_name
from schemas.errors import ConfigurationError, FewstepError

_LOOK_EVERY_S = 5.0
"""Between two looks at the refresh requests: nothing beside a training of minutes, and no load on the broker."""
_RETRY_S = 60.0
"""After a run that failed, before the next occasion: a broker that is away comes back in a minute or so."""
_LONGEST_S = 3600.0
"""Between two runs for one request."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_CHUNK = 1000


def seconds_of(text: str) -> float:
    """Seconds of a time such as 90s, 30m, 6h or 1d. Raises ConfigurationError for anything else."""
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found is None or int(found[1]) == 0:
        raise ConfigurationError(f"--every {text} is no time: write a number and s, m, h or d, such as 6h")
    return float(int(found[1]) * _UNITS[found[2]])


def refresh_once(order: Order, tell: Tell) -> tuple[Report, str]:
    """Run now; see `meta.refresh.run.refresh`."""
    return refresh(order, datetime.now(UTC), tell)


def keep_fresh(
    order: Order,
    tell: Tell,
    show: Callable[[Report, str], None],
    *,
    every_s: float | None,
    on_drift: bool,
) -> None:
    """Run now, then again when it is time or somebody asks, until the process is ended.

    A run that is refused or fails is told in one line and does not end it. A request stays open until another version
    is served: a drift is noticed before there is enough to learn from. So what published nothing is run again after as
    long as the runs for that request took together.
    """
    seen: Positions = {}
    wanting: str | None = None
    spent = 0.0
    while True:
        started = monotonic()
        if _failed(order, tell, show):
            sleep(_RETRY_S)
        spent += monotonic() - started
        again = monotonic() + min(_LONGEST_S, max(_LOOK_EVERY_S, spent))
        while every_s is None or monotonic() < started + every_s:
            try:
                if on_drift and (version := asked(order, seen, tell)):
                    wanting, spent = version, 0.0
                    break
                if wanting and monotonic() >= again and _served(order) == wanting:
                    tell(f"{wanting} is still to be replaced")
                    break
            except FewstepError as error:
                tell(" ".join(str(error).split()))
            sleep(_LOOK_EVERY_S if every_s is None else min(_LOOK_EVERY_S, max(0.0, started + every_s - monotonic())))


def _failed(order: Order, tell: Tell, show: Callable[[Report, str], None]) -> bool:
    """Run once; whether something is wrong. A refusal is an answer."""
    try:
        show(*refresh_once(order, tell))
    except FewstepError as error:
        tell(" ".join(str(error).split()))
        return error.exit_code != 3
    return False


def _served(order: Order) -> str | None:
    newest = ledger.head(open_store(order.model_store), order.model)
    return None if newest is None else newest.version


def asked(order: Order, seen: Positions, tell: Tell) -> str | None:
    """The version that is served if a request for a better one has come; `seen` moves behind those that were looked at.

    A request for another version was made before that one was replaced: it is answered already. Raises BrokerError.
    """
    served = _served(order)
    wanted = None
    with reading(order.kafka, topic_name(Role.REFRESH_REQUESTS, order.kafka.topic_prefix), seen) as reader:
        while records := reader.take(_CHUNK):
            for record in records:
                try:
                    request = RefreshRequest.model_validate_json(record.value or b"")
                except ValidationError:
                    continue
                if request.model == order.model and request.model_version == served:
                    tell(f"asked for: {request.reason}")
                    wanted = served
        seen.update(reader.positions)
    return wanted
