"""Start and end of the server process."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from sonobalance.config.service import ServiceSettings
from sonobalance.deployment.check import load_verified
from sonobalance.errors import InputError
from sonobalance.progress import console
from sonobalance.service.access import Access, access_of, is_loopback
from sonobalance.service.app import make_app
from sonobalance.service.service import Service

if TYPE_CHECKING:
    from sonobalance.synthesis.generator_bundle import GeneratorBundle


def serve_bundle(bundle: Path, generator: Path | None, settings: ServiceSettings) -> int:
    """Serve until told to stop; requests in work are answered first.

    Raises:
        InputError: the bundle or generator cannot be used, or the address is taken.
        SettingsError: the address needs a token.
    """
    access = access_of(settings)
    listening = _listen(settings)
    predictor, _ = load_verified(bundle)
    made = _generator(generator) if generator else None
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    service = Service(predictor, settings, access, made)
    server = uvicorn.Server(uvicorn.Config(
        make_app(service), access_log=False, log_level="warning", server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=settings.shutdown_seconds,
        timeout_keep_alive=5, h11_max_incomplete_event_size=64 * 1024, ws="none",
    ))  # fmt: skip
    _announce(service, settings, access, listening.getsockname()[1])
    with _patient():
        server.run(sockets=[listening])
    return 0


@contextmanager
def _patient() -> Iterator[None]:
    """Let uvicorn end by itself: it raises the signals that ended it again when it has."""
    before = {n: signal.signal(n, lambda *_: None) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(settings: ServiceSettings) -> socket.socket:
    """Take the port before the model is loaded, so that a taken one is known at once."""
    listening = None
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
    except OSError as error:
        if listening is not None:
            listening.close()
        raise InputError(
            f"Expected to listen on {settings.host}:{settings.port}, but {error.strerror}; choose "
            "another --port or --host."
        ) from None
    return listening


def _generator(path: Path) -> GeneratorBundle:
    import torch  # noqa: PLC0415

    from sonobalance.synthesis.generator_bundle import open_generator_bundle  # noqa: PLC0415

    return open_generator_bundle(path, torch.device("cpu"))


def _announce(service: Service, settings: ServiceSettings, access: Access, port: int) -> None:
    console.print(service.predictor.description.notice)
    if access.digest is None and not is_loopback(settings.host):
        console.print("--insecure: everybody who reaches this address may ask.")
    shown = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104
    shown = f"[{shown}]" if ":" in shown else shown
    console.print(f"{service.name}: http://{shown}:{port}/ (page), /docs (routes); Ctrl-C ends it")
