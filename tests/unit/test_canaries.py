"""The canaries themselves: where nothing stops them, each must get through, or it proves nothing."""

import os
import subprocess
import sys

from midfill.sandbox.canaries import _FORBIDDEN, _PROGRAM, _targets

ROOT_ONLY = {"mounted"}
# What is mounted is seen by nobody else: a mount namespace of its own, and no propagation.
ASIDE = "libc = ctypes.CDLL(None); libc.unshare(0x20000); libc.mount(b'none', b'/', None, 0x44000, None)"


def test_every_canary_gets_through_where_nothing_stops_it():
    show = f"for name in {_FORBIDDEN!r}:\n    print(name * attempt(name))\n"
    with _targets() as names:
        ran = subprocess.run(
            [sys.executable, "-c", f"import ctypes\n{ASIDE}\n{names}{_PROGRAM}\n{show}"],
            capture_output=True,
            text=True,
            timeout=50,
        )
    through = set(ran.stdout.split())
    wanted = set(_FORBIDDEN) - (set() if os.getuid() == 0 else ROOT_ONLY)
    assert through >= wanted, (wanted - through, ran.stderr)
