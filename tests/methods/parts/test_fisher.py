"""The diagonal of the Fisher information, by hand and example by example."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from rlcl.methods.parts.fisher import diagonal_fisher, squared_batch_gradients

FLOAT64_ROUNDING = 1e-12


def fisher(
    module: nn.Module, x: Tensor, kind: str, how: str = "exact", seed: int = 0, ids: Tensor | None = None
) -> dict[str, Tensor]:
    def outputs(inputs: Tensor, task_ids: Tensor | None) -> Tensor:
        y: Tensor = module(inputs) if task_ids is None else module(inputs, task_ids)
        return y

    generator = torch.Generator().manual_seed(seed)
    return diagonal_fisher(outputs, dict(module.named_parameters()), module, x, ids, kind, how, generator)  # type: ignore[arg-type]


def by_definition(module: nn.Module, x: Tensor, log_likelihoods: Callable[[Tensor], list[Tensor]]) -> dict[str, Tensor]:
    """Mean over examples of the sum of (weight-carrying) squared gradients, one backward pass each."""
    total = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
    for row in x:
        for part in log_likelihoods(module(row[None])[0]):
            gradients = torch.autograd.grad(part, list(module.parameters()), retain_graph=True, allow_unused=True)
            for name, gradient in zip(total, gradients, strict=True):
                if gradient is not None:
                    total[name] += gradient.square() / len(x)
    return total


def categorical(logits: Tensor) -> list[Tensor]:
    """sum_k p_k (d log p_k)^2 as squares of sqrt(p_k) d log p_k."""
    log_p = logits.log_softmax(0)
    return [log_p[k] * log_p[k].detach().exp().sqrt() for k in range(len(logits))]


def gaussian(outputs: Tensor) -> list[Tensor]:
    """(d mean / std)^2 + 2 (d log std)^2 for each action."""
    mean, log_std = outputs.chunk(2)
    return [*(mean / log_std.detach().exp()), *(log_std * 2**0.5)]


def log_likelihood(targets: Tensor, weighted: bool) -> Callable[[Tensor], list[Tensor]]:
    """Of the true labels, taken one after the other."""
    left = iter(targets.tolist())

    def of(logits: Tensor) -> list[Tensor]:
        log_p = logits.log_softmax(0)[next(left)]
        return [log_p * log_p.detach().exp().sqrt() if weighted else log_p]

    return of


def values(outputs: Tensor) -> list[Tensor]:
    return list(outputs)


def mlp(*widths: int) -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.Tanh()]
    return nn.Sequential(*layers[:-1]).double()


def cnn(**conv: object) -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(2, 3, 3, **conv), nn.Tanh(), nn.Flatten())  # type: ignore[arg-type]
    features = body(torch.zeros(1, 2, 6, 6)).shape[1]
    return nn.Sequential(body, nn.Linear(features, 3)).double()


def inputs(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def assert_equal(expected: dict[str, Tensor], actual: dict[str, Tensor]) -> None:
    assert list(expected) == list(actual)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-9, atol=FLOAT64_ROUNDING)


def test_two_classes_of_a_linear_model_by_hand() -> None:
    # Logits 0 and log 3 give p = (1/4, 3/4), and the variance p (1 - p) = 3/16 is each logit's Fisher.
    module = nn.Linear(2, 2).double()
    with torch.no_grad():
        module.weight.zero_()
        module.bias.copy_(torch.tensor([1.0, 3.0]).log())
    x = torch.tensor([[1.0, 2.0], [3.0, 0.0]], dtype=torch.float64)
    actual = fisher(module, x, "categorical")
    # Mean of x^2 over both examples: (1 + 9) / 2 = 5 and (4 + 0) / 2 = 2.
    weight = 3 / 16 * torch.tensor([[5.0, 2.0], [5.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(actual["weight"], weight, rtol=1e-6, atol=0)
    torch.testing.assert_close(actual["bias"], torch.full((2,), 3 / 16, dtype=torch.float64), rtol=1e-6, atol=0)


def test_values_of_a_linear_model_by_hand() -> None:
    # Outputs are means of Gaussians of unit variance: the Fisher is the mean of x^2, whatever the weights.
    actual = fisher(nn.Linear(2, 3), torch.tensor([[1.0, 2.0], [3.0, 0.0]]), "values")
    assert torch.equal(torch.tensor([[5.0, 2.0]] * 3), actual["weight"])
    assert torch.equal(torch.ones(3), actual["bias"])


def test_gaussian_by_hand() -> None:
    # Outputs: mean w0 x, log std w1 x with w1 x = log 2: Fisher x^2 / 4 and 2 x^2.
    module = nn.Linear(1, 2, bias=False).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[0.3], [0.5]]))
        module.weight[1] = torch.log(torch.tensor(2.0, dtype=torch.float64)) / 3
    actual = fisher(module, torch.tensor([[3.0]], dtype=torch.float64), "gaussian")
    torch.testing.assert_close(actual["weight"], torch.tensor([[9 / 4], [18.0]], dtype=torch.float64))


KINDS = {"categorical": categorical, "gaussian": gaussian, "values": values, "reconstruction": values}


@pytest.mark.parametrize("kind", KINDS)
def test_linear_layers_equal_the_definition(kind: str) -> None:
    module, x = mlp(3, 5, 4), inputs(7, 3)
    assert_equal(by_definition(module, x, KINDS[kind]), fisher(module, x, kind))


@pytest.mark.parametrize(
    "conv",
    [
        {},
        {"padding": 1},
        {"stride": 2, "padding": (1, 0)},
        {"dilation": 2},
        {"bias": False},
        {"padding": 1, "padding_mode": "circular"},
        {"padding": "same"},
    ],
    ids=str,
)
def test_convolutions_equal_the_definition(conv: dict[str, object]) -> None:
    module, x = cnn(**conv), inputs(5, 2, 6, 6)
    assert_equal(by_definition(module, x, categorical), fisher(module, x, "categorical"))


def test_grouped_convolutions_equal_the_definition() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.Flatten(), nn.Linear(64, 3)).double()
    x = inputs(5, 2, 6, 6)
    assert_equal(by_definition(module, x, categorical), fisher(module, x, "categorical"))


@pytest.mark.parametrize("how", ["exact", "sampled"])
def test_layer_norm_falls_back_to_the_definition(how: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 3)).double()
    x = inputs(6, 3)
    actual = fisher(module, x, "categorical", how)
    if how == "exact":
        assert_equal(by_definition(module, x, categorical), actual)
    assert bool((actual["1.weight"] > 0).any())


class Twice(nn.Module):
    """One layer, applied twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(self.layer(x).tanh())
        return y


