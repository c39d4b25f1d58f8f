"""What every request passes before any code of ours looks at it: host, rate, token, number.

Plain ASGI, so that nothing is read of a request that is turned away, and one log line per request
that names the route, the status and the time: no address, no file name, no query.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sonobalance.config.service import ServiceSettings
from sonobalance.service.access import Access, is_loopback
from sonobalance.service.metrics import Metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("sonobalance.service")
OPEN = ("/", "/health", "/ready", "/docs")  # without a token, like all below /static/
API = ("/predict", "/explain", "/sample", "/model", "/generator", "/metrics", "/openapi.json")
MOST_CLIENTS = 10_000
BUSY_SECONDS = 1
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)


class Turned(Exception):  # noqa: N818 - no error: an answer
    """A request that is turned away."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


class Buckets:
    """Token buckets, one per client: `per_minute` requests, a sixth of them at once."""

    def __init__(self, per_minute: int) -> None:
        self.rate, self.burst = per_minute / 60, max(1.0, per_minute / 6)
        self.levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now: float) -> float:
        """0 when the client may ask now, else the seconds until it may."""
        if not self.rate:
            return 0.0
        level, last = self.levels.pop(client, (self.burst, now))
        level = min(self.burst, level + (now - last) * self.rate)
        allowed = level >= 1
        self.levels[client] = (level - 1 if allowed else level, now)
        while len(self.levels) > MOST_CLIENTS:
            self.levels.popitem(last=False)
        return 0.0 if allowed else (1 - level) / self.rate


class Gate:
    """The outermost layer: no error passes it, for a message may quote an upload."""

    def __init__(
        self, app: App, settings: ServiceSettings, access: Access, metrics: Metrics
    ) -> None:
        self.app, self.access, self.metrics = app, access, metrics
        self.buckets = Buckets(settings.requests_per_minute)
        self.most, self.working = settings.max_requests, 0
        self.local_only = is_loopback(settings.host) and access.digest is None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begin, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        self.working += 1
        try:
            self._check(scope)
            await self.app(scope, receive, noting)
        except Turned as turned:
            await answer(noting, turned)
        except Exception as error:  # noqa: BLE001 - was answered; the server would log its message
            log.error("unexpected %s", type(error).__name__)
        finally:
            self.working -= 1
            seconds = time.perf_counter() - begin
            route = route_of(scope["path"])
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.latency.labels(route).observe(seconds)
            log.info("%s %s %d %.0f ms", _method(scope), route, status, 1000 * seconds)

    def _check(self, scope: Scope) -> None:
        path, headers = scope["path"], dict(scope["headers"])
        if self.local_only and not _names_this_machine(headers.get(b"host", b"")):
            raise Turned(421, "This service answers requests to this machine only.")
        if path in OPEN or path.startswith("/static/"):
            return
        client = scope["client"][0] if scope.get("client") else ""
        wait = self.buckets.take(client, time.monotonic())
        if wait:
            raise Turned(429, "Too many requests; slow down.", retry(wait))
        if not self.access.allows(headers.get(b"authorization", b"").decode("latin-1")):
            raise Turned(401, "Expected the token of this service.", {"WWW-Authenticate": "Bearer"})
        if self.working > self.most:
            raise Turned(503, "Too many requests in work; try again.", retry(BUSY_SECONDS))


def retry(seconds: float) -> dict[str, str]:
    """The header that says when to try again."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def route_of(path: str) -> str:
    """The route of a path, so that nothing that a client wrote reaches a log or a metric."""
    if path.startswith("/static/"):
        return "/static"
    return path if path in OPEN or path in API else "other"


def _method(scope: Scope) -> str:
    known = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH")
    return scope["method"] if scope["method"] in known else "other"


def _names_this_machine(host: bytes) -> bool:
    """Whether a Host header names the loopback: a page of another name that resolves here fails."""
    name = host.decode("latin-1").lower()
    name = name[1 : name.find("]")] if name.startswith("[") else name.partition(":")[0]
    return is_loopback(name)


async def answer(send: Send, turned: Turned) -> None:
    """Send a refusal as JSON."""
    body = json.dumps({"detail": turned.detail}).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    pairs = [(k.lower().encode(), v.encode()) for k, v in (headers | turned.headers).items()]
    await send({"type": "http.response.start", "status": turned.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
