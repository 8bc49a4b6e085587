"""The whole life of a small model, on a clock too short for it to learn much."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from midfill.lifecycle.snippets import SNIPPETS


def lived(out: Path, sources: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "midfill.cli", "lifecycle", "--minutes", "0.4"]
    command += ["--data", str(sources), "--out", str(out), "--json", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Repositories of small files, enough for a vocabulary and a held-out share."""
    for repo in range(12):
        folder = tmp_path / "sources" / f"repo{repo}"
        folder.mkdir(parents=True)
        (folder / "LICENSE").write_text(
            "MIT License\n\nPermission is hereby granted, free of charge\n"
        )
        for i in range(6):
            body = "\n\n".join(SNIPPETS[(repo + i + j) % len(SNIPPETS)] for j in range(4))
            names = "\n".join(f"value_{repo}_{i}_{j} = {i * j + repo}" for j in range(30))
            (folder / f"module_{i}.py").write_text(f"import math\n\n{names}\n\n\n{body}")
    return tmp_path / "sources"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_life_ends_in_a_served_answer_and_is_not_lived_twice(
    sources: Path, tmp_path: Path
) -> None:
    out = tmp_path / "life"
    done = lived(out, sources)
    assert done.returncode in (0, 1), done.stderr  # 1: half a minute did not beat the 3-grams
    record = json.loads(done.stdout)
    assert record["corpus"]["tokens"]["train"] > 10_000
    assert record["pretrain"]["steps"] > 3
    assert record["pretrain"]["baseline"]["name"] == "3-grams"
    assert record["recite"]["snippets"] == 20
    assert isinstance(record["serve"]["answer"], str)
    assert (out / "longer" / "final" / "model.safetensors").exists()
    assert (out / "run" / "report.html").exists()
    again = lived(out, sources)
    assert again.returncode == done.returncode
    assert json.loads(again.stdout) == record


def test_an_unknown_size_is_refused(tmp_path: Path) -> None:
    done = lived(tmp_path / "life", tmp_path, "--size", "huge")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no life has the size 'huge'")
