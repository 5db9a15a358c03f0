"""Faster ways to execute a network: equal to the original, or not used."""

import logging
import threading
from collections.abc import Iterator

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from site_agent.network import acceleration
from site_agent.network.acceleration import accelerate, relative_error
from site_agent.network.folding import aten, fold
from site_agent.network.lanes import Lanes

has_bf16 = pytest.mark.skipif(not acceleration.has_bf16(), reason="the processor lacks bfloat16")
has_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="built without oneDNN")


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    """Threads that wait for each other make small networks slow on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_images(n: int = 2, channels: int = 3, size: int = 32) -> torch.Tensor:
    images = torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(2))
    return images.contiguous(memory_format=torch.channels_last)


def make_network(name: str, size: int = 32) -> nn.Module:
    torch.manual_seed(0)
    options = {"img_size": size} if "vit" in name else {}
    return warmed(timm.create_model(name, num_classes=0, **options))


def warmed(network: nn.Module) -> nn.Module:
    """Give batch normalisations statistics that are not those of an untrained network."""
    random = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=random)
            module.running_var.uniform_(0.5, 2, generator=random)
            if module.affine:
                module.weight.data.uniform_(0.5, 1.5, generator=random)
                module.bias.data.normal_(0, 0.2, generator=random)
    return network.eval().requires_grad_(False)


def operators(network: torch.fx.GraphModule) -> set[object]:
    return {node.target for node in network.graph.nodes if node.op == "call_function"}


def assert_equal_after_folding(network: nn.Module, images: torch.Tensor, tolerance: float = 1e-5) -> None:
    with torch.no_grad():
        expected, found = network(images), fold(network, images)(images)
    scale = expected.abs().max()
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "name",
    [
        "resnet10t",  # residual blocks, pooling
        "tf_mobilenetv3_small_minimal_100",  # TensorFlow padding
        "mobilenetv3_small_050",  # hard swish, squeeze and excitation
        "test_efficientnet",  # swish
        "test_convnext",  # layer normalisation, no batch normalisation
        "test_nfnet",  # standardised weights
        "test_byobnet",  # parallel branches
        "test_vit",  # attention
    ],
)
def test_folded_network_gives_the_same_features(name: str) -> None:
    assert_equal_after_folding(make_network(name), make_images())


@has_onednn
def test_folded_convolutional_network_holds_little_but_convolutions() -> None:
    folded = fold(make_network("tf_mobilenetv3_small_minimal_100"), make_images())
    assert operators(folded) == {
        torch.ops.mkldnn._convolution_pointwise.default,
        torch.ops.mkldnn._convolution_pointwise.binary,
        aten.mean.dim,
        aten.view.default,
    }


def test_folding_leaves_the_network_itself_unchanged() -> None:
    network = make_network("resnet10t")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fold(network, make_images(), torch.bfloat16)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_folding_works_without_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    network = make_network("resnet10t")
    assert_equal_after_folding(network, make_images())
    assert aten.convolution.default in operators(fold(network, make_images()))


class Padded(nn.Module):
    """A convolution that pads each side as told."""

    def __init__(self, convolution: nn.Conv2d, pad: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.convolution, self.pad = convolution, pad

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.convolution(functional.pad(images, self.pad))


sides = st.integers(0, 3)


@settings(max_examples=40, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    pad=st.tuples(sides, sides, sides, sides),
    groups=st.sampled_from([1, 3]),
)
def test_lopsided_padding_becomes_part_of_the_kernel(
    kernel: tuple[int, int], stride: int, padding: int, pad: tuple[int, int, int, int], groups: int
) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 6, kernel, stride=stride, padding=padding, groups=groups)
    network = Padded(convolution, pad).eval().requires_grad_(False)
    assert_equal_after_folding(network, make_images(size=11))
    assert aten.constant_pad_nd.default not in operators(fold(network, make_images(size=11)))


@settings(max_examples=20, deadline=None)
@given(affine=st.booleans(), bias=st.booleans(), eps=st.sampled_from([1e-5, 1e-3]))
def test_batch_normalisation_becomes_part_of_the_weights(affine: bool, bias: bool, eps: float) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 8, 3, bias=bias)
    network = warmed(nn.Sequential(convolution, nn.BatchNorm2d(8, eps=eps, affine=affine)))
    assert_equal_after_folding(network, make_images(size=9))
    assert not {aten.native_batch_norm.default} & operators(fold(network, make_images(size=9)))


def test_batch_normalisation_before_a_convolution_stays() -> None:
    torch.manual_seed(0)
    network = warmed(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 3)))
    assert_equal_after_folding(network, make_images(size=9))


@pytest.mark.parametrize(
    "activation",
    [
        nn.ReLU(inplace=True),
        nn.ReLU6(),
        nn.Hardtanh(-0.5, 0.7),
        nn.Hardswish(),
        nn.SiLU(),
        nn.Sigmoid(),
        nn.GELU(),
        nn.GELU("tanh"),
        nn.LeakyReLU(0.2),
        nn.Softplus(),
    ],
    ids=str,
)
def test_activation_becomes_part_of_the_convolution_or_stays(activation: nn.Module) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3), activation).eval().requires_grad_(False)
    assert_equal_after_folding(network, make_images(size=9))


class Branches(nn.Module):
    """Two convolutions of one image, added, with an activation; the sum is used twice if asked."""

    def __init__(self, activation: nn.Module, *, reused: bool, factor: float = 1.0) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1)
        self.activation, self.reused, self.factor = activation, reused, factor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        total = torch.add(self.left(images), self.right(images), alpha=self.factor)
        return self.activation(total) + total if self.reused else self.activation(total)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.SiLU()], ids=str)
@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_residual_addition_keeps_its_meaning(activation: nn.Module, reused: bool, factor: float) -> None:
    torch.manual_seed(0)
    network = Branches(activation, reused=reused, factor=factor).eval().requires_grad_(False)
    assert_equal_after_folding(network, make_images(size=9))


class Shifted(nn.Module):
    """A convolution plus a constant."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.convolution, self.shift = nn.Conv2d(3, 4, 1), nn.Parameter(torch.ones(shape))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.convolution(images) + self.shift


