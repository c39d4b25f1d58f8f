"""Who may ask: this machine alone, or whoever knows the token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from dataclasses import dataclass

from sonobalance.config.service import ServiceSettings
from sonobalance.errors import InputError, SettingsError

VARIABLE = "SONOBALANCE_TOKEN"
SHORTEST = 16


@dataclass(frozen=True)
class Access:
    """The digest of the token, or None where none is asked for; the token itself is not kept."""

    digest: bytes | None

    def allows(self, authorization: str) -> bool:
        """Whether an `Authorization` header carries the token; takes the same time for any."""
        if self.digest is None:
            return True
        scheme, _, given = authorization.partition(" ")
        found = hashlib.sha256(given.strip().encode("utf-8", "replace")).digest()
        return hmac.compare_digest(found, self.digest) and scheme.lower() == "bearer"


def access_of(settings: ServiceSettings) -> Access:
    """The access that these settings and the environment mean.

    Raises:
        SettingsError: another address than this machine's without a token or `--insecure`.
        InputError: the token cannot be read or is too short.
    """
    token = _token(settings)
    if token is None:
        if not is_loopback(settings.host) and not settings.insecure:
            raise SettingsError(
                f"Expected a token to listen on {settings.host}: set {VARIABLE} or --token-file, "
                "or spell out --insecure to let everybody in."
            )
        return Access(None)
    if len(token) < SHORTEST:
        raise InputError(
            f"Expected a token of at least {SHORTEST} characters; `openssl rand -hex 32` makes one."
        )
    return Access(hashlib.sha256(token.encode()).digest())


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _token(settings: ServiceSettings) -> str | None:
    if settings.token_file is None:
        return os.environ.get(VARIABLE, "").strip() or None
    try:
        return settings.token_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise InputError(
            f"Expected a text file with the token at {settings.token_file}, but it cannot be read."
        ) from None
