import hashlib

import numpy as np
import pytest
import torch
from learnable_tasks import TINY, same_arrays, train_step
from safetensors.torch import save_file
from torch import nn

from federation.errors import ExtractorError, ModelError
from federation.transfer.recipe import Network, PrivateTraining
from site_agent.network.architecture import build_backbone
from site_agent.training.networks import (
    PretrainedWeights,
    WeightsPlace,
    build_classifier,
    saved_weights,
)
from site_agent.training.normalization import normalization_of

PRIVATE = {"private": PrivateTraining(noise_multiplier=1.0)}
NETWORKS = [
    TINY,
    Network(name="test_efficientnet", image_size=32),
    Network(name="test_vit", image_size=32),
    Network(name="densenet121", image_size=32),
    Network(library="torchvision", name="mobilenet_v3_small", image_size=32),
]


def build(weights=None, n_classes=3, pretrained=None, **changes):
    return build_classifier(train_step(**changes), n_classes, weights, pretrained or PretrainedWeights())


def published(tmp_path):
    """A file of weights for the tiny network, and where it is."""
    torch.manual_seed(5)
    network = build_backbone("timm", TINY.name, 32, download=False).network
    path = tmp_path / "published.safetensors"
    save_file(network.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return network, PretrainedWeights({TINY.name: WeightsPlace(str(path), digest)})


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_same_seed_builds_the_same_network_and_moves_no_global_generator(network):
    before = torch.get_rng_state()
    first, again, other = (saved_weights(build(network=network, seed=seed)) for seed in (3, 3, 4))
    assert same_arrays(first, again)
    assert not np.array_equal(first["head.weight"], other["head.weight"])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_a_model_arrives_as_it_left(network):
    left = saved_weights(build(network=network, seed=1).backbone)
    arrived = build(left, network=network, seed=2, start="0" * 64)
    assert same_arrays(saved_weights(arrived.backbone), left)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_nothing_is_left_to_chance_while_training(network):
    classifier = build(network=network).train()
    images = torch.randn(4, 3, 32, 32)
    before = torch.get_rng_state()
    assert torch.equal(classifier(images), classifier(images))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_head_is_the_same_wherever_the_weights_begin(tmp_path):
    _, places = published(tmp_path)
    scratch, imagenet = build(), build(start="imagenet", pretrained=places)
    assert torch.equal(scratch.head.weight, imagenet.head.weight)


def test_published_weights_come_from_the_site_s_own_file(tmp_path):
    network, places = published(tmp_path)
    found = build(start="imagenet", pretrained=places).backbone
    assert same_arrays(saved_weights(found), saved_weights(network))


def test_a_file_with_another_digest_is_refused(tmp_path):
    _, places = published(tmp_path)
    wrong = WeightsPlace(places.places[TINY.name].source, "0" * 64)
    with pytest.raises(ExtractorError, match="expected 000"):
        build(start="imagenet", pretrained=PretrainedWeights({TINY.name: wrong}))


def test_a_file_without_digest_is_refused(tmp_path):
    _, places = published(tmp_path)
    bare = WeightsPlace(places.places[TINY.name].source)
    with pytest.raises(ModelError, match="without its SHA-256"):
        build(start="imagenet", pretrained=PretrainedWeights({TINY.name: bare}))


@pytest.mark.parametrize(
    ("start", "kind", "layer"), [("scratch", "group", nn.GroupNorm), ("imagenet", "frozen", None)]
)
def test_training_with_noise_takes_no_statistics_of_batches(tmp_path, start, kind, layer):
    _, places = published(tmp_path)
    classifier = build(start=start, pretrained=places, recipe=PRIVATE)
    layers = list(classifier.modules())
    assert classifier.normalization == kind
    assert not any(isinstance(module, nn.BatchNorm2d) for module in layers)
    assert layer is None or any(isinstance(module, layer) for module in layers)
    assert not any(getattr(module, "inplace", False) for module in layers)


@pytest.mark.parametrize("start", ["scratch", "imagenet"])
def test_a_model_trained_with_noise_keeps_its_normalisation_elsewhere(tmp_path, start):
    _, places = published(tmp_path)
    left = build(start=start, pretrained=places, recipe=PRIVATE)
    arrived = build(saved_weights(left.backbone), start="0" * 64)
    assert arrived.normalization == left.normalization
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(left.backbone.eval()(images), arrived.backbone.eval()(images))


def test_a_model_with_statistics_of_batches_is_frozen_to_train_with_noise():
    left = build(seed=1)
    arrived = build(saved_weights(left.backbone), start="0" * 64, recipe=PRIVATE)
    assert arrived.normalization == "frozen"
    assert normalization_of(saved_weights(arrived.backbone)) == "frozen"
    images = torch.randn(2, 3, 32, 32)
    assert torch.allclose(left.backbone.eval()(images), arrived.backbone.eval()(images), atol=1e-5)


def test_only_the_head_is_trained_where_the_recipe_says_so():
    classifier = build(recipe={"trainable": "head"})
    assert [name for name, p in classifier.named_parameters() if p.requires_grad] == [
        "head.weight",
        "head.bias",
    ]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda arrays: arrays.pop("conv1.0.weight"), "conv1.0.weight is missing"),
        (lambda arrays: arrays.update(more=np.zeros(1, np.float32)), "more is unknown"),
        (
            lambda arrays: arrays.update({"bn1.bias": np.zeros(1, np.float32)}),
            r"float32 \[1\], expected float32",
        ),
        (
            lambda arrays: arrays.update({"bn1.bias": arrays["bn1.bias"].astype(np.int64)}),
            "bn1.bias is int64",
        ),
    ],
)
def test_a_model_of_another_shape_is_refused(change, complaint):
    arrays = saved_weights(build().backbone)
    change(arrays)
    with pytest.raises(ModelError, match=complaint):
        build(arrays, start="0" * 64)


def test_a_network_that_does_not_take_the_image_size_is_refused():
    with pytest.raises(ModelError, match="does not take images of 28 px"):
        build(network=Network(library="torchvision", name="vit_b_32", image_size=28))


def test_an_unknown_network_is_refused():
    with pytest.raises(ExtractorError, match="no network named"):
        build(network=Network(name="resnet19", image_size=32))
