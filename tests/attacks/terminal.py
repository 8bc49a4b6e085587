"""A supervisor with a controlling terminal: judges $ATTACK, and says on a descriptor what came of it."""

import json
import os
import sys

from midfill.sandbox import Sandbox


def main(level: str, answer: int) -> None:
    """Run it sealed, and in a box where there are boxes."""
    program = os.environ["ATTACK"]
    assert os.isatty(0)
    with Sandbox(1, level=level) as sandbox:  # type: ignore[arg-type]
        said = sandbox.judge(f"{program}\ndef f(): return 1", "assert f() == 1").output
        if level != "C-strict":
            with sandbox.box({"attack.py": program.encode()}) as box:
                said += box.run((box.worker.python, "attack.py")).stdout.decode()
    os.write(answer, json.dumps({"output": said}).encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
