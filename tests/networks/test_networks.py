"""What holds for every network, and what each one is made of."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
from harness import classifier, digit_stream, learn_one, prepared, weights
from torch import nn

from rlcl.data.torchvision_import import import_torchvision
from rlcl.errors import Problem, UnsupportedError
from rlcl.learners.optimizers import Adam
from rlcl.networks.cnn import Cnn
from rlcl.networks.mlp import ACTIVATIONS, CRelu, Linear, Mlp, fresh_weights
from rlcl.networks.multihead import Multihead
from rlcl.networks.progressive import Progressive
from rlcl.networks.torchvision import ResNet18, TorchvisionNetwork
from rlcl.registry import entries, find

every = pytest.mark.parametrize("name", sorted(entries("network")))


SETTINGS: dict[str, dict[str, Any]] = {
    "torchvision": {"name": "resnet18"},
    "avalanche": {"model": "SimpleMLP", "options": {"hidden_size": 16, "drop_rate": 0}},
}
SHAPES: dict[str, tuple[int, ...]] = {"torchvision": (3, 32, 32), "nature_cnn": (1, 36, 36)}


def built(name: str, outputs: int, tasks: int) -> nn.Module:
    module: nn.Module = find("network", name)(**SETTINGS.get(name, {})).build(shape_for(name), outputs, tasks)
    return module


def shape_for(name: str) -> tuple[int, ...]:
    return SHAPES.get(name, (1, 8, 8))


def run(module: nn.Module, x: torch.Tensor, task: int = 0) -> torch.Tensor:
    ids = (torch.full((len(x),), task),) if getattr(module, "takes_task_ids", False) else ()
    y: torch.Tensor = module(x, *ids)
    return y


@every
@pytest.mark.parametrize(("rows", "outputs", "tasks"), [(1, 1, 1), (5, 3, 4)])
def test_outputs_have_their_shape(name: str, rows: int, outputs: int, tasks: int) -> None:
    module = built(name, outputs, tasks).eval()
    y = run(module, torch.rand(rows, *shape_for(name)), tasks - 1)
    assert ((rows, outputs), torch.float32) == (tuple(y.shape), y.dtype)


@every
def test_every_parameter_of_the_task_gets_a_gradient(name: str) -> None:
    module = built(name, 3, 1)
    run(module, torch.rand(4, *shape_for(name))).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


@every
def test_torchs_seed_decides_the_weights(name: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module = built(name, 3, 2)
        return torch.cat([p.detach().flatten() for p in module.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


@pytest.mark.parametrize("name", ["linear", "mlp", "multihead", "progressive"])
def test_flat_inputs_and_images_are_taken(name: str) -> None:
    for shape in ((6,), (1, 2, 3)):
        assert (2, 3) == tuple(run(find("network", name)().build(shape, 3, 1), torch.rand(2, *shape)).shape)


def test_the_layers_of_an_mlp_have_the_widths_that_were_asked_for() -> None:
    module = Mlp(hidden=(7, 5)).build((2, 3), 4, 1)
    assert [(7, 6), (5, 7), (4, 5)] == [tuple(m.weight.shape) for m in module.modules() if isinstance(m, nn.Linear)]


def test_a_linear_network_is_one_layer() -> None:
    module: Any = Linear().build((2, 2), 3, 1)
    x = torch.rand(5, 2, 2)
    assert torch.allclose(x.flatten(1) @ module[1].weight.T + module[1].bias, module(x))


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_an_activation_follows_each_hidden_layer(activation: Any) -> None:
    module = Mlp(hidden=(4, 4), activation=activation).build((3,), 2, 1)
    assert 2 == sum(isinstance(m, ACTIVATIONS[activation]) for m in module.modules())


def test_crelu_keeps_both_signs_of_units_and_of_channels() -> None:
    assert [[1.0, 0.0, 0.0, 2.0]] == CRelu()(torch.tensor([[1.0, -2.0]])).tolist()
    assert (2, 6, 4, 5) == tuple(CRelu()(torch.rand(2, 3, 4, 5)).shape)


@pytest.mark.parametrize("network", [Mlp(hidden=(4, 3)), Cnn(channels=(4, 3), hidden=(5,)), Multihead(features=5)])
def test_layers_after_crelu_read_twice_as_much(network: Any) -> None:
    network = attrs.evolve(network, activation="crelu")
    module = network.build((1, 4, 4), 2, 1)
    assert (3, 2) == tuple(run(module, torch.rand(3, 1, 4, 4)).shape)
    plain = attrs.evolve(network, activation="relu").build((1, 4, 4), 2, 1)
    widths, narrow = (
        [m.weight.shape[1] for m in made.modules() if isinstance(m, nn.Linear | nn.Conv2d)] for made in (module, plain)
    )
    last = 1 if isinstance(network, Multihead) else len(narrow) - 1  # a multihead's body keeps its own activation
    assert [2 * w for w in narrow[-last:]] == widths[-last:]


@pytest.mark.parametrize("how", ["torch", "xavier", "kaiming", "orthogonal"])
def test_a_layer_is_drawn_anew_as_it_was_at_first(how: Any) -> None:
    torch.manual_seed(1)
    for layer in Cnn(channels=(50,), hidden=(200,), initialization=how).build((1, 10, 10), 60, 1).modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            drawn = fresh_weights(layer, torch.Generator().manual_seed(0))
            assert not torch.equal(drawn["weight"], layer.weight)
            for name, parameter in layer.named_parameters():
                assert drawn[name].shape == parameter.shape
                torch.testing.assert_close(parameter.std().detach(), drawn[name].std(), rtol=0.2, atol=0)
                torch.testing.assert_close(parameter.abs().max().detach(), drawn[name].abs().max(), rtol=0.35, atol=0)


def test_layer_norm_and_dropout_are_there_where_asked_for() -> None:
    kinds = [type(m) for m in Mlp(hidden=(4,), layer_norm=True, dropout=0.5).build((3,), 2, 1).children()]
    assert [nn.Flatten, nn.Linear, nn.LayerNorm, nn.ReLU, nn.Dropout, nn.Linear] == kinds
    assert [nn.Flatten, nn.Linear, nn.ReLU, nn.Linear] == [type(m) for m in Mlp(hidden=(4,)).build((3,), 2).children()]


@pytest.mark.parametrize("how", ["xavier", "kaiming", "orthogonal"])
@pytest.mark.parametrize("network", [Mlp, Cnn])
def test_an_initialization_sets_biases_to_zero_and_is_not_torchs(network: Any, how: Any) -> None:
    def build(initialization: Any) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module: nn.Module = network(hidden=(8,), initialization=initialization).build((1, 4, 4), 3, 1)
        return module

    drawn, default = build(how), build("torch")
    layers = [m for m in drawn.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert all(m.bias is not None and not m.bias.any() for m in layers)
    ours, theirs = list(drawn.parameters()), list(default.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True) if a.ndim > 1)


def test_orthogonal_rows_are_orthogonal() -> None:
    module: Any = Mlp(hidden=(4,), initialization="orthogonal").build((9,), 2, 1)
    assert torch.allclose(torch.eye(4), module[1].weight @ module[1].weight.T, atol=1e-5)


def test_a_cnn_pools_while_that_fits() -> None:
    module = Cnn(channels=(2, 2, 2)).build((1, 8, 8), 3, 1)
    assert 2 == sum(isinstance(m, nn.MaxPool2d) for m in module.modules())  # 8, 4, 2
    assert (2, 3) == tuple(module(torch.rand(2, 1, 8, 8)).shape)


@pytest.mark.parametrize("shape", [(3, 28, 20), (1, 1, 1), (1, 5, 9)])
def test_a_cnn_takes_images_of_any_size(shape: tuple[int, int, int]) -> None:
    assert (2, 3) == tuple(Cnn().build(shape, 3, 1)(torch.rand(2, *shape)).shape)


def test_a_cnn_refuses_flat_inputs_with_a_remedy() -> None:
    with pytest.raises(UnsupportedError, match=r"cnn needs inputs of shape .* got \(64,\); leave out the flatten"):
        Cnn().build((64,), 3, 1)


def test_a_mixed_batch_equals_one_task_after_the_other() -> None:
    module = Multihead(features=5).build((4,), 3, 3)
    x, ids = torch.rand(8, 4), torch.tensor([2, 0, 0, 1, 2, 1, 0, 2])
    mixed = module(x, ids)
    for task in range(3):
        rows = ids == task
        assert torch.allclose(run(module, x[rows], task), mixed[rows], atol=1e-6)


def test_several_heads_in_one_pass_are_the_heads_one_by_one() -> None:
    module: Any = Multihead(features=5).build((4,), 3, 3)
    x = torch.rand(8, 4)
    together = module.of_tasks(x, [2, 0])
    assert (8, 2, 3) == together.shape
    assert torch.equal(run(module, x, 2), together[:, 0])
    assert torch.equal(run(module, x, 0), together[:, 1])


def test_tasks_have_heads_of_their_own_over_one_body() -> None:
    module: Any = Multihead(features=5).build((4,), 3, 3)
    x = torch.rand(8, 4)
    assert 3 == len(module.heads)
    assert not torch.equal(run(module, x, 0), run(module, x, 1))
    run(module, x, 1).sum().backward()
    assert [True, False, True] == [head.weight.grad is None for head in module.heads]


def test_gradients_of_a_mixed_batch_reach_every_head() -> None:
    module: Any = Multihead(features=5).build((4,), 3, 2)
    module(torch.rand(4, 4), torch.tensor([0, 1, 0, 1])).square().sum().backward()
    assert all(head.weight.grad.abs().sum() > 0 for head in module.heads)


def columns(adapters: bool) -> Any:
    """Two columns with one input, one hidden unit and one output, without biases."""
    module: Any = Progressive(hidden=(1,), adapters=adapters).build((1,), 1, 2)
    first, second = module.columns
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
        for layer, weight in zip([*first.layers, *second.layers], (2.0, 3.0, 1.0, 4.0), strict=True):
            layer.weight.fill_(weight)
        (lateral,) = second.lateral
        (lateral.lateral if adapters else lateral).weight.fill_(10.0)
        if adapters:
            lateral.scale.fill_(0.1)
            lateral.project.weight.fill_(5.0)
    return module


@pytest.mark.parametrize(("adapters", "expected"), [(False, 4 + 10 * 2), (True, 4 + 10 * (5 * 0.1 * 2))])
def test_a_column_reads_the_hidden_layers_of_those_before(adapters: bool, expected: float) -> None:
    # The first column's hidden unit is 2 and its output 6, whatever the second does; the second's own unit is 1.
    module = columns(adapters)
    assert 6 == run(module, torch.ones(1, 1), 0).item()
    assert expected == run(module, torch.ones(1, 1), 1).item()


def test_a_columns_loss_reaches_no_column_before_it() -> None:
    module: Any = Progressive(hidden=(4, 4)).build((3,), 2, 3)
    run(module, torch.rand(5, 3), 1).square().sum().backward()
    reached = [all(p.grad is not None for p in column.parameters()) for column in module.columns]
    assert [False, True, False] == reached
    assert all(p.grad is None for place in (0, 2) for p in module.columns[place].parameters())


def test_a_progressive_network_has_a_lateral_connection_into_every_layer_but_the_first() -> None:
    module: Any = Progressive(hidden=(4, 5), activation="crelu").build((3,), 2, 3)
    assert [0, 2, 2] == [len(column.lateral) for column in module.columns]
    # Two columns of 4 and of 5 units, each twice.
    assert [(16, 8, 5), (20, 10, 2)] == [
        (a.project.in_features, a.project.out_features, a.lateral.out_features) for a in module.columns[2].lateral
    ]


def test_rows_of_several_tasks_go_through_their_own_columns() -> None:
    module = Progressive(hidden=(4,)).build((3,), 2, 3)
    x, ids = torch.rand(6, 3), torch.tensor([2, 0, 1, 1, 0, 2])
    mixed = module(x, ids)
    for task in range(3):
        torch.testing.assert_close(run(module, x[ids == task], task), mixed[ids == task])


def test_a_finished_column_never_changes() -> None:
    stream = digit_stream(2, task_ids=True)
    optimizer = Adam(lr=0.01, weight_decay=0.1)
    learner = prepared(classifier(network=Progressive(hidden=(6,)), optimizer=optimizer), stream)
    learn_one(learner, stream)
    before = weights(learner)
    learn_one(learner, stream)
    first = [name for name in before if name.startswith("columns.0.")]
    assert all(torch.equal(before[name], weights(learner)[name]) for name in first)
    assert not torch.equal(before["columns.1.layers.0.weight"], weights(learner)["columns.1.layers.0.weight"])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_stem_for_small_images_keeps_their_size(channels: int) -> None:
    module: Any = ResNet18().build((channels, 32, 32), 10, 1)
    x = torch.rand(2, channels, 32, 32)
    assert (2, 64, 32, 32) == tuple(module.maxpool(module.conv1(x)).shape)
    large: Any = ResNet18(small_images=False).build((channels, 32, 32), 10, 1)
    assert (2, 64, 8, 8) == tuple(large.maxpool(large.conv1(x)).shape)


def test_a_model_that_torchvision_lacks_gets_the_nearest() -> None:
    with pytest.raises(Problem, match="unknown model 'resnet81'; did you mean resnet18"):
        TorchvisionNetwork(name="resnet81").build((3, 32, 32), 10, 1)


def test_a_convolutional_network_has_layer_norm_and_dropout_where_asked() -> None:
    module = Cnn(channels=(4,), hidden=(5, 6), layer_norm=True, dropout=0.25).build((1, 8, 8), 3, 1)
    kinds = [type(layer).__name__ for layer in module]  # type: ignore[attr-defined]
    expected = ["Conv2d", "GroupNorm", "ReLU", "MaxPool2d", "Flatten"]
    assert [*expected, *["Linear", "LayerNorm", "ReLU", "Dropout"] * 2, "Linear"] == kinds
    assert (2, 3) == tuple(module(torch.rand(2, 1, 8, 8)).shape)
    # One group: zero mean and unit variance over channels and places of each example.
    normal = module[1](torch.rand(2, 4, 8, 8))  # type: ignore[index]
    torch.testing.assert_close(normal.mean((1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)


def test_a_slope_of_another_activation_is_refused() -> None:
    with pytest.raises(Problem, match="activation relu has no negative slope"):
        Mlp(negative_slope=0.1)
    assert 0.1 == Mlp(activation="leaky_relu", negative_slope=0.1).build((3,), 2)[2].negative_slope  # type: ignore[index]


def test_a_residual_network_of_full_width_is_that_of_torchvision() -> None:
    torch.manual_seed(0)
    expected = import_torchvision().models.resnet18(num_classes=10).state_dict()
    torch.manual_seed(0)
    found = ResNet18(small_images=False).build((3, 32, 32), 10).state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize("small_images", [True, False])
def test_the_reduced_residual_network(small_images: bool) -> None:
    network = ResNet18(width=20, small_images=small_images).build((3, 32, 32), 100)
    # Of each stage: convolutions, shortcut, normalizations; by hand.
    stages = [
        4 * 20 * 20 * 9 + 4 * 40,
        20 * 40 * 9 + 3 * 40 * 40 * 9 + 20 * 40 + 5 * 80,
        40 * 80 * 9 + 3 * 80 * 80 * 9 + 40 * 80 + 5 * 160,
        80 * 160 * 9 + 3 * 160 * 160 * 9 + 80 * 160 + 5 * 320,
    ]
    first = 3 * 20 * (9 if small_images else 49) + 40
    assert first + sum(stages) + 160 * 100 + 100 == sum(p.numel() for p in network.parameters())
    assert (2, 100) == network(torch.zeros(2, 3, 32, 32)).shape
