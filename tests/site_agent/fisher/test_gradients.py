"""Per-image squared gradients against plain differentiation of one image at a time."""

import pytest
import timm
import torch
from torch import nn

from federation.errors import ExtractorError
from site_agent.fisher.gradients import SquaredGradients
from site_agent.fisher.layers import FED, TASK2VEC, chosen_weights

GRANULARITIES = pytest.mark.parametrize("granularity", ["filter", "kernel"])


def frozen(network):
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval().requires_grad_(False).double().to(memory_format=torch.channels_last)


def batch(n=3, channels=3, size=12):
    random = torch.Generator().manual_seed(0)
    images = torch.randn(n, channels, size, size, generator=random, dtype=torch.float64)
    return images.to(memory_format=torch.channels_last)


def ours(network, images, upstream, granularity, choice=TASK2VEC):
    weights = chosen_weights(network, choice)
    with SquaredGradients(weights, granularity) as squares:
        features = network(images)
    features.backward(upstream)
    return squares.of_layers([name for name in weights if name in squares.reached])


def averaged(gradient, granularity):
    if gradient.ndim == 1:
        return gradient.square()
    if granularity == "filter":
        return gradient.square().flatten(1).mean(dim=1)
    return (
        gradient.square().flatten(2).mean(dim=2).flatten()
        if gradient.ndim == 4
        else gradient.square().flatten()
    )


def oracle(network, images, upstream, granularity, choice=TASK2VEC):
    weights = list(chosen_weights(network, choice).values())
    rows = []
    for image, slope in zip(images.split(1), upstream.split(1), strict=True):
        for weight in weights:
            weight.requires_grad_()
        gradients = torch.autograd.grad((network(image) * slope).sum(), weights)
        rows.append(torch.cat([averaged(gradient, granularity) for gradient in gradients]))
    network.requires_grad_(False)
    return torch.stack(rows)


def compare(network, granularity, choice=TASK2VEC, **sizes):
    network, images = frozen(network), batch(**sizes)
    upstream = torch.randn(network(images).shape, generator=torch.Generator().manual_seed(2)).double()
    found = ours(network, images, upstream, granularity, choice)
    expected = oracle(network, images, upstream, granularity, choice)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def pooled(*layers):
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


@GRANULARITIES
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 6, 3),
        nn.Conv2d(3, 6, 3, padding=1, stride=2),
        nn.Conv2d(3, 6, (3, 5), padding=(1, 2), dilation=2),
        nn.Conv2d(3, 6, 4, padding="same"),
        nn.Conv2d(3, 6, 3, padding="valid"),
        nn.Conv2d(3, 6, 1),
        nn.Conv2d(3, 6, 1, stride=2),
        nn.Conv2d(3, 3, 3, groups=3, padding=1),
        nn.Conv2d(3, 6, 5, groups=3, padding=2, stride=2),
        timm.layers.Conv2dSame(3, 6, 3, stride=2),
        timm.layers.BatchNormAct2d(3),
        nn.BatchNorm2d(3),
    ],
    ids=str,
)
def test_every_kind_of_layer_agrees_with_one_image_at_a_time(layer, granularity):
    compare(pooled(layer), granularity)


@GRANULARITIES
@pytest.mark.parametrize("size", [4, 12])
def test_few_and_many_positions_agree(granularity, size):
    compare(
        pooled(nn.Conv2d(3, 32, 3), nn.ReLU(inplace=True), nn.Conv2d(32, 24, 3)), granularity, size=size + 2
    )


@GRANULARITIES
def test_grouped_channels_and_matrices_agree(granularity):
    compare(
        nn.Sequential(pooled(nn.Conv2d(4, 8, 3, groups=2)), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 5)),
        granularity,
        channels=4,
    )


@GRANULARITIES
def test_matrices_at_many_positions_agree(granularity):
    tokens = nn.Sequential(nn.Flatten(2), nn.Linear(16, 9), nn.GELU(), nn.Linear(9, 6), nn.Flatten())
    compare(tokens, granularity, size=4)


@GRANULARITIES
@pytest.mark.parametrize("choice", [TASK2VEC, FED], ids=["task2vec", "fed"])
@pytest.mark.parametrize("name", ["resnet10t", "test_efficientnet", "lcnet_035"])
def test_whole_networks_agree_with_one_image_at_a_time(name, choice, granularity):
    compare(timm.create_model(name, num_classes=0), granularity, choice, n=2, size=32)


def test_frozen_weights_stay_without_gradients():
    network = frozen(timm.create_model("resnet10t", num_classes=0))
    images = batch(2, size=32)
    ours(network, images, torch.ones_like(network(images)), "filter")
    assert all(weight.grad is None and not weight.requires_grad for weight in network.parameters())


def test_weights_that_are_used_twice_are_refused():
    shared = nn.Conv2d(3, 3, 3, padding=1)
    network = frozen(pooled(shared, nn.ReLU(), shared))
    with pytest.raises(ExtractorError, match="uses the weights of 0 twice"):
        ours(network, batch(), torch.ones(3, 3, dtype=torch.float64), "filter")


def test_inputs_that_change_in_place_are_refused():
    class Spoiling(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            x = x + 0
            y = self.conv(x)
            x.mul_(2)
            return y.mean(dim=(2, 3))

    with pytest.raises(ExtractorError, match="changes the input of conv in place"):
        ours(frozen(Spoiling()), batch(), torch.ones(3, 3, dtype=torch.float64), "filter")


def test_batch_statistics_are_refused():
    network = frozen(pooled(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))).train()
    with pytest.raises(ExtractorError, match="evaluation mode"):
        ours(network, batch(), torch.ones(3, 3, dtype=torch.float64), "filter")


def test_a_layer_that_no_gradient_reaches_is_named():
    network = frozen(pooled(nn.Conv2d(3, 3, 1)))
    with SquaredGradients(chosen_weights(network, TASK2VEC), "filter") as squares:
        network(batch())
    with pytest.raises(ExtractorError, match="no gradient reaches layer '0'"):
        squares.of_layers(["0"])
