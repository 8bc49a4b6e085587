"""midfill: the whole life of a code model. `midfill.load(name)` gives one you can talk to."""

from typing import TYPE_CHECKING, Any

from midfill.version import __version__

if TYPE_CHECKING:
    from midfill.engine.load import load as load
    from midfill.engine.text import Coder as Coder

__all__ = ["Coder", "__version__", "load"]


def __getattr__(name: str) -> Any:  # PEP 562: torch is imported at the first use, not before
    if name in ("Coder", "load"):
        from midfill.engine import load

        return getattr(load, name)
    raise AttributeError(f"module 'midfill' has no attribute {name!r}")