def test_a_layer_used_twice_counts_both_uses() -> None:
    torch.manual_seed(0)
    module, x = Twice().double(), inputs(6, 3)
    assert_equal(by_definition(module, x, categorical), fisher(module, x, "categorical"))


def test_weights_that_two_layers_share_count_both() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)).double()
    module[2].weight = module[0].weight
    x = inputs(6, 3)
    assert_equal(by_definition(module, x, categorical), fisher(module, x, "categorical"))


class OverPlaces(nn.Module):
    """A linear layer over a sequence, as in attention."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x).tanh().sum(1)
        return y


def test_a_linear_layer_over_a_sequence_equals_the_definition() -> None:
    torch.manual_seed(0)
    module, x = OverPlaces().double(), inputs(6, 5, 3)
    assert_equal(by_definition(module, x, categorical), fisher(module, x, "categorical"))


def test_an_activation_in_place_changes_nothing() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 5), nn.ReLU(inplace=True), nn.Linear(5, 4)).double()
    x = inputs(7, 3)
    assert_equal(by_definition(module, x, categorical), fisher(module, x, "categorical"))


class HalfUsed(nn.Module):
    """Two layers, one of which takes no part."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(3, 2)
        self.unused = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.used(x)
        return y


def test_a_layer_that_is_not_used_has_none() -> None:
    actual = fisher(HalfUsed(), torch.ones(2, 3), "categorical")
    assert float(actual["unused.weight"].abs().sum()) == 0.0
    assert float(actual["used.weight"].abs().sum()) > 0


