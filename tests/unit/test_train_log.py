"""The record of a run, as it is written, cut off and resumed."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from midfill.errors import ConfigError, ResourceError
from midfill.train.log import LOG, Log, open_tracker, read


class Kept:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, dict[str, float]]] = []

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.seen.append((step, dict(values)))

    def close(self) -> None:
        self.seen.append((-1, {}))


def test_a_resumed_log_forgets_later_steps_and_a_cut_line(tmp_path: Path) -> None:
    log = Log(tmp_path)
    for step in range(1, 6):
        log.write("step", step, {"loss": 1 / step})
    log.close()
    with (tmp_path / LOG).open("a") as file:
        file.write('{"kind": "step", "st')
    log = Log(tmp_path)
    log.resume(3)
    log.write("step", 4, {"loss": 9.0})
    log.close()
    assert [(line["step"], line["loss"]) for line in read(tmp_path)] == [
        (1, 1.0),
        (2, 0.5),
        (3, 1 / 3),
        (4, 9.0),
    ]


def test_a_line_can_be_read_at_once(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write("note", 0, {"text": "„begun“"})
    assert read(tmp_path) == [{"kind": "note", "step": 0, "text": "„begun“"}]
    log.close()


def test_trackers_get_numbers_only_with_their_names(tmp_path: Path) -> None:
    tracker = Kept()
    log = Log(tmp_path, tracker)
    layers = {"1": {"max": 1.5}}
    log.write("step", 2, {"loss": 3, "text": "no number", "layers": layers, "left_out": False})
    log.close()
    first, last = tracker.seen
    assert first == (2, {"step/loss": 3.0, "step/layers/1/max": 1.5, "step/left_out": 0.0})
    assert last == (-1, {})


def test_unknown_and_missing_trackers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_tracker(None, tmp_path, {}) is None
    with pytest.raises(ConfigError, match="no tracker is called 'mlflow'"):
        open_tracker("mlflow", tmp_path, {})
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(ResourceError, match="wandb is not installed"):
        open_tracker("wandb", tmp_path, {})


def test_every_line_is_json(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write("step", 1, {"loss": float("nan")})
    log.close()
    for line in (tmp_path / LOG).read_text().splitlines():
        json.loads(line)
