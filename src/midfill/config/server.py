"""Where the server listens and how much it takes on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """One process that serves one model, or two when chat has its own."""

    host: str = "127.0.0.1"
    port: int = 8000
    api_keys: tuple[str, ...] = ()  # empty: no key is asked, only loopback may be bound
    max_batch: int = 8  # requests that generate at the same time
    max_queue: int = 64  # requests that wait; one more is answered 429
    max_body: int = 8 * 1024 * 1024  # bytes of one request
