"""Settings of the HTTP service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from sonobalance.config.section import Section


class ServiceSettings(Section):
    """Address, access and limits of `serve`; these are no settings of a run."""

    host: str = Field("127.0.0.1", description="Address to listen on; others need a token.")
    port: int = Field(8000, ge=0, le=65535, description="Port; 0 takes a free one.")
    token_file: Path | None = Field(
        None, description="File with the token; without it, the variable SONOBALANCE_TOKEN."
    )
    insecure: bool = Field(
        False, description="Listen on other addresses than this machine's without a token."
    )
    max_upload_mib: float = Field(16.0, gt=0, le=1024, description="Largest upload, MiB.")
    max_megapixels: float = Field(20.0, gt=0, le=100, description="Largest image, megapixels.")
    upload_seconds: float = Field(30.0, gt=0, le=600, description="Longest time of an upload.")
    decode_seconds: float = Field(10.0, gt=0, le=600, description="Longest time of a decoding.")
    decoders: int = Field(2, ge=1, le=64, description="Processes that decode images.")
    decoder_memory_mib: int = Field(
        2048, ge=256, le=65536, description="Most memory a decoding process may take, MiB."
    )
    max_requests: int = Field(
        64, ge=1, le=4096, description="Requests in work at a time; more get 503."
    )
    requests_per_minute: int = Field(
        1200, ge=0, description="Requests of one client per minute; more get 429; 0 is no limit."
    )
    queue_size: int = Field(32, ge=1, le=4096, description="Images that may wait; more get 503.")
    batch_size: int = Field(8, ge=1, le=256, description="Most images of a forward pass.")
    batch_wait_ms: float = Field(
        2.0, ge=0, le=1000, description="How long a forward pass waits for more images."
    )
    shutdown_seconds: int = Field(
        30, ge=1, le=600, description="How long requests in work may take to end at shutdown."
    )
    max_samples: int = Field(16, ge=1, le=256, description="Most synthetic images of a request.")
