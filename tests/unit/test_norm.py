"""RMSNorm in training gives the bits it gives in inference, and the gradient of its formula."""

import pytest
import torch

from midfill.model.norm import RMSNorm


def case(dtype: torch.dtype) -> tuple[RMSNorm, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    norm = RMSNorm(12, 1e-6).to(dtype)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(12, generator=g))
    return norm, torch.randn(2, 5, 12, generator=g).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_training_and_inference_give_the_same_bits(dtype: torch.dtype, autocast: bool):
    norm, x = case(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        trained = norm(x)
        with torch.no_grad():
            assert torch.equal(trained, norm(x))
    assert trained.requires_grad
    assert trained.dtype == (torch.bfloat16 if autocast else dtype)


def test_gradients_are_finite_differences():
    norm, x = case(torch.float64)

    def run(x, weight):
        return torch.func.functional_call(norm, {"weight": weight}, (x,))

    inputs = (x.requires_grad_(), norm.weight.detach().clone().requires_grad_())
    assert torch.autograd.gradcheck(run, inputs)
