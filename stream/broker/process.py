"""A broker as a child process: where it lives, how it becomes ready and how it ends."""

import atexit
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from schemas.errors import BrokerError

HOST = "127.0.0.1"
# Below the range that outgoing connections draw from: a client that keeps dialing a dead broker's port could otherwise
# be given that very port as its own, connect to itself, and keep the broker from coming back.
_PORTS = range(20_000, 30_000)
# A JVM on a busy two-core machine; usual is 3 s.
_READY_TIMEOUT_S = 60.0
# Kafka writes its logs out on SIGTERM, usually within 2 s.
_STOP_TIMEOUT_S = 15.0
_DELETED_WITHIN_S = 120.0


def free_port(*, other_than: int = 0) -> int:
    """A port of 127.0.0.1 that nobody listens on. Raises BrokerError if all are taken."""
    first = (os.getpid() * 37) % len(_PORTS)  # processes that start at once look in different places
    for step in range(len(_PORTS)):
        port = _PORTS[(first + step) % len(_PORTS)]
        if port != other_than and is_free(port):
            return port
    raise BrokerError(f"no free port on {HOST} between {_PORTS.start} and {_PORTS.stop}: stop what listens there")


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


class BrokerProcess(ABC):
    """The part of a `Broker` that all implementations share: a child process in a session and a directory of its own.

    `port` 0 picks a free one.
    """

    name: str
    keeps_data: bool

    def __init__(self, *, port: int = 0) -> None:
        self._wanted_port = port
        self._port = 0
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._undertaker: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _prepare(self, directory: Path, port: int) -> None:
        """Write into the new `directory` what the process needs. Raises BrokerError."""

    @abstractmethod
    def _command(self, directory: Path, port: int) -> tuple[list[str], Mapping[str, str]]:
        """The command line, starting with an absolute path, and the environment."""

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` of the broker. Raises BrokerError before the first `start`."""
        if not self._port:
            raise BrokerError(f"{self.name} has no address yet: start it first")
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id of the broker, None while it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start and wait until it answers. Raises BrokerError, after cleaning up, if it cannot."""
        if self.pid is not None:
            return
        atexit.register(self.stop)
        try:
            if self._directory is None:
                port = self._wanted_port or free_port()
                self._directory = Path(tempfile.mkdtemp(prefix="fewstep-broker-"))
                self._undertaker = _engage_undertaker(self._directory)
                self._prepare(self._directory, port)
                self._port = port
            self._launch(self._directory, self._port)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process, by force if it does not listen, and delete its files; safe to repeat."""
        try:
            self._end(signal.SIGTERM)
        finally:  # a second Ctrl-C while waiting must not leave anything either
            self._end(signal.SIGKILL)
            if self._undertaker is not None and self._undertaker.stdin is not None:
                self._undertaker.stdin.close()
                self._undertaker.wait(_DELETED_WITHIN_S)
            self._undertaker = self._directory = None
            self._port = 0
            atexit.unregister(self.stop)

    def kill(self) -> None:
        """SIGKILL; the files stay."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """End the process if it runs, then start it on the same port and directory."""
        if self._directory is None:
            raise BrokerError(f"{self.name} cannot restart: it was not started")
        self._end(signal.SIGTERM)
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, directory: Path, port: int) -> None:
        if not is_free(port):
            raise BrokerError(f"{self.name} cannot listen on {HOST}:{port}: stop what holds the port or take another")
        command, environment = self._command(directory, port)
        with (directory / "output.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us only; we end it once the clients are done
            )
        self._tell_undertaker(self._process.pid)
        self._wait_until_ready(directory, port)

    def _wait_until_ready(self, directory: Path, port: int) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while time.monotonic() < deadline:
            process = self._process
            if process is None or process.poll() is not None:
                raise BrokerError(f"{self.name} ended while starting: {_last_line(directory)}")
            if not is_free(port) and _answers(port):
                return
            time.sleep(0.05)
        raise BrokerError(f"{self.name} did not answer on {HOST}:{port} within {_READY_TIMEOUT_S:.0f} s")

    def _end(self, signal_number: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):  # it has already ended: only the zombie is left to reap
            os.killpg(process.pid, signal_number)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(_STOP_TIMEOUT_S)
        self._process = None
        self._tell_undertaker(0)

    def _tell_undertaker(self, group: int) -> None:
        if self._undertaker is not None and self._undertaker.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # somebody killed it: we still end the broker ourselves
                self._undertaker.stdin.write(b"%d\n" % group)
                self._undertaker.stdin.flush()


def _engage_undertaker(directory: Path) -> subprocess.Popen[bytes]:
    """A process that outlives this one, ends what is left of the broker and deletes its files."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(__file__).with_name("undertaker.py")), str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _answers(port: int) -> bool:
    """Whether a Metadata request is answered: a TCP connect alone succeeds before the broker is of use."""
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    logger = logging.getLogger("kafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # failing is what we expect here
    try:
        client = KafkaAdminClient(bootstrap_servers=f"{HOST}:{port}", bootstrap_timeout_ms=1000)
    except KafkaError:
        return False
    finally:
        logger.setLevel(level)
    try:
        client.describe_topics()
    except KafkaError:
        return False
    finally:
        client.close()
    return True


def _last_line(directory: Path) -> str:
    lines = (directory / "output.log").read_text(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:300] if said else "it said nothing"