@pytest.mark.parametrize("how", ["exact", "sampled"])
def test_that_of_several_choices_is_the_sum_of_those_of_each(how: str) -> None:
    torch.manual_seed(0)
    module, x = nn.Linear(3, 5, dtype=torch.float64), torch.randn(400, 3, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    found = diagonal_fisher(
        lambda y, _: module(y),
        dict(module.named_parameters()),
        module,
        x,
        None,
        "multi_categorical",
        how,  # type: ignore[arg-type]
        generator,
        choices=(2, 3),
    )
    expected = by_definition(module, x, lambda logits: [*categorical(logits[:2]), *categorical(logits[2:])])
    tolerance = 1e-9 if how == "exact" else 0.05
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance)


def test_an_impossible_class_contributes_nothing() -> None:
    torch.manual_seed(0)
    module, x = nn.Linear(3, 3).double(), inputs(6, 3)
    masked = diagonal_fisher(
        lambda i, _: module(i).masked_fill(torch.tensor([False, False, True]), -1e9),
        dict(module.named_parameters()),
        module,
        x,
        None,
        "categorical",
        "exact",
        torch.Generator(),
    )
    assert torch.equal(torch.zeros(3, dtype=torch.float64), masked["weight"][2])
    two = nn.Linear(3, 2).double()
    with torch.no_grad():
        two.weight.copy_(module.weight[:2])
        two.bias.copy_(module.bias[:2])
    torch.testing.assert_close(masked["weight"][:2], fisher(two, x, "categorical")["weight"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_sampled_ones_is_the_exact_one(kind: str) -> None:
    module, x = mlp(3, 4), inputs(4, 3)
    exact = fisher(module, x, kind)
    draws = [fisher(module, x, kind, "sampled", seed) for seed in range(600)]
    for name, expected in exact.items():
        stacked = torch.stack([draw[name] for draw in draws])
        standard_error = stacked.std(0) / len(draws) ** 0.5
        # Fixed seeds; 16 parameters within 4.5 standard errors.
        assert bool(((stacked.mean(0) - expected).abs() < 4.5 * standard_error).all()), name


def test_a_sampled_one_differs_from_the_exact_one() -> None:
    module, x = mlp(3, 4), inputs(4, 3)
    sampled = fisher(module, x, "categorical", "sampled")["0.weight"]
    assert not torch.allclose(fisher(module, x, "categorical")["0.weight"], sampled)


def test_the_same_generator_samples_the_same() -> None:
    module, x = mlp(3, 4), inputs(4, 3)
    assert_equal(fisher(module, x, "categorical", "sampled", 3), fisher(module, x, "categorical", "sampled", 3))


def quarter() -> nn.Module:
    """Logits 0 and log 3, whatever the input: probabilities 1/4 and 3/4."""
    module = nn.Linear(2, 2).double()
    with torch.no_grad():
        module.weight.zero_()
        module.bias.copy_(torch.tensor([1.0, 3.0]).log())
    return module


def labelled(module: nn.Module, x: Tensor, targets: Tensor, how: str) -> dict[str, Tensor]:
    generator = torch.Generator()
    named = dict(module.named_parameters())
    return diagonal_fisher(lambda i, _: module(i), named, module, x, None, "categorical", how, generator, targets)  # type: ignore[arg-type]


TWO = torch.tensor([[1.0, 2.0], [3.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize(("how", "share"), [("empirical", (1.0, 1.0)), ("weighted", (1 / 4, 3 / 4))])
def test_true_labels_of_two_classes_by_hand(how: str, share: tuple[float, float]) -> None:
    # Label 0: the logits' gradient is (3/4, -3/4). Label 1: it is (-1/4, 1/4).
    actual = labelled(quarter(), TWO, torch.tensor([0, 1]), how)
    first, second = share[0] * 9 / 16, share[1] * 1 / 16
    bias = torch.full((2,), (first + second) / 2, dtype=torch.float64)
    row = torch.tensor([(first * 1 + second * 9) / 2, (first * 4 + second * 0) / 2], dtype=torch.float64)
    torch.testing.assert_close(actual["bias"], bias, rtol=1e-6, atol=0)
    torch.testing.assert_close(actual["weight"], torch.stack([row, row]), rtol=1e-6, atol=0)


def test_the_squared_gradient_of_a_minibatch_by_hand() -> None:
    # The mean of the two gradients of the bias is (3/4 - 1/4) / 2 = 1/4, of the weights (3/4 x_1 - 1/4 x_2) / 2.
    module = quarter()
    named = dict(module.named_parameters())
    actual = squared_batch_gradients(lambda i, _: module(i), named, TWO, None, torch.tensor([0, 1]), 2)
    row = torch.tensor([0.0, (3 / 4 * 2 / 2) ** 2], dtype=torch.float64)
    torch.testing.assert_close(actual["bias"], torch.full((2,), 1 / 16, dtype=torch.float64), rtol=1e-6, atol=0)
    torch.testing.assert_close(actual["weight"], torch.stack([row, row]), rtol=1e-6, atol=FLOAT64_ROUNDING)


@pytest.mark.parametrize("how", ["empirical", "weighted"])
@pytest.mark.parametrize("network", ["linear layers", "convolutions", "layer norm"])
def test_true_labels_equal_the_definition(network: str, how: str) -> None:
    targets = torch.tensor([2, 0, 1, 1, 0])
    torch.manual_seed(0)
    module, x = {
        "linear layers": lambda: (mlp(3, 5, 3), inputs(5, 3)),
        "convolutions": lambda: (cnn(padding=1), inputs(5, 2, 6, 6)),
        "layer norm": lambda: (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 3)).double(), inputs(5, 3)),
    }[network]()
    expected = by_definition(module, x, log_likelihood(targets, how == "weighted"))
    assert_equal(expected, labelled(module, x, targets, how))


def test_minibatches_of_one_are_the_empirical_one() -> None:
    module, x, targets = mlp(3, 5, 3), inputs(4, 3), torch.tensor([2, 0, 1, 1])
    named = dict(module.named_parameters())
    ones = squared_batch_gradients(lambda i, _: module(i), named, x, None, targets, 1)
    assert_equal(labelled(module, x, targets, "empirical"), ones)


def test_a_smaller_last_minibatch_counts_as_much_as_the_others() -> None:
    module, x, targets = mlp(3, 5, 3), inputs(4, 3), torch.tensor([2, 0, 1, 1])
    named = dict(module.named_parameters())

    def squares(rows: slice) -> dict[str, Tensor]:
        return squared_batch_gradients(lambda i, _: module(i), named, x[rows], None, targets[rows], 3)

    first, last = squares(slice(0, 3)), squares(slice(3, 4))
    assert_equal({name: (first[name] + last[name]) / 2 for name in named}, squares(slice(0, 4)))


@pytest.mark.parametrize("network", ["in closed form", "example by example"])
def test_a_chunk_at_a_time_equals_one_pass(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = mlp(3, 5, 3) if network == "in closed form" else nn.Sequential(mlp(3, 3), nn.LayerNorm(3).double())
    x, targets = inputs(8, 3), torch.tensor([2, 0, 1, 1, 0, 2, 2, 1])
    whole = labelled(module, x, targets, "empirical")
    monkeypatch.setattr("rlcl.methods.parts.per_example_gradients.MAX_ROWS", 3)  # of 8 examples: 3, 3 and 2
    assert_equal(whole, labelled(module, x, targets, "empirical"))
