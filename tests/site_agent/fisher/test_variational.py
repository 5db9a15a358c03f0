import numpy as np
import pytest
import torch
from torch import nn

from site_agent.extractors import ExtractorSpec, load_extractor
from site_agent.fisher import variational
from site_agent.fisher.calls import ConvCall, LinearCall, ScaleCall, observe
from site_agent.fisher.head import LinearHead
from site_agent.fisher.recipe import FisherRecipe
from site_agent.fisher.squares import ConvSettings
from site_agent.fisher.task import estimate, n_passes
from site_agent.fisher.variational import Variational
from site_agent.fisher.weight_noise import WeightNoise
from site_agent.loading import Batch

SPEC = ExtractorSpec("timm", "lcnet_035", "random:0", image_size=32)


@pytest.fixture(scope="module")
def extractor():
    return load_extractor(SPEC, acceleration="off", device="cpu")


@pytest.fixture(scope="module")
def task(extractor):
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 32)
    images = random.integers(0, 80, (32, 3, 32, 32)) + 60 * labels[:, None, None, None]
    images = torch.from_numpy(images.astype(np.uint8))
    head = LinearHead.fit(extractor(images), labels, 0.1)
    return [Batch(images, torch.from_numpy(labels), *[torch.arange(32)] * 2)], head


@pytest.mark.parametrize(
    "call",
    [
        ConvCall(torch.randn(2, 4, 9, 9), torch.randn(6, 2, 3, 3), ConvSettings((2, 2), (1, 1), groups=2)),
        LinearCall(torch.randn(2, 5, 4), torch.randn(6, 4)),
        ScaleCall(torch.randn(2, 4, 3, 3), torch.ones(4), torch.zeros(4), torch.ones(4), 0.0),
    ],
    ids=["convolution", "matrix", "scale"],
)
def test_noise_at_the_output_has_the_variance_that_noise_on_weights_has(call):
    torch.manual_seed(0)

    def output(weight):
        if isinstance(call, ConvCall):
            return nn.functional.conv2d(call.inputs, weight, None, 2, 1, 1, 2)
        if isinstance(call, LinearCall):
            return nn.functional.linear(call.inputs, weight)
        return nn.functional.batch_norm(call.inputs, call.mean, call.variance, weight, eps=0.0)

    drawn = torch.stack([output(torch.randn_like(call.weight)) for _ in range(4000)]).var(dim=0)
    torch.testing.assert_close(drawn, call.energy().expand_as(drawn), rtol=0.2, atol=1e-6)


def test_noise_touches_chosen_layers_only():
    chosen, other = nn.Linear(3, 2), nn.Linear(2, 2)
    chosen.requires_grad_(False), other.requires_grad_(False)
    x, logs = torch.ones(4, 3), torch.zeros(2, requires_grad=True)
    with WeightNoise({"a": chosen.weight}, {"a": logs}, torch.Generator().manual_seed(0)):
        hidden, plain = chosen(x), other(torch.ones(4, 2))
    assert (hidden.detach() != chosen(x)).all()
    torch.testing.assert_close(plain, other(torch.ones(4, 2)))
    assert torch.autograd.grad(hidden.sum(), logs)[0].abs().min() > 0


def test_calls_by_keyword_are_observed_alike():
    x, w = torch.ones(1, 2, 4, 4), torch.ones(2, 2, 1, 1)
    by_name = observe(nn.functional.conv2d, (), {"input": x, "weight": w, "stride": 2})
    assert isinstance(by_name, ConvCall)
    assert by_name.settings.stride == (2, 2)
    assert observe(torch.relu, (x,), {}) is None


def test_without_data_the_precision_becomes_that_of_the_prior(extractor, task, monkeypatch):
    monkeypatch.setattr(variational, "LEARNING_RATE", 0.1)
    monkeypatch.setattr(variational, "BETA", 1.0)
    learner = Variational(extractor, task[1], FisherRecipe(estimator="variational").parameters(extractor))
    monkeypatch.setattr(learner, "_slope", lambda _: torch.zeros_like(learner._log_variances))
    for _ in range(400):
        learner.learn(iter(task[0]))
    priors = learner._log_priors.detach().numpy()
    sizes = [layer.n_filters for layer in learner._layers]
    np.testing.assert_allclose(np.log(learner.precisions()), -np.repeat(priors, sizes), atol=0.15)


def test_the_loss_rises_with_noise_as_fisher_information_says():
    # A matrix is linear in its weights, so that the curvature of the loss is exactly Fisher information.
    torch.manual_seed(0)
    n, n_classes, variance = 60_000, 3, 1e-2
    layer = nn.Linear(4, n_classes, bias=False).requires_grad_(False)
    x = torch.randn(50, 4).repeat(n // 50, 1)
    labels = torch.randint(n_classes, (50,)).repeat(n // 50)
    logs = torch.full((n_classes,), float(np.log(variance)), requires_grad=True)
    with WeightNoise({"a": layer.weight}, {"a": logs}, torch.Generator().manual_seed(1)):
        loss = nn.functional.cross_entropy(layer(x), labels)
    p = torch.softmax(layer(x), dim=1)
    fisher = (x.square().sum(dim=1, keepdim=True) * p * (1 - p)).mean(dim=0)
    (slope,) = torch.autograd.grad(loss, logs)
    torch.testing.assert_close(slope, 0.5 * variance * fisher, rtol=0.15, atol=0)


def test_the_same_task_gives_the_same_bytes(extractor, task):
    (batch,), head = task
    parameters = FisherRecipe(estimator="variational").parameters(extractor)
    halves = [
        Batch(batch.images[part], batch.labels[part], batch.indices[part], batch.draws[part])
        for part in (slice(16), slice(16, 32))
    ]
    first = estimate(lambda: iter([batch]), extractor, head, parameters, 3)
    assert estimate(lambda: iter([batch]), extractor, head, parameters, 3) == first
    assert estimate(lambda: iter(halves), extractor, head, parameters, 3) == first
    assert first.n == 32
    assert (first.embedding() > 0).all()


def test_small_tasks_are_shown_more_often(extractor):
    parameters = FisherRecipe(estimator="variational").parameters(extractor)
    assert [n_passes(parameters, n) for n in (100, 10_000, 50_000)] == [200, 2, 2]
    assert n_passes(FisherRecipe().parameters(extractor), 100) == 1
