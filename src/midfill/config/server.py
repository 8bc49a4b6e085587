"""Where the server listens and how much it takes on."""

from dataclasses import dataclass

from midfill.config.fields import INF, check_fields
from midfill.errors import ConfigError

LIMITS = {  # smallest and largest value of each number in ServerConfig
    "port": (0, 65535),  # 0: any free one
    "max_batch": (1, INF),  # with none no request would ever begin
    "max_queue": (0, INF),
    "max_body": (1, INF),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """One process that serves one model, or two when chat has its own. Bad values: ConfigError."""

    host: str = "127.0.0.1"
    port: int = 8000
    api_keys: tuple[str, ...] = ()  # empty: no key is asked, only loopback may be bound
    max_batch: int = 8  # requests that generate at the same time
    max_queue: int = 64  # requests that wait; one more is answered 429
    max_body: int = 8 * 1024 * 1024  # bytes of one request
    log_requests: bool = True  # one line per request: numbers, never text

    def __post_init__(self) -> None:
        """Refuse what cannot be honoured, naming the field."""
        check_fields(self, LIMITS)
        keys = self.api_keys
        if isinstance(keys, str) or not all(key.isascii() and key.split() == [key] for key in keys):
            raise ConfigError(
                "an API key is empty, or holds blanks or characters that are not ASCII",
                why="no client could send it in a header, and an empty one lets everybody in",
                fix="give keys of letters, digits and signs",
            )
