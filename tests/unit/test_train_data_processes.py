"""The processes that make blocks: they end with their parent, and their death is told."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from midfill.config.train import BatchConfig, DataConfig, SourceConfig
from midfill.errors import ResourceError
from midfill.train.data import Data
from token_shards import byte_tokenizer, document, write_token_shards

PROGRAM = """
import multiprocessing, sys
from pathlib import Path
from midfill.config.train import BatchConfig, DataConfig, SourceConfig
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.train.data import Data

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    source = SourceConfig(path=str(folder))
    config = DataConfig(sources=(source,), length=16, block_tokens=300, workers=2)
    tokenizer = Tokenizer.from_folder(folder / "tokenizer")
    for step, _ in Data.open(config, BatchConfig(sequences=2), 0, tokenizer).prefetch(0):
        if step == 3:
            print(*(one.pid for one in multiprocessing.active_children()), flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = byte_tokenizer(tmp_path / "tokenizer")
    ids = [document(tokenizer, f"document {i}") for i in range(900)]
    return write_token_shards(tmp_path, ids, vocabulary=tokenizer.rows)


def gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether a process ends in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_killed_process_is_told(folder: Path):
    tokenizer = byte_tokenizer(folder / "tokenizer")
    config = DataConfig(
        sources=(SourceConfig(path=str(folder)),), length=16, block_tokens=300, workers=1
    )
    batches = Data.open(config, BatchConfig(sequences=2), 0, tokenizer).prefetch(0)
    next(batches)
    (process,) = multiprocessing.active_children()
    process.kill()
    with pytest.raises(ResourceError, match="was killed"):
        for _ in batches:
            pass
    assert not multiprocessing.active_children()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_their_parent(folder: Path, tmp_path: Path, sign: signal.Signals):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, program, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        try:
            assert parent.stdout is not None
            workers = [int(pid) for pid in parent.stdout.readline().split()]
            assert len(workers) == 2
            if sign == signal.SIGINT:
                os.killpg(parent.pid, sign)  # as a terminal does
            else:
                parent.kill()
            _, said = parent.communicate(timeout=30)
        finally:
            parent.kill()
    assert all(map(gone, workers))
    if sign == signal.SIGINT:
        assert said.count("Traceback") == 1
        assert said.rstrip().endswith("KeyboardInterrupt")
