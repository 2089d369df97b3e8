"""Probes and metrics over HTTP, from a thread with an event loop of its own: a blocked worker still answers.

Three paths and nothing else: /live and /ready for whoever can reach the port, /metrics for the bearer of the token.
"""

import asyncio
import hmac
import threading
from collections.abc import Callable
from concurrent.futures import Future
from ipaddress import ip_address
from time import monotonic

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from schemas.errors import ConfigurationError
from stream.settings import WebSettings

REQUESTS_PER_S = 20.0
REQUESTS_AT_ONCE = 40
"""A probe or a scrape asks once in seconds; who asks more often than this gets 429."""


class Bucket:
    """A token bucket over all clients."""

    def __init__(self, *, rate: float, size: int, clock: Callable[[], float] = monotonic) -> None:
        self._rate, self._size, self._clock = rate, size, clock
        self._left, self._at = float(size), clock()

    def take(self) -> bool:
        """Whether one more request is served now."""
        now = self._clock()
        self._left, self._at = min(self._size, self._left + (now - self._at) * self._rate), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def make_site(
    settings: WebSettings,
    *,
    registry: CollectorRegistry,
    is_live: Callable[[], bool],
    obstacle: Callable[[], str | None],
) -> web.Application:
    """The three paths. `obstacle` says why the worker is not ready, None if it is."""

    async def live(_: web.Request) -> web.StreamResponse:
        alive = is_live()
        return web.json_response({"live": alive}, status=200 if alive else 503)

    async def ready(_: web.Request) -> web.StreamResponse:
        reason = obstacle()
        return web.json_response({"ready": reason is None, "reason": reason}, status=200 if reason is None else 503)

    async def metrics(request: web.Request) -> web.StreamResponse:
        _require_token(request, settings)
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    bucket = Bucket(rate=REQUESTS_PER_S, size=REQUESTS_AT_ONCE)
    site = web.Application(middlewares=[_bounded(bucket)], client_max_size=1)
    for path, handler in (("/live", live), ("/ready", ready), ("/metrics", metrics)):
        site.router.add_get(path, handler)
    return site


def _bounded(bucket: Bucket) -> Middleware:
    @web.middleware
    async def bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not bucket.take():
            raise web.HTTPTooManyRequests
        if request.can_read_body:
            raise web.HTTPRequestEntityTooLarge(max_size=0, actual_size=request.content_length or 1)
        return await handler(request)

    return bounded


def _require_token(request: web.Request, settings: WebSettings) -> None:
    if settings.token is None:
        if not _is_loopback(settings.bind):
            raise web.HTTPForbidden(text="set FEWSTEP_WEB__TOKEN to read metrics beyond the loopback")
        return
    wanted = f"Bearer {settings.token.get_secret_value()}".encode()
    given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(given, wanted):
        raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def serve_site(site: web.Application, settings: WebSettings) -> None:
    """Serve from a daemon thread; returns once it listens. Raises ConfigurationError if it cannot."""
    listening: Future[None] = Future()

    async def run() -> None:
        runner = web.AppRunner(site, access_log=None, keepalive_timeout=15)
        try:
            await runner.setup()
            await web.TCPSite(runner, settings.bind, settings.port).start()
        except OSError as error:
            listening.set_exception(error)
            return
        listening.set_result(None)
        await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(run()), name="web", daemon=True).start()
    try:
        listening.result()
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {settings.bind}:{settings.port} ({error.strerror}): correct --web-port or web.bind"
        ) from error
