import numpy as np
import pytest
import torch
from torch import nn

from federation.sketches import FisherSketch
from site_agent.extractors import ExtractorSpec, load_extractor
from site_agent.fisher.gradients import SquaredGradients
from site_agent.fisher.head import LinearHead
from site_agent.fisher.layers import TASK2VEC
from site_agent.fisher.montecarlo import MonteCarlo, log_probability_slopes, uniform
from site_agent.fisher.public_head import public_head
from site_agent.fisher.recipe import FisherRecipe
from site_agent.fisher.task import HeadImages, estimate, task_head
from site_agent.fisher.terms import HeadTerms
from site_agent.loading import Batch
from tests.support.sensitivity import assert_within

SPEC = ExtractorSpec("timm", "lcnet_035", "random:0", image_size=32)


@pytest.fixture(scope="module")
def extractor():
    return load_extractor(SPEC, acceleration="off", device="cpu")


def pictures(n=24, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    images = random.integers(0, 80, (n, 3, 32, 32)) + 60 * labels[:, None, None, None]
    return torch.from_numpy(images.astype(np.uint8)), labels


def in_batches(images, labels, size):
    parts = zip(images.split(size), torch.from_numpy(labels).split(size), strict=True)
    return lambda: (Batch(x, y, *[torch.arange(len(x))] * 2) for x, y in parts)


def task_sketch(extractor, batch_size, granularity="filter"):
    (images, labels), parameters = pictures(), FisherRecipe(granularity).parameters(extractor)
    head = LinearHead.fit(extractor(images), labels, 0.1)
    passes = in_batches(images, labels, batch_size)
    return estimate(passes, extractor, head, parameters, 1)


def chances(seed, n):
    return np.random.default_rng(seed).uniform(size=n)


class LinearTask:
    """A head on fixed features: the case whose Fisher information has a closed form."""

    def __init__(self, n_classes, n=400, n_features=6):
        random = np.random.default_rng(0)
        self.x = random.normal(0, 1, (n, n_features)).astype(np.float32)
        self.head = LinearHead.fit(self.x, random.integers(0, n_classes, n), 0.01)
        self.p = np.exp(self.head.log_probabilities(self.x))

    def closed_form(self):
        """F_ck = E[x_k² p_c (1 − p_c)], float64 [n_classes, n_features]."""
        return np.einsum("nk,nc->ck", self.x.astype(np.float64) ** 2, self.p * (1 - self.p)) / len(self.x)

    def slopes(self, seed):
        """∂ log p / ∂logits of a drawn label, through an identity head on the logits."""
        logits = self.head.log_probabilities(self.x).astype(np.float32)
        n_classes = logits.shape[1]
        identity = LinearHead(np.eye(n_classes), np.zeros(n_classes), self.head.classes, self.head.counts)
        return log_probability_slopes(identity, logits, chances(seed, len(logits)))

    def squares(self, slopes):
        layer = nn.Linear(self.x.shape[1], slopes.shape[1], bias=False).requires_grad_(False)
        with SquaredGradients({"head": layer.weight}, "kernel") as squares:
            output = layer(torch.from_numpy(self.x))
        output.backward(torch.from_numpy(slopes))
        return squares.of_layers(["head"]).numpy().reshape(len(self.x), slopes.shape[1], -1)

    def batch_mean_squares(self, slopes, batch):
        gradients = np.einsum("nc,nk->nck", slopes, self.x).reshape(
            -1, batch, slopes.shape[1], self.x.shape[1]
        )
        return (gradients.mean(axis=1) ** 2).mean(axis=0)


def test_per_image_squares_approach_the_closed_form_of_a_linear_head():
    task = LinearTask(4)
    exact = task.closed_form()
    draws = [task.squares(task.slopes(seed)).mean(axis=0) for seed in range(64)]

    def error(k):
        groups = np.array(draws).reshape(-1, k, *exact.shape).mean(axis=1)
        return np.sqrt(((groups - exact) ** 2).mean())

    np.testing.assert_allclose(np.mean(draws, axis=0), exact, rtol=0.05)
    # Sixteen times the draws, a quarter of the error.
    assert error(1) / error(16) == pytest.approx(4, rel=0.4)


def test_squares_of_batch_means_shrink_with_the_batch():
    task = LinearTask(4)
    exact, slopes = task.closed_form(), [task.slopes(seed) for seed in range(20)]

    def share(batch):
        return np.mean([task.batch_mean_squares(s, batch) for s in slopes], axis=0).sum() / exact.sum()

    assert share(1) == pytest.approx(1, rel=0.1)
    assert share(40) == pytest.approx(1 / 40, rel=0.2)


def test_nothing_is_left_to_chance_between_two_classes():
    task = LinearTask(2)
    for seed in range(3):
        np.testing.assert_allclose(
            task.squares(task.slopes(seed)).mean(axis=0), task.closed_form(), rtol=1e-4
        )


def test_labels_drawn_by_importance_leave_the_mean_of_squared_slopes_as_it_is():
    task = LinearTask(5)
    residuals = np.eye(5) - task.p[:, None]
    slopes = np.einsum("nyc,cf->nyf", residuals, task.head.weights)
    exact = np.einsum("ny,nyf->f", task.p, slopes**2) / len(task.x)
    drawn = [
        (log_probability_slopes(task.head, task.x, chances(seed, 400)) ** 2).mean(axis=0)
        for seed in range(100)
    ]
    np.testing.assert_allclose(np.mean(drawn, axis=0), exact, rtol=0.03)


def test_a_head_without_doubt_has_no_gradient():
    sure = LinearHead(np.array([[0.0], [0.0]]), np.array([0.0, 1e4]), np.arange(2), np.ones(2, int))
    np.testing.assert_array_equal(log_probability_slopes(sure, np.ones((3, 1), np.float32), np.zeros(3)), 0)


def test_random_numbers_belong_to_images_wherever_they_stand():
    images, _ = pictures(100)
    found, order = uniform(5, images), np.random.default_rng(0).permutation(100)
    np.testing.assert_array_equal(uniform(5, images[order]), found[order])
    np.testing.assert_array_equal(uniform(5, images.contiguous(memory_format=torch.channels_last)), found)
    assert len(set(found)) == 100
    assert ((found >= 0) & (found < 1)).all()
    assert (uniform(6, images) != found).all()


def test_one_more_patient_leaves_the_numbers_of_all_others_as_they_are(extractor):
    images, _ = pictures(13)
    parameters = FisherRecipe(head="public").parameters(extractor, [images])
    squares = MonteCarlo(extractor, public_head(parameters, extractor.n_features), parameters)
    np.testing.assert_array_equal(squares(images[1:]), squares(images)[1:])


def test_a_patient_moves_a_whole_sketch_no_further_than_declared(extractor):
    images, labels = pictures(12)
    parameters = FisherRecipe(head="public", clip=1e-4).parameters(extractor, [images])

    def of(used):
        head = task_head(parameters, None, extractor.n_features, HeadTerms(3)).head
        return estimate(in_batches(images[used], labels[used], 4), extractor, head, parameters, 1)

    assert_within(of(slice(3, 12)), of(slice(0, 12)), 3)


@pytest.mark.parametrize("granularity", ["filter", "kernel"])
def test_the_same_task_gives_the_same_bytes_whatever_the_batches(extractor, granularity):
    first = task_sketch(extractor, 24, granularity)
    assert task_sketch(extractor, 24, granularity) == first
    assert task_sketch(extractor, 16, granularity) == first


def test_the_sketch_per_filter_equals_the_one_per_kernel_averaged_over_inputs(extractor):
    images, labels = pictures()
    head = LinearHead.fit(extractor(images), labels, 0.1)
    recipes = [FisherRecipe(g, layers=TASK2VEC) for g in ("filter", "kernel")]
    by_filter, by_kernel = (MonteCarlo(extractor, head, r.parameters(extractor)) for r in recipes)
    kernel = FisherSketch.zero(recipes[1].parameters(extractor)).update(by_kernel(images))
    filters = FisherSketch.zero(recipes[0].parameters(extractor)).update(by_filter(images))
    np.testing.assert_allclose(kernel.filter_embedding(), filters.embedding(), rtol=1e-3, atol=1e-9)


def test_squares_are_those_of_log_probability_of_one_image_at_a_time(extractor):
    images, labels = pictures(6)
    head, parameters = LinearHead.fit(extractor(images), labels, 0.1), FisherRecipe().parameters(extractor)
    found = MonteCarlo(extractor, head, parameters)(images)
    network, expected = extractor.differentiable, []
    chance = uniform(parameters.seed, images)
    weights = [dict(network.named_modules())[layer.name].weight for layer in parameters.layout.layers]
    for i in range(6):
        for weight in weights:
            weight.requires_grad_()
        features = network(extractor.prepared(images[i : i + 1])[:1])
        slope = log_probability_slopes(head, features.detach().numpy(), chance[i : i + 1])
        gradients = torch.autograd.grad(features, weights, torch.from_numpy(slope))
        expected.append(torch.cat([g.square().reshape(len(g), -1).mean(dim=1) for g in gradients]))
        network.requires_grad_(False)
    np.testing.assert_allclose(found, torch.stack(expected).numpy(), rtol=2e-2, atol=1e-9)


def test_the_head_of_very_many_images_is_fitted_to_every_kth():
    kept = HeadImages(10)
    x, y = np.arange(25, dtype=np.float32)[:, None], np.arange(25) // 3 % 2
    for part in (slice(0, 4), slice(4, 15), slice(15, 25)):
        kept.add(x[part], y[part])
    expected = LinearHead.fit(x[::4], y[::4], 0.1)
    np.testing.assert_array_equal(kept.head(0.1).weights, expected.weights)
