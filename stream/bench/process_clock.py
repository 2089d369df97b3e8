"""CPU time and peak memory of a running process, asked of the kernel while it works."""

import threading
from pathlib import Path
from time import clock_gettime, time
from typing import Self

import numpy as np

from schemas.errors import ConfigurationError

INTERVAL_S = 0.005


def require_linux() -> None:
    """Raise ConfigurationError where the system has no /proc to read from."""
    if not Path("/proc/self/stat").exists():
        raise ConfigurationError(
            "fewstep bench reads CPU time and memory from /proc, which is missing: run it on Linux"
        )


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process so far. Raises OSError if it has ended."""
    # The process's CPU clock, clock_getcpuclockid(3): nanoseconds, where /proc/PID/stat has hundredths of a second.
    return clock_gettime((~pid << 3) | 2)


def peak_mib(pid: int) -> float:
    """Largest resident memory of a process so far, in MiB. Raises OSError if it has ended."""
    return _memory_mib(pid, "VmHWM:")


def resident_mib(pid: int) -> float:
    """Resident memory of a process now, in MiB. Raises OSError if it has ended."""
    return _memory_mib(pid, "VmRSS:")


def _memory_mib(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} has ended")


class CpuSamples:
    """Reads a process's CPU time every few milliseconds in a thread, so that any stretch can be cut out later."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="cpu-samples", daemon=True)
        self._at: list[float] = []
        self._cpu: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def between(self, began: float, ended: float) -> float:
        """CPU seconds used between two wall-clock times, interpolated between samples."""
        first, last = np.interp([began, ended], self._at, self._cpu)
        return float(last - first)

    def _sample(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            try:
                cpu = cpu_seconds(self._pid)
            except OSError:  # it has ended; whoever waits for it finds out why
                return
            self._at.append(time())
            self._cpu.append(cpu)
