"""Everything that comes out of the recommendations topic, captured while it comes."""

import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Self

import orjson

from schemas import KafkaSettings, Recommendation
from schemas.errors import FewstepError
from stream.clients.connect import open_consumer

POLL_MS = 100


class Inbox:
    """Reads the topic from its beginning in a thread; writes the values to a JSON Lines file as they are."""

    def __init__(self, kafka: KafkaSettings, topic: str, capture: Path, *, most_support: int) -> None:
        self._kafka, self._topic, self._capture, self._most_support = kafka, topic, capture, most_support
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="inbox", daemon=True)
        self.n_lists = 0
        self.lists: dict[str, dict[int, Recommendation]] = {}
        """By user and support size, up to `most_support` events."""
        self.applied: dict[tuple[str, int], int] = {}
        """Newest input offset that a list included, per topic and partition."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(timeout=5)

    def wait_until(
        self, reached: Callable[[], bool], *, timeout_s: float, what: str, check: Callable[[], None]
    ) -> None:
        """Wait until `reached()`; `check` may raise meanwhile. Raises FewstepError when time is up."""
        deadline = monotonic() + timeout_s
        with self._changed:
            while not reached():
                check()
                if self._error is not None:
                    raise self._error
                if monotonic() > deadline:
                    raise FewstepError(f"{what} did not arrive within {timeout_s:.0f} s; see the worker's log")
                self._changed.wait(timeout=0.2)

    def _read(self) -> None:
        try:
            with (
                open_consumer(self._kafka, self._topic, from_beginning=True) as consumer,
                self._capture.open("wb") as file,
            ):
                while not self._stopping.is_set():
                    for records in consumer.poll(timeout_ms=POLL_MS).values():
                        for record in records:
                            file.write((b"null" if record.value is None else record.value) + b"\n")
                        with self._changed:
                            self._take([record.value for record in records if record.value is not None])
                            self._changed.notify_all()
                    file.flush()
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            self._error = error

    def _take(self, values: list[bytes]) -> None:
        for value in values:
            found = orjson.loads(value)
            source = found["source"]
            at = (source["topic"], source["partition"])
            self.applied[at] = max(self.applied.get(at, -1), source["offset"])
            self.n_lists += 1
            if found["support_size"] <= self._most_support:
                own = self.lists.setdefault(found["user_id"], {})
                own[found["support_size"]] = Recommendation.model_validate(found)