@pytest.mark.parametrize("shape", [(4, 1, 1), (2, 4, 9, 9)])
def test_constant_may_follow_a_convolution(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    assert_equal_after_folding(Shifted(shape).eval().requires_grad_(False), make_images(size=9))


@pytest.mark.parametrize(
    ("mode", "arithmetic"),
    [("off", "float32 eager cpu"), ("fold", "float32 folded cpu"), ("auto", "float32 folded cpu")],
)
def test_mode_decides_the_arithmetic(mode: acceleration.Acceleration, arithmetic: str) -> None:
    assert accelerate(make_network("resnet10t"), make_images(), mode).arithmetic == arithmetic


@has_bf16
def test_bf16_is_close_and_returns_float32() -> None:
    network, images = make_network("resnet10t"), make_images()
    forward = accelerate(network, images, "bf16")
    assert forward.arithmetic == "bfloat16 folded cpu"
    features = forward.run(images)
    assert features.dtype == torch.float32
    assert 0 < float(relative_error(features, network(images)).max()) < 0.05


def test_bf16_without_instructions_for_it_is_float32(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(acceleration, "has_bf16", lambda: False)
    forward = accelerate(make_network("resnet10t"), make_images(), "bf16")
    assert forward.arithmetic == "float32 folded cpu"
    assert "no bfloat16 instructions" in caplog.text


class Undecided(nn.Module):
    """A network whose path depends on its input, which no trace can follow."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3)) if float(images.sum()) > 0 else images.amax((2, 3))


class Clocked(nn.Module):
    """A network that does something else each time."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return images.mean((2, 3)) * self.calls


@pytest.mark.parametrize(
    ("network", "reason"),
    [(Undecided(), "cannot be folded"), (Clocked(), "is off by")],
    ids=["fails", "differs"],
)
def test_network_that_cannot_be_folded_runs_as_it_is_with_a_warning(
    network: nn.Module, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "fedprint.site"):
        forward = accelerate(network, make_images(), "fold")
    assert (forward.arithmetic, forward.run) == ("float32 eager cpu", network)
    assert reason in caplog.text


def test_relative_error_is_per_image_and_infinite_nowhere() -> None:
    expected = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    error = relative_error(torch.tensor([[3.0, 4.5], [0.0, 0.0]]), expected)
    assert error.tolist() == pytest.approx([0.1, 0.0])


def test_cuda_settings_leave_float32_as_it_is() -> None:
    network, images = make_network("resnet10t"), make_images()
    forward = acceleration._on_cuda(network, mixed=False)
    assert forward.arithmetic == "float32 eager cuda"
    torch.testing.assert_close(forward.run(images), network(images))


def test_lanes_keep_order_and_take_one_core_each() -> None:
    torch.set_num_threads(2)
    seen: list[tuple[str, int]] = []

    def double(part: torch.Tensor) -> torch.Tensor:
        seen.append((threading.current_thread().name, torch.get_num_threads()))
        return part * 2

    parts = [torch.tensor([float(i)]) for i in range(20)]
    assert torch.cat(Lanes(3).map(double, parts)).tolist() == [2.0 * i for i in range(20)]
    assert {cores for _, cores in seen} == {1}
    assert all(name.startswith("fedprint-lane") for name, _ in seen)
    assert torch.get_num_threads() == 2


def test_threads_started_after_lanes_still_use_all_cores() -> None:
    torch.set_num_threads(2)
    Lanes(3)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert found == [2]


def test_failure_in_a_lane_reaches_the_caller() -> None:
    def fail(part: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        Lanes(1).map(fail, [torch.zeros(1)])
