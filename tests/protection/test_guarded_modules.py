"""Guards of torch modules: the order of calls, interruption, data of every kind, and refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from harness import differences
from method_settings import METHODS, method
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, SubsetRandomSampler, TensorDataset

import rlcl
from rlcl.errors import DataError, UnsupportedError
from rlcl.methods.packnet import PackNet
from rlcl.protection.guard import GuardError
from rlcl.protection.model_guard import ModelGuard
from rlcl.state import clone_state
from rlcl.types import Method

X, Y = torch.rand(40, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
TASK_IDS = ("packnet", "xdg")
REFUSED = ("clear", "selective_replay", "mir")  # see test_beside_the_trainer.py


def guarded(*methods: Method, loss: Any = F.cross_entropy, **settings: Any) -> ModelGuard:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return rlcl.protect(model, torch.optim.SGD(model.parameters(), 0.1), methods, loss=loss, **settings)


def weights(guard: ModelGuard) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in guard.host.module.named_parameters()}


def train(guard: ModelGuard, parts: Sequence[int] = range(4)) -> None:
    for part in parts:
        guard.step(X[part * 10 : part * 10 + 10], Y[part * 10 : part * 10 + 10])


def tried(name: str) -> tuple[ModelGuard, Callable[[int], dict[str, Any]]]:
    """A guard with a method, and the settings of its experiences."""
    changes = {"cloning": {"critic_strength": 0.0}, "generative_replay": {"mixing": "sum", "labels": "hard"}}
    ids = name in TASK_IDS
    guard = guarded(method(name, **changes.get(name, {})), task_ids=ids, input_shape=(4,))
    return guard, lambda task: {"task_id": task if ids else None, "updates": 4}


def test_states_of_all_memories_are_read_without_pickle(tmp_path: Path) -> None:
    sizes = {"reservoir": {"capacity": 9}, "class_balanced": {"capacity": 9}, "ring": {"per_class": 3}}
    sizes |= {"gss": {"capacity": 9}, "herding": {"capacity": 9, "fill": "experience"}}
    for memory, settings in sizes.items():
        guard = guarded(rlcl.Rehearsal(memory=memory, **settings))  # type: ignore[arg-type]
        with guard.experience((X, Y)):
            train(guard)
        torch.save(guard.state_dict(), tmp_path / "state")
        other = guarded(rlcl.Rehearsal(memory=memory, **settings))  # type: ignore[arg-type]
        other.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
        assert [] == differences(clone_state(guard.state_dict()), clone_state(other.state_dict()))


@pytest.mark.parametrize("data", [None, (X, Y)], ids=["seen", "given"])
@pytest.mark.parametrize("name", [name for name in METHODS if name not in REFUSED])
def test_interrupted_and_resumed_is_as_if_nothing_had_happened(
    name: str, data: tuple[Tensor, Tensor] | None, tmp_path: Path
) -> None:
    through, settings = tried(name)
    for task in range(3):
        with through.experience(data, **settings(task)):
            train(through)

    first, _ = tried(name)
    with first.experience(data, **settings(0)):
        train(first)
    first.begin(data, **settings(1))
    train(first, range(2))
    torch.save([first.state_dict(), first.host.module.state_dict(), first.host.optimizer.state_dict()], tmp_path / "x")
    second, _ = tried(name)
    guard_state, *states = torch.load(tmp_path / "x", weights_only=True)
    for part, state in zip((second.host.module, second.host.optimizer), states, strict=True):
        part.load_state_dict(state)
    second.load_state_dict(guard_state)
    with second.experience(data, **settings(1)):
        train(second, range(2, 4))
    with second.experience(data, **settings(2)):
        train(second)
    assert [] == differences(weights(through), weights(second))
    assert [] == differences(clone_state(through.state_dict()), clone_state(second.state_dict()))
    assert through.quantities() == second.quantities()


def interrupted(guard: ModelGuard) -> None:
    with guard.experience():
        train(guard, range(2))
        raise KeyboardInterrupt


def test_an_exception_leaves_the_experience_open() -> None:
    guard = guarded(rlcl.Si(strength=1.0))
    expected = guarded(rlcl.Si(strength=1.0))
    for _ in range(2):
        with expected.experience():
            train(expected)
    with pytest.raises(KeyboardInterrupt):
        interrupted(guard)
    with guard.experience():
        train(guard, range(2, 4))
    assert 1 == guard.experiences
    with guard.experience():
        train(guard)
    assert [] == differences(weights(expected), weights(guard))


def test_calls_in_the_wrong_order_are_named() -> None:
    guard = guarded(rlcl.L2Init(strength=0.1))
    with pytest.raises(GuardError, match=r"optimizer\.step was called outside an experience"):
        guard.host.optimizer.step()
    with pytest.raises(GuardError, match=r"guard\.see was called outside an experience"):
        guard.see(X, Y)
    with pytest.raises(GuardError, match="no experience has begun"):
        guard.end()
    with guard.experience(), pytest.raises(GuardError, match="cannot contain each other"):
        guard.begin()
    with pytest.raises(GuardError, match="task_id: got 1; set task_ids=True"):
        guard.begin(task_id=1)
    with pytest.raises(GuardError, match=r"task_id: got None; give guard\.experience its task_id"):
        guarded(rlcl.L2Init(), task_ids=True).begin()


def test_a_method_that_needs_the_minibatch_is_never_idle() -> None:
    guard = guarded(rlcl.Ewc(), rlcl.Rehearsal(capacity=10))
    with pytest.raises(UnsupportedError, match=r"methods: rehearsal needs the minibatch .* guard\.see\(x, y\)"):
        train_blindly(guard)
    guard = guarded(method("lwf"))
    guard.begin()
    with pytest.raises(UnsupportedError, match="methods: lwf needs the targets"):
        guard.see(X)


def train_blindly(guard: ModelGuard) -> None:
    with guard.experience():
        F.cross_entropy(guard.host.module(X), Y).backward()
        guard.host.optimizer.step()


def test_examples_that_methods_need_at_the_end_are_asked_for() -> None:
    guard = guarded(rlcl.Ewc())
    with pytest.raises(UnsupportedError, match=r"give guard\.experience its data, or call guard\.see"):
        train_blindly(guard)


def test_an_experience_that_could_not_end_is_continued_with_its_data() -> None:
    """Methods that ended before the failure do not end twice."""
    guard = guarded(rlcl.Distill(samples=40, capacity=1000), method("mas"), samples=40)
    with guard.experience():
        train(guard)
    assert 40 == guard.quantities()["distill/memory_examples"]
    mas = guard._ordered[1]
    failing = mas.end
    mas.end = lambda experience: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError), guard.experience():
        train(guard)
    mas.end = failing  # type: ignore[method-assign]
    with guard.experience():
        pass
    assert 2 == guard.experiences
    assert 80 == guard.quantities()["distill/memory_examples"]

    guard = guarded(rlcl.Ewc())
    with pytest.raises(UnsupportedError, match="give guard"):
        train_blindly(guard)
    with guard.experience((X, Y)):
        pass
    assert 1 == guard.experiences


def test_a_layer_that_is_kept_in_evaluation_mode_stays_so() -> None:
    norm = nn.BatchNorm1d(4)
    model = nn.Sequential(norm, nn.Linear(4, 3))
    norm.eval()
    guard = rlcl.protect(
        model, torch.optim.SGD(model.parameters(), 0.1), [method("der"), rlcl.Ewc()], loss=F.cross_entropy
    )
    with guard.experience((X, Y)):
        for _ in range(3):
            guard.step(X, Y)
    assert not norm.training
    assert model.training
    assert norm.running_mean is not None
    assert 0 == norm.running_mean.abs().max()


def test_seeing_and_stepping_oneself_is_the_same_as_step() -> None:
    stepping, seeing = guarded(rlcl.Rehearsal(capacity=20)), guarded(rlcl.Rehearsal(capacity=20))
    for _ in range(2):
        with stepping.experience():
            train(stepping)
        with seeing.experience():
            for part in range(4):
                x, y = X[part * 10 : part * 10 + 10], Y[part * 10 : part * 10 + 10]
                seeing.see(x.numpy(), y.numpy())
                seeing.host.optimizer.zero_grad()
                F.cross_entropy(seeing.host.module(x), y).backward()
                seeing.host.optimizer.step()
    assert [] == differences(weights(stepping), weights(seeing))


def test_the_gradients_of_a_closure_are_those_that_methods_see() -> None:
    stepping, closing = guarded(rlcl.Rehearsal(capacity=20)), guarded(rlcl.Rehearsal(capacity=20))
    for _ in range(2):
        with stepping.experience():
            train(stepping)
        with closing.experience():
            for part in range(4):
                x, y = X[part * 10 : part * 10 + 10], Y[part * 10 : part * 10 + 10]
                calls: list[Tensor] = []

                def closure(x: Tensor = x, y: Tensor = y, calls: list[Tensor] = calls) -> Tensor:
                    closing.see(x, y)
                    closing.host.optimizer.zero_grad()
                    calls.append(F.cross_entropy(closing.host.module(x), y))
                    calls[-1].backward()
                    return calls[-1]

                optimizer: Any = closing.host.optimizer
                loss = optimizer.step(closure) if part % 2 else optimizer.step(closure=closure)
                assert [loss] == calls
    assert [] == differences(weights(stepping), weights(closing))


@pytest.mark.parametrize("convert", [Tensor.numpy, Tensor.int], ids=["numpy", "int32"])
def test_the_classes_are_those_of_targets_of_any_form(convert: Callable[[Tensor], Any]) -> None:
    """Methods that distill outputs of the seen classes would do nothing without them."""
    guards = [guarded(method("lwf")) for _ in range(2)]
    for guard, targets in zip(guards, (Y, convert(Y)), strict=True):
        for _ in range(2):
            with guard.experience((X, Y)):
                guard.see(X, targets)
                guard.host.optimizer.zero_grad()
                F.cross_entropy(guard.host.module(X), Y).backward()
                guard.host.optimizer.step()
    assert guards[0].quantities()["lwf/penalty"] > 0
    assert guards[0].quantities() == guards[1].quantities()


def test_the_minibatches_of_one_step_are_joined() -> None:
    """Gradients of two halves that are accumulated are those of the whole, for memories too."""
    whole, halves = guarded(rlcl.Rehearsal(capacity=100)), guarded(rlcl.Rehearsal(capacity=100))
    for _ in range(3):
        with whole.experience():
            whole.step(X, Y)
        with halves.experience():
            halves.host.optimizer.zero_grad()
            for part in (slice(0, 20), slice(20, 40)):
                halves.see(X[part], Y[part])
                (F.cross_entropy(halves.host.module(X[part]), Y[part]) / 2).backward()
            halves.host.optimizer.step()
    torch.testing.assert_close(weights(whole), weights(halves))
    assert whole.quantities() == halves.quantities()


class Lines(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(list(zip(X, Y, strict=True)))


class Noisy(TensorDataset):
    """A data set that augments its examples."""

    def __getitem__(self, index: int) -> Any:
        x, y = super().__getitem__(index)
        return x + 0 * torch.rand(()), y


DATA: dict[str, Any] = {
    "arrays": (X.numpy(), Y.numpy()),
    "data set": TensorDataset(X, Y),
    "augmented": Noisy(X, Y),
    "loader": DataLoader(TensorDataset(X, Y), batch_size=7, shuffle=True),
    "stream": DataLoader(Lines(), batch_size=7),
    "minibatches": [(X[:20], Y[:20]), (X[20:], Y[20:])],
}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_every_kind_of_data_gives_the_same_examples(data: Any) -> None:
    expected, guard = guarded(rlcl.Ewc(samples=20)), guarded(rlcl.Ewc(samples=20))
    for each, given in ((expected, (X, Y)), (guard, data)):
        for _ in range(2):
            state = torch.get_rng_state()
            with each.experience(given):
                train(each)
            assert given is DATA["stream"] or torch.equal(state, torch.get_rng_state())
    torch.testing.assert_close(weights(expected), weights(guard))


class Batches(TensorDataset):
    """A data set whose items are minibatches."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return X[index * 10 : index * 10 + 10], Y[index * 10 : index * 10 + 10]


