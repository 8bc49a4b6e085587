"""Recipes hold the papers' numbers; an extended model differs in its rotary embedding only."""

from dataclasses import replace

import pytest

from midfill.config.model import Llama3Scaling, YarnScaling
from midfill.config.override import as_data, from_data
from midfill.config.train import TrainConfig
from midfill.errors import ConfigError
from midfill.recipes.models import MODELS
from midfill.recipes.runs import RUNS, extended
from midfill.train.data.ramp import Ramp
from midfill.train.schedule import share


@pytest.mark.parametrize("name", RUNS)
def test_a_recipe_goes_through_json(name: str) -> None:
    config = RUNS[name]()
    assert from_data(TrainConfig, as_data(config)) == config


def test_the_batch_of_v2_grows_over_225_billion_tokens() -> None:
    """DeepSeek-V2 §3.1.2."""
    config = RUNS["deepseek-v2"]()
    ramp = Ramp(config.batch, config.data.length)
    assert ramp.sequences_at(0) == 2304
    grown = ramp.steps(225_000_000_000 // 4096)
    assert ramp.sequences_at(grown + 1) == 9216
    assert ramp.sequences_at(grown // 2) < 9216


@pytest.mark.parametrize(
    ("name", "done", "expected"),
    [
        ("deepseek-v2", 0.59, 1.0),
        ("deepseek-v2", 0.61, 0.316),
        ("deepseek-v2", 0.91, 0.316**2),
        ("deepseek-v2-lite", 0.79, 1.0),
        ("deepseek-v2-lite", 0.91, 0.316**2),
        ("deepseek-coder-6.7b", 0.5, 0.1**0.5),
        ("deepseek-coder-6.7b", 0.99, 0.1),
    ],
)
def test_rates_fall_where_the_papers_say(name: str, done: float, expected: float) -> None:
    config = RUNS[name]()
    steps = 100_000
    found = share(config.schedule, round(done * steps), steps, done=done)
    assert found == pytest.approx(expected, rel=1e-3)


def test_latent_attention_is_extended_by_yarn() -> None:
    """DeepSeek-Coder-V2 §3.4: factor 40 takes 4K to 160K, and is what the released model has."""
    before = replace(RUNS["deepseek-v2-lite"]().model, context=4096)
    longer = extended(before, 163_840)
    assert longer == MODELS["deepseek-coder-v2-lite"]()
    further = extended(longer, 2 * 163_840)
    assert isinstance(further.rope.scaling, YarnScaling)
    assert (further.rope.scaling.factor, further.rope.scaling.trained) == (80.0, 4096)


@pytest.mark.parametrize("size", ["1.3b", "6.7b", "33b"])
def test_the_16k_stage_ends_in_the_released_model(size: str) -> None:
    """DeepSeek-Coder §3.6, and config.json."""
    stage = RUNS[f"deepseek-coder-{size}-16k"]()
    assert stage.model == MODELS[f"deepseek-coder-{size}"]()
    before = RUNS[f"deepseek-coder-{size}"]().model
    assert extended(before, 16_384) == stage.model
    assert dict(before.tensors()) == dict(stage.model.tensors())


def test_only_the_small_coder_v2_and_v1_have_holes() -> None:
    """DeepSeek-Coder-V2 §3.1; None: rate 0.5."""
    rates = {name: getattr(RUNS[name]().data.fim, "rate", 0.5) for name in RUNS}
    assert rates["deepseek-coder-v2-lite"] == rates["deepseek-coder-6.7b"] == 0.5
    assert rates["deepseek-coder-v2"] == rates["deepseek-v2"] == rates["deepseek-v2-lite"] == 0


def test_dense_models_are_extended_linearly() -> None:
    """DeepSeek-Coder §3.6: theta 10,000 to 100,000, factor 4."""
    released = MODELS["deepseek-coder-1.3b"]()
    before = replace(
        released, context=4096, rope=replace(released.rope, scaling=None, theta=10_000.0)
    )
    assert extended(before, 16_384) == released


def test_what_cannot_be_extended_is_said() -> None:
    model = MODELS["deepseek-coder-1.3b"]()
    with pytest.raises(ConfigError, match="no extension"):
        extended(model, 8192)
    other = replace(
        model, rope=replace(model.rope, scaling=Llama3Scaling(factor=8.0, trained=8192))
    )
    with pytest.raises(ConfigError, match="cannot be extended"):
        extended(other, 32_768)
