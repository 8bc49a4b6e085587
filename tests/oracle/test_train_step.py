"""One training step against transformers: loss and gradients, the balance loss on both sides.

float32; each gradient to 1e-4 of its own norm. And the laws of packing: a piece in a packed row has
the logits and gradients it has alone, here and in transformers.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from midfill.config.train import BalanceConfig
from midfill.model.checkpoint import load_network, open_checkpoint, original_name
from midfill.model.transformer import Transformer
from midfill.train.balance import balance_loss, watch
from midfill.train.loss import IGNORED, cross_entropy
from oracle_cases import CASES, Case, reference, tokens

TOLERANCE = 1e-4
ALPHAS = BalanceConfig(expert=0.3, device=0.2, communication=0.1)  # far above those of a run
PIECES = ((17, 40, 7, 32), (96,))


def targets() -> Tensor:
    ids = tokens(seed=8)
    ids[0, 10:20] = IGNORED
    return ids


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """transformers' network and ours with the same weights, both to be trained."""
    case: Case = request.param
    theirs = reference(case)
    folder: Path = tmp_path_factory.mktemp("reference")
    theirs.save_pretrained(folder)
    ours = load_network(open_checkpoint(folder), torch.float32)
    return theirs, ours.requires_grad_()


def their_balance(affinity: Tensor, ids: Tensor, config: Any) -> Tensor:
    """DeepSeek-V2 §2.2.3 of one sequence, sum by sum."""
    tokens, experts = affinity.shape
    devices = config.n_group if config.topk_method == "group_limited_greedy" else 1
    most = config.topk_group if config.topk_method == "group_limited_greedy" else 1
    each, k = experts // devices, config.num_experts_per_tok
    hits = (ids[:, :, None] == torch.arange(experts)).any(1).float()
    f = hits.sum(0) * experts / (k * tokens)
    p = affinity.mean(0)
    total = ALPHAS.expert * (f * p).sum()
    for device in range(devices):
        members = slice(device * each, (device + 1) * each)
        sent = hits[:, members].any(1).float().sum() * devices / (most * tokens)
        total = total + ALPHAS.device * f[members].mean() * p[members].sum()
        total = total + ALPHAS.communication * sent * p[members].sum()
    return total


def their_loss(network, ids: Tensor, wanted: Tensor, **more: Any) -> Tensor:
    """Cross-entropy over all targets, and the balance losses of every MoE layer."""
    seen: list[tuple[Tensor, Tensor]] = []

    def note(module, inputs, output):
        x = inputs[0].flatten(0, 1)
        affinity = F.linear(x.float(), module.gate.weight.float()).softmax(-1)
        seen.append((affinity, chosen[-1]))

    chosen: list[Tensor] = []

    def note_choice(module, inputs, output):
        chosen.append(inputs[1])  # the experts' module takes hidden states, ids, weights

    handles = []
    for layer in network.model.layers:
        if hasattr(layer.mlp, "experts"):
            handles.append(layer.mlp.experts.register_forward_hook(note_choice))
            handles.append(layer.mlp.register_forward_hook(note))
    logits = network(ids, **more).logits
    for handle in handles:
        handle.remove()
    loss = F.cross_entropy(logits.flatten(0, 1).float(), wanted.flatten(), ignore_index=IGNORED)
    for affinity, choice in seen:
        rows = zip(affinity.split(ids.shape[1]), choice.split(ids.shape[1]), strict=True)
        loss = loss + sum(their_balance(a, c, network.config) for a, c in rows) / len(ids)
    return loss


def our_loss(network: Transformer, ids: Tensor, wanted: Tensor, **more: Any) -> Tensor:
    with watch(network) as routings:
        hidden = network.hidden(ids, **more)
    loss = cross_entropy(hidden, network.lm_head.weight, wanted, chunk=50)
    total = loss.total / loss.targets
    if routings:
        assert network.config.moe is not None
        total = total + balance_loss(routings, network.config.moe, ALPHAS, len(ids))
    return total


def gradients(network: Transformer) -> dict[str, Tensor]:
    """By the original names, one matrix for each expert, as transformers stacks them."""
    found = {}
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        found[original_name(name)] = parameter.grad
    return found


def close(got: Tensor, want: Tensor, name: str) -> None:
    assert (got - want).norm() <= TOLERANCE * want.norm() + 1e-9, name


def test_loss_and_every_gradient_are_those_of_transformers(pair):
    theirs, ours = pair
    for network in pair:
        network.zero_grad()
    want = their_loss(theirs, tokens(), targets())
    got = our_loss(ours, tokens(), targets())
    assert abs(got - want) < TOLERANCE * want
    want.backward()
    got.backward()
    mine = gradients(ours)
    compared = set()
    for name, parameter in theirs.named_parameters():
        close(mine[name], parameter.grad, name)
        compared.add(name)
    assert compared == set(mine)


def test_a_packed_row_has_the_gradients_of_its_pieces_alone(pair):
    """Alone in transformers, at the positions they have in the row."""
    theirs, ours = pair
    ids, wanted = tokens(), targets()
    for network in pair:
        network.zero_grad()
    hidden = ours.hidden(ids, documents=PIECES)
    loss = cross_entropy(hidden, ours.lm_head.weight, wanted)
    loss.total.backward()
    want = torch.zeros(())
    for row, lengths in enumerate(PIECES):
        start = 0
        for length in lengths:
            here = slice(start, start + length)
            positions = torch.arange(start, start + length)[None]
            logits = theirs(ids[row : row + 1, here], position_ids=positions).logits[0]
            torch.testing.assert_close(ours.logits(hidden[row, here]), logits, atol=1e-4, rtol=1e-4)
            want = want + F.cross_entropy(logits, wanted[row, here], reduction="sum")
            start += length
    want.backward()
    assert abs(loss.total - want) < TOLERANCE * want
    mine = gradients(ours)
    for name, parameter in theirs.named_parameters():
        close(mine[name], parameter.grad, name)


def test_under_autocast_a_step_differs_by_rounding_only(pair):
    ours = pair[1]
    found = []
    for enabled in (False, True):
        ours.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            hidden = ours.hidden(tokens(), documents=PIECES)
            loss = cross_entropy(hidden, ours.lm_head.weight, targets())
        (loss.total / loss.targets).backward()
        assert all(g.dtype == torch.float32 for g in gradients(ours).values())
        norms = torch.stack([g.norm() for g in gradients(ours).values()])
        found.append((loss.total.item(), norms.norm().item()))
    (exact, norm), (rounded, rounded_norm) = found
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.02)
    assert rounded_norm == pytest.approx(norm, rel=0.25)


def test_without_the_balance_loss_the_router_would_differ():
    """The comparison above sees the balance loss: leaving it out on one side shows."""
    case = CASES[1]
    theirs = reference(case)
    full = their_loss(theirs, tokens(), targets())
    bare = F.cross_entropy(
        theirs(tokens()).logits.flatten(0, 1), targets().flatten(), ignore_index=IGNORED
    )
    gate = theirs.model.layers[1].mlp.gate.weight
    with_it, without = (torch.autograd.grad(loss, gate)[0] for loss in (full, bare))
    assert (with_it - without).norm() > 100 * TOLERANCE * with_it.norm()