@pytest.mark.parametrize(
    ("loader", "rows"),
    [
        (DataLoader(TensorDataset(X, Y), batch_size=5, sampler=SubsetRandomSampler(range(10, 20))), range(10, 20)),
        (DataLoader(TensorDataset(X, Y), batch_sampler=[[0, 1], [2]]), range(3)),
        (DataLoader(TensorDataset(X), batch_size=5), range(40)),
        (DataLoader(Batches(), batch_size=None), range(40)),
        (DataLoader(Batches(), batch_size=1, collate_fn=lambda items: items[0]), range(40)),
        ([(X[:4],), (X[4:6],)], range(6)),
    ],
    ids=["sampler", "batch sampler", "unlabelled", "unbatched", "collate", "two minibatches"],
)
def test_examples_are_those_that_a_loader_yields(loader: Any, rows: Sequence[int]) -> None:
    guard = guarded(rlcl.Distill(samples=100, capacity=100))
    with guard.experience(loader):
        pass
    found = guard.host.sample(None, rlcl.Seeds(0).numpy()).inputs
    assert sorted(found.tolist()) == sorted(X[list(rows)].tolist())


@pytest.mark.parametrize("name", ["ewc", "mas", "distill"])
@pytest.mark.parametrize("given", [True, False])
def test_outputs_of_another_shape_are_refused_before_the_training(name: str, given: bool) -> None:
    model = nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Linear(2, 3))  # (B, 2, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    guard = rlcl.protect(model, optimizer, [method(name)], kind="categorical")
    message = rf"{name} needs outputs of shape \(B, K\), and those of Sequential have shape \(1, 2, 3\)"
    with pytest.raises(UnsupportedError, match=message):
        begun(guard, (X, Y) if given else None)


