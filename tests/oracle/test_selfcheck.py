"""The logits that `midfill doctor` compares with are transformers' own."""

import torch
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM

from midfill.model import selfcheck
from midfill.model.hf_config import to_hf_config


def test_the_known_logits_are_those_of_transformers():
    raw = to_hf_config(selfcheck.config())
    theirs = DeepseekV2ForCausalLM(DeepseekV2Config(**raw, attn_implementation="eager")).eval()
    selfcheck.sine_weights(theirs)
    with torch.no_grad():
        want = theirs(torch.tensor([selfcheck.TOKENS])).logits[0, -1, ::64].tolist()
    print(want)
    assert max(abs(a - b) for a, b in zip(want, selfcheck.LOGITS, strict=True)) < 1e-4
    assert max(want) - min(want) > 1


def test_this_machine_reproduces_them():
    assert selfcheck.deviation() < selfcheck.TOLERANCE
