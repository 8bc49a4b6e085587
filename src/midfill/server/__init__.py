"""The APIs and the page: HTTP in front of one or two models on one machine."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from midfill.server.app import create_app as create_app
    from midfill.server.run import serve as serve

__all__ = ["create_app", "serve"]


def __getattr__(name: str) -> Any:  # PEP 562: fastapi is imported at the first use, not before
    if name == "create_app":
        from midfill.server.app import create_app

        return create_app
    if name == "serve":
        from midfill.server.run import serve

        return serve
    raise AttributeError(f"module 'midfill.server' has no attribute {name!r}")