def begun(guard: ModelGuard, data: Any) -> None:
    guard.begin(data)
    guard.see(X, Y)


def test_a_compiled_model_and_the_plain_one_share_states() -> None:
    compiled, plain = guarded(rlcl.Ewc(strength=10)), guarded(rlcl.Ewc(strength=10))
    module = torch.compile(compiled.host.module, backend="eager")
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    first = rlcl.protect(module, optimizer, [rlcl.Ewc(strength=10)], loss=F.cross_entropy)
    for guard in (first, plain):
        with guard.experience((X, Y)):
            train(guard)
    second = guarded(rlcl.Ewc(strength=10))
    second.host.module.load_state_dict(plain.host.module.state_dict())
    second.load_state_dict(first.state_dict())
    for guard in (second, plain):
        with guard.experience((X, Y)):
            train(guard)
    assert second.quantities()["ewc/penalty"] == pytest.approx(plain.quantities()["ewc/penalty"], rel=1e-4)
    assert plain.quantities()["ewc/penalty"] > 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (iter([(X, Y)]), "an iterator can be read only once"),
        ("digits.csv", r"expected inputs and targets \(x, y\), .*; got str"),
        ([], "it has no examples"),
        ([X, Y], r"a list of two arrays is ambiguous; write \(x, y\), or"),
        ([3, X], "expected inputs and targets .* got a minibatch of type int"),
        ((X.double(), Y), r"the model does not accept inputs of shape \(1, 4\) and type torch.float64: .*Double"),
        ([{"x": X}], "got a minibatch of type dict"),
        (TensorDataset(X, Y, Y), "got a minibatch of type list of Tensor, Tensor, Tensor"),
        ((X, Y[:3]), r"expected as many targets as inputs; got shapes \(40, 4\) and \(3,\)"),
    ],
)
def test_other_data_is_refused(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        guarded(rlcl.Ewc()).begin(data)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": lambda o, y: (o - y).mean()}, r"methods\[0\]: ewc needs the meaning of the outputs, .* set kind to"),
        ({"kind": "logits"}, "kind: expected one of categorical, values, .* got 'logits'"),
        (
            {"loss": nn.CrossEntropyLoss(reduction="sum")},
            "expected the mean over the minibatch, and its reduction is sum",
        ),
        ({"loss": 3}, "loss: expected a function of outputs and targets, got int"),
        ({"loss": None, "methods": [rlcl.Rehearsal(capacity=3)]}, "rehearsal does not support .* set loss"),
        ({"methods": []}, "methods: expected at least one method"),
        ({"methods": [PackNet()]}, r"packnet does not support .* the experiences have no task ids; set task_ids=True"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: dict[str, Any], message: str) -> None:
    methods = settings.get("methods", [rlcl.Ewc()])
    with pytest.raises(UnsupportedError, match=message):
        guarded(*methods, **{key: value for key, value in settings.items() if key != "methods"})


def test_models_and_optimizers_that_do_not_fit_are_named() -> None:
    model, other = nn.Linear(4, 3), nn.Linear(4, 3)
    with pytest.raises(UnsupportedError, match="it has none of the parameters of the model"):
        rlcl.protect(model, torch.optim.SGD(other.parameters(), 0.1), [rlcl.Si()])
    with pytest.raises(UnsupportedError, match="LBFGS computes several gradients in a step"):
        rlcl.protect(model, torch.optim.LBFGS(model.parameters()), [rlcl.Si()])
    with pytest.raises(UnsupportedError, match="optimizer: expected an optimizer of torch, got NoneType"):
        rlcl.protect(model, methods=[rlcl.Si()])
    with pytest.raises(UnsupportedError, match=r"model: expected a torch module or .* got dict"):
        rlcl.protect({}, methods=[rlcl.Si()])


def test_an_optimizer_has_one_guard() -> None:
    guard = guarded(rlcl.Si())
    with pytest.raises(GuardError, match=r"another guard protects it, .* create a new optimizer"):
        rlcl.protect(guard.host.module, guard.host.optimizer, [rlcl.Si()])


def test_a_step_without_a_loss_function_is_refused() -> None:
    guard = guarded(rlcl.L2Init(), loss=None)
    with guard.experience(), pytest.raises(UnsupportedError, match=r"guard\.step needs the loss function; set loss"):
        guard.step(X, Y)


def test_a_state_of_other_methods_is_refused() -> None:
    with pytest.raises(GuardError, match=r"the state is of the methods \['si'\], and the guard has \['l2_init'\]"):
        guarded(rlcl.L2Init()).load_state_dict(guarded(rlcl.Si()).state_dict())


def test_a_state_of_a_model_with_other_names_is_refused() -> None:
    """Methods would ignore what they do not find."""
    guard = guarded(rlcl.Ewc())
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    other = rlcl.protect(model, torch.optim.SGD(model.parameters(), 0.1), [rlcl.Ewc()], loss=F.cross_entropy)
    with pytest.raises(GuardError, match=r"of a model with other parameters: this one has no model\.0\.0\.bias"):
        guard.load_state_dict(other.state_dict())


def test_a_minibatch_whose_step_is_skipped_is_discarded() -> None:
    guard, expected = guarded(rlcl.Rehearsal(capacity=100)), guarded(rlcl.Rehearsal(capacity=100))
    for _ in range(2):
        with expected.experience():
            train(expected)
        with guard.experience():
            guard.see(X * float("nan"), Y)
            guard.discard()
            train(guard)
    assert [] == differences(weights(expected), weights(guard))
    assert 80 == guard.quantities()["rehearsal/memory_examples"]


def test_a_layer_that_is_frozen_within_an_experience_is_named() -> None:
    guard = guarded(rlcl.Si())
    with guard.experience():
        train(guard)
    guard.host.module[0].requires_grad_(False)  # type: ignore[index]
    with guard.experience():
        train(guard)
    guard.begin()
    guard.host.module[2].requires_grad_(False)  # type: ignore[index]
    with pytest.raises(GuardError, match=r"model\.2\.weight was frozen .* between two experiences"):
        guard.host.optimizer.step()


@pytest.mark.parametrize(
    ("targets", "form"),
    [
        (Y[:, None], r"shape \(40, 1\) and type torch.int64"),
        (torch.rand(40, 3), r"shape \(40, 3\) and type torch.float32"),
        (Y - 1, "the label -1"),
    ],
)
def test_targets_that_are_no_classes_are_refused_at_once(targets: Tensor, form: str) -> None:
    guard = guarded(method("lwf"))
    guard.begin((X, Y))
    with pytest.raises(UnsupportedError, match=f"methods: lwf needs class labels .* got {form}"):
        guard.see(X, targets)


def test_a_refused_guard_leaves_the_optimizer_as_it_was() -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    replay = {"mixing": "sum", "labels": "hard"}
    for _ in range(2):
        with pytest.raises(UnsupportedError, match=r"generative_replay does not support .* set input_shape"):
            rlcl.protect(model, optimizer, [method("der"), method("generative_replay", **replay)], loss=F.cross_entropy)
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_a_packed_model_predicts_for_each_task_as_it_did() -> None:
    guard = guarded(PackNet(), task_ids=True)
    outputs = []
    for task in range(2):
        with guard.experience(task_id=task, updates=4):
            train(guard)
        with guard.predicting(task):
            outputs.append(guard.host.module(X).detach())
    with guard.predicting(0):
        assert torch.equal(outputs[0], guard.host.module(X))
    assert not torch.equal(outputs[0], outputs[1])


def test_seen_examples_are_a_sample_of_their_experience() -> None:
    guard = guarded(rlcl.Si(), samples=10)
    for part in (0, 1):
        with guard.experience():
            for _ in range(5):
                guard.step(X[part * 20 : part * 20 + 20], Y[part * 20 : part * 20 + 20])
        found = guard.host.sample(None, rlcl.Seeds(0).numpy()).inputs
        assert 10 == len(found)
        assert all(any(torch.equal(row, x) for x in X[part * 20 : part * 20 + 20]) for row in found)
