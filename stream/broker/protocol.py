"""What every broker to run on offers, whatever process is behind it."""

from types import TracebackType
from typing import Protocol, Self


class Broker(Protocol):
    """One broker on 127.0.0.1 that lives no longer than this process, however this process ends."""

    name: str
    """What runs, for people: `Apache Kafka 4.3.1`."""
    keeps_data: bool
    """Whether `restart` finds the records of before."""

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`, the same from the first `start` to `stop`. Raises BrokerError before the first `start`."""

    @property
    def pid(self) -> int | None:
        """Process id of the broker, None while it does not run."""

    def start(self) -> None:
        """Return when the broker answers a Metadata request; do nothing if it runs.

        Raises BrokerError, and leaves neither process nor file, if it cannot start.
        """

    def stop(self) -> None:
        """End the process and delete its files; safe to repeat."""

    def kill(self) -> None:
        """Crash it: SIGKILL, the files stay for `restart`."""

    def restart(self) -> None:
        """Start again at the same address after `kill`, or end it in good order and start again."""

    def __enter__(self) -> Self:
        """Start it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
