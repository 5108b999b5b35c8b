"""Our way around torch's fused Adam gives its numbers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from rlcl.learners.fast.fused_adam import FusedAdam, gradients_of, pack_parameters

OPTIONS = {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-5, "weight_decay": 0.1}


def pair(laid_out: bool) -> tuple[nn.Module, FusedAdam, nn.Module, torch.optim.Adam]:
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    theirs = copy.deepcopy(ours)
    if laid_out:
        pack_parameters(ours.parameters())
    return (
        ours,
        FusedAdam(list(ours.parameters()), **OPTIONS),
        theirs,
        torch.optim.Adam(theirs.parameters(), fused=True, **OPTIONS),
    )  # type: ignore[arg-type]


def learned(modules: tuple[nn.Module, nn.Module], optimizers: tuple[torch.optim.Optimizer, ...], steps: int) -> None:
    for _ in range(steps):
        x = torch.randn(4, 3)
        for module, optimizer in zip(modules, optimizers, strict=True):
            for parameter in module.parameters():
                if parameter.grad is not None:
                    parameter.grad.zero_()
            module(x).square().sum().backward()
            optimizer.step()


def equal(ours: nn.Module, theirs: nn.Module) -> bool:
    """But for rounding: where all is one tensor, other numbers are at the end of torch's vectors."""
    return all(
        torch.allclose(a, b, rtol=1e-6, atol=0) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True)
    )


@pytest.mark.parametrize("laid_out", [False, True])
def test_steps_are_torchs(laid_out: bool) -> None:
    ours, our_adam, theirs, their_adam = pair(laid_out)
    learned((ours, theirs), (our_adam, their_adam), 5)
    assert equal(ours, theirs)
    assert len(gradients_of(our_adam)) == (1 if laid_out else 4)
    saved = copy.deepcopy(our_adam.state_dict())
    for key, state in their_adam.state_dict()["state"].items():
        assert all(torch.allclose(state[name], saved["state"][key][name], rtol=1e-5) for name in state)


@pytest.mark.parametrize("laid_out", [False, True])
@pytest.mark.parametrize("forget", ["one", "all"])
def test_a_forgotten_state_starts_anew(laid_out: bool, forget: str) -> None:
    ours, our_adam, theirs, their_adam = pair(laid_out)
    learned((ours, theirs), (our_adam, their_adam), 3)
    for module, optimizer in ((ours, our_adam), (theirs, their_adam)):
        if forget == "all":
            optimizer.state.clear()
        else:
            optimizer.state.pop(next(module.parameters()))
    learned((ours, theirs), (our_adam, their_adam), 3)
    assert equal(ours, theirs)


@pytest.mark.parametrize("laid_out", [False, True])
def test_a_loaded_state_goes_on(laid_out: bool) -> None:
    ours, our_adam, theirs, their_adam = pair(laid_out)
    learned((ours, theirs), (our_adam, their_adam), 3)
    saved = copy.deepcopy(our_adam.state_dict())
    learned((ours, theirs), (our_adam, their_adam), 2)
    our_adam.load_state_dict(saved)
    their_adam.load_state_dict(copy.deepcopy(saved))  # it keeps the tensors that it is given
    learned((ours, theirs), (our_adam, their_adam), 3)
    assert equal(ours, theirs)


@pytest.mark.parametrize("laid_out", [False, True])
def test_moments_changed_in_place_count(laid_out: bool) -> None:
    ours, our_adam, theirs, their_adam = pair(laid_out)
    learned((ours, theirs), (our_adam, their_adam), 2)
    for module, optimizer in ((ours, our_adam), (theirs, their_adam)):
        optimizer.state[next(module.parameters())]["exp_avg"][1] = 0  # as methods that reset units do
    learned((ours, theirs), (our_adam, their_adam), 2)
    assert equal(ours, theirs)


def test_a_parameter_without_gradient_stays() -> None:
    ours, our_adam, theirs, their_adam = pair(True)
    for module in (ours, theirs):
        next(module.parameters()).requires_grad_(False).grad = None
    before = next(ours.parameters()).clone()
    learned((ours, theirs), (our_adam, their_adam), 2)
    assert torch.equal(before, next(ours.parameters()))
    assert equal(ours, theirs)


@pytest.mark.parametrize("laid_out", [False, True])
def test_parameters_that_learn_by_turns_count_their_own_steps(laid_out: bool) -> None:
    ours, our_adam, theirs, their_adam = pair(laid_out)
    torch.manual_seed(0)
    for left_out in ((), (0, 1), (2,), (0, 3), (), (1, 2, 3), ()):  # as heads of which each serves some batches
        gradients = [torch.randn_like(p) for p in theirs.parameters()]
        for module, optimizer in ((ours, our_adam), (theirs, their_adam)):
            for i, (parameter, gradient) in enumerate(zip(module.parameters(), gradients, strict=True)):
                parameter.grad = None if i in left_out else gradient.clone()
            optimizer.step()
        assert equal(ours, theirs)
        for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert float(their_adam.state[its]["step"]) == float(our_adam.state[mine]["step"])


def test_a_closure_is_evaluated_with_gradients() -> None:
    ours, adam, _, _ = pair(False)
    before = next(ours.parameters()).detach().clone()

    def closure() -> float:
        loss = ours(torch.ones(1, 3)).square().sum()
        loss.backward()
        return float(loss.detach())

    assert closure() == adam.step(closure)
    assert not torch.equal(before, next(ours.parameters()))


def test_another_is_made_of_its_defaults() -> None:
    ours, adam, _, _ = pair(False)
    again = type(adam)(list(ours.parameters()), **adam.defaults)  # as Avalanche's PackNet does
    assert adam.defaults == again.defaults


def test_hooks_stand_around_the_step() -> None:
    ours, adam, _, _ = pair(True)
    seen: list[str] = []
    weight = next(ours.parameters())

    def before_it(*_: object) -> None:
        gradients_of(adam)[0].zero_()
        seen.append("before")

    adam.register_step_pre_hook(before_it)
    adam.register_step_post_hook(lambda *_: seen.append("after"))
    before = weight.detach().clone()
    ours(torch.randn(4, 3)).sum().backward()
    for group in adam.param_groups:
        group["weight_decay"] = 0.0
    adam.step()
    assert ["before", "after"] == seen
    assert torch.equal(before, weight)
