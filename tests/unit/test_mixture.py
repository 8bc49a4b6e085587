"""The mix: shares of tokens, caps and held-out shares, chosen by hashes of names."""

import numpy as np
import pytest

from midfill.corpus.pipeline.mixture import below, capped, hashes, passes
from midfill.errors import ConfigError

V2 = {"code": 0.6, "math": 0.1, "text": 0.3}


def test_without_a_mix_everything_is_used_once_an_epoch():
    assert passes({"code": 10, "text": 5}, {}, 2) == {"code": 2.0, "text": 2.0}


@pytest.mark.parametrize(
    "tokens", [{"code": 600, "math": 500, "text": 900}, {"code": 1, "math": 1, "text": 1}]
)
@pytest.mark.parametrize("epochs", [1, 3])
def test_used_tokens_make_up_the_mix(tokens: dict[str, int], epochs: int):
    times = passes(tokens, V2, epochs)
    used = {category: tokens[category] * times[category] for category in tokens}
    shares = {category: n / sum(used.values()) for category, n in used.items()}
    assert shares == pytest.approx(V2)
    assert max(times.values()) == pytest.approx(epochs)


def test_a_category_outside_the_mix_is_not_used():
    assert passes({"code": 10, "text": 5}, {"code": 1.0}, 1) == {"code": 1.0, "text": 0.0}


def test_a_wanted_category_without_tokens_is_an_error():
    with pytest.raises(ConfigError, match="wants 10% math"):
        passes({"code": 10, "text": 5}, V2, 1)


def test_a_share_of_hashes_is_that_share():
    hashed = hashes([f"repository {i}" for i in range(20_000)], "held out", 0)
    taken = below(hashed, 0.1)
    assert abs(taken.mean() - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 20_000)
    assert below(hashed, 1.0).all()
    assert not below(hashed, 0.0).any()


def test_another_salt_is_another_choice():
    names = [f"{i}" for i in range(1000)]
    a, b = (below(hashes(names, "order", seed), 0.5) for seed in (1, 2))
    assert 0.4 < (a == b).mean() < 0.6


def test_a_cap_keeps_that_share():
    assert capped({"C": 1000, "Lua": 100}, 250) == {"C": 0.25, "Lua": 1.0}
    assert capped({"C": 1000}, None) == {"C": 1.0}
