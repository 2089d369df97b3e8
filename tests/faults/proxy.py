"""A Kafka-aware proxy in front of a broker: delays or cuts chosen answers, or loses requests, of those behind it.

It reads the frames of the protocol (size; a request begins with api key, version and correlation id, an answer with the
correlation id) and nothing else. Answers that name the broker's address, host and port side by side, are given the
proxy's port instead, which has the same size on the wire; so clients stay with the proxy.
"""

import asyncio
import contextlib
import random
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deployment import Deployment

from stream.broker import Broker

_HOST = "127.0.0.1"
_SIZE = struct.Struct(">i")
_REQUEST = struct.Struct(">hhi")


class Api(IntEnum):
    """Requests that faults are made for, by their api key."""

    PRODUCE = 0
    FETCH = 1
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    JOIN_GROUP = 11


_APIS = {api.value: api for api in Api}


class FaultProxy:
    """Runs in a thread of its own while entered; `delays`, `cuts` and `losses` may be changed at any time."""

    def __init__(self, broker: str, *, seed: int = 0) -> None:
        self._target = int(broker.rpartition(":")[2])
        self._rng = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._port = 0
        self.delays: dict[Api, tuple[float, float]] = {}
        """Each answer of this kind is held back for a time between these two, in seconds."""
        self.cuts: Counter[Api] = Counter()
        """So many answers of this kind are still to be lost: the broker has acted, the connection closes instead."""
        self.losses: Counter[Api] = Counter()
        """So many requests of this kind are still to be lost: the broker never hears of them, the connection closes."""
        self.done: Counter[str] = Counter()
        """What was done so far: `delayed PRODUCE`, `cut FETCH`, `lost PRODUCE`, ..."""

    @property
    def bootstrap_servers(self) -> str:
        """The proxy's address."""
        return f"{_HOST}:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, _HOST, 0)

    async def _close(self) -> None:
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked: dict[int, int] = {}
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, OSError):
            back, forth = await asyncio.open_connection(_HOST, self._target)
            try:
                # Whichever side ends first ends the other.
                ways = [
                    asyncio.create_task(self._requests(reader, forth, asked)),
                    asyncio.create_task(self._answers(back, writer, asked)),
                ]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            finally:
                forth.close()
                writer.close()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[int, int]
    ) -> None:
        while True:
            frame = await _frame(reader)
            key, _, correlation = _REQUEST.unpack_from(frame)
            api = _APIS.get(key)
            if api is not None and self.losses[api] > 0:
                self.losses[api] -= 1
                self.done[f"lost {api.name}"] += 1
                return
            asked[correlation] = key
            writer.write(_SIZE.pack(len(frame)) + frame)
            await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[int, int]) -> None:
        while True:
            frame = await _frame(reader)
            key = asked.pop(_SIZE.unpack_from(frame)[0])
            api = _APIS.get(key)
            if api is not None and self.cuts[api] > 0:
                self.cuts[api] -= 1
                self.done[f"cut {api.name}"] += 1
                return
            if api is not None and api in self.delays:
                self.done[f"delayed {api.name}"] += 1
                await asyncio.sleep(self._rng.uniform(*self.delays[api]))
            ours = frame.replace(self._address(self._target), self._address(self._port))
            writer.write(_SIZE.pack(len(ours)) + ours)
            await writer.drain()

    @staticmethod
    def _address(port: int) -> bytes:
        return _HOST.encode() + _SIZE.pack(port)


async def _frame(reader: asyncio.StreamReader) -> bytes:
    (size,) = _SIZE.unpack(await reader.readexactly(_SIZE.size))
    return await reader.readexactly(size)


@contextlib.contextmanager
def behind_a_proxy(
    broker: Broker, prefix: str, folder: Path, **options: Any
) -> Iterator[tuple[FaultProxy, Deployment]]:
    """A proxy and one worker behind it that is ready; `options` are the deployment's."""
    with (
        FaultProxy(broker.bootstrap_servers) as proxy,
        Deployment(broker, prefix, folder, servers=proxy.bootstrap_servers, **options) as deployment,
    ):
        deployment.start_worker()
        deployment.wait_for_log("ready:")
        yield proxy, deployment
