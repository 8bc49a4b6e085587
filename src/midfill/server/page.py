"""The page, and the policy that lets it run its own script and style and nothing else."""

import base64
import hashlib
import re
from importlib.resources import files


def load() -> tuple[str, str]:
    """Return the page and its Content-Security-Policy."""
    html = (files("midfill.server") / "page.html").read_text(encoding="utf-8")
    policy = (
        "default-src 'none'",
        f"script-src {_hashes('script', html)}",
        f"style-src {_hashes('style', html)}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return html, "; ".join(policy)


def _hashes(tag: str, html: str) -> str:
    blocks = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    digests = (hashlib.sha256(block.encode()).digest() for block in blocks)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
