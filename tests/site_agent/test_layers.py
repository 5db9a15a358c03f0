"""Features from inside a network."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from torch import nn

from federation import distances
from federation.errors import ExtractorError
from federation.sketches import HistogramSketch
from federation.space import Space, edges_from_reference
from site_agent.extractors import ExtractorSpec, load_extractor, packaged_efficientnet_lite0
from site_agent.network.acceleration import accelerate
from site_agent.network.layers import LayerFeatures
from site_agent.space_builder import SpaceRecipe, build_space

SIZE = 32
LAYERS = ("layer1", "layer2.0.conv1", "features", "layer3")
TINY = ExtractorSpec("timm", "resnet10t", "random:0", image_size=SIZE, layers=LAYERS)


def make_images(n: int, size: int = SIZE) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(256, (n, 3, size, size), generator=random, dtype=torch.uint8)


def activations(spec: ExtractorSpec, images: torch.Tensor) -> list[np.ndarray]:
    """Channel means of each layer, from the library's own network."""
    torch.manual_seed(0)
    network = timm.create_model(spec.name, num_classes=0).eval()
    config = timm.get_pretrained_cfg(spec.name)
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (config.mean, config.std))
    seen: dict[str, torch.Tensor] = {}
    for layer in spec.layers:
        if layer != "features":
            network.get_submodule(layer).register_forward_hook(
                lambda module, inputs, output, layer=layer: seen.update({layer: output.mean((2, 3))})
            )
    with torch.no_grad():
        seen["features"] = network((images / 255 - mean) / std)
    return [seen[layer].numpy() for layer in spec.layers]


@pytest.mark.parametrize("acceleration", ["off", "fold", "auto"])
def test_features_are_the_channel_means_of_the_layers_in_order(acceleration) -> None:
    images = make_images(5)
    extractor = load_extractor(TINY, acceleration=acceleration)
    expected = activations(TINY, images)
    parts = np.split(extractor(images), np.cumsum([part.shape[1] for part in expected])[:-1], axis=1)
    assert extractor.n_features == sum(part.shape[1] for part in expected) == 64 + 128 + 512 + 256
    for part, own in zip(parts, expected, strict=True):
        np.testing.assert_allclose(part, own, rtol=1e-4, atol=1e-5 * np.abs(own).max())
    assert ("folded" in extractor.arithmetic) == (acceleration != "off")


def test_bf16_stays_close_to_float32() -> None:
    exact, fast = (load_extractor(TINY, acceleration=mode)(make_images(4)) for mode in ("off", "bf16"))
    assert np.linalg.norm(fast - exact) < 0.05 * np.linalg.norm(exact)


def test_the_same_layers_make_the_same_space_and_others_another() -> None:
    recipe = SpaceRecipe("test", 4, "equal-width", 100)

    def space(spec: ExtractorSpec) -> Space:
        return build_space(recipe, load_extractor(spec), lambda done, total: None)

    one, other = space(TINY), space(replace(TINY, layers=("layer1",)))
    assert one.space_id == space(TINY).space_id != other.space_id
    assert Space.from_bytes(one.to_bytes()).extractor.layers == LAYERS
    plain = space(replace(TINY, layers=()))
    assert "layers" not in plain.header()["extractor"]
    assert plain.space_id not in (one.space_id, other.space_id)
    assert Space.from_bytes(plain.to_bytes()) == plain


def test_weights_keep_their_digest_whatever_layers_are_named() -> None:
    with_layers, without = (load_extractor(spec).identity for spec in (TINY, replace(TINY, layers=())))
    assert with_layers.weights_sha256 == without.weights_sha256


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (("layer9",), r"no layer 'layer9'.*choose from: .*layer1.*features"),
        (("layer1", "layer1"), "named twice"),
        (("",), "no layer ''"),
    ],
)
def test_a_layer_that_does_not_exist_is_refused_with_the_choices(layers, message) -> None:
    with pytest.raises(ExtractorError, match=message):
        load_extractor(replace(TINY, layers=layers))


class Odd(nn.Module):
    """A network with a layer that runs twice, one that never runs and one that gives a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.never, self.pair = nn.ReLU(inplace=True), nn.Identity(), nn.LSTM(4, 4)
        self.convolution = nn.Conv2d(3, 4, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.twice(self.twice(self.convolution(images)))
        return self.pair(maps.mean((2, 3)))[0]


@pytest.mark.parametrize(
    ("layer", "message"),
    [("twice", "runs 2 times"), ("never", "runs 0 times"), ("pair", "gives tuple, which has no channels")],
)
def test_a_layer_without_one_map_per_image_is_refused(layer, message) -> None:
    with pytest.raises(ExtractorError, match=message):
        LayerFeatures(Odd(), (layer,))(torch.zeros(1, 3, 2, 2))


@pytest.mark.parametrize("mode", ["off", "fold"])
def test_an_activation_in_place_does_not_reach_the_layer_before_it(mode) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        before = network[0](images).mean((2, 3))
    features = LayerFeatures(network.eval().requires_grad_(False), ("0", "1"))
    with torch.no_grad():
        found = accelerate(features, images, mode).run(images)
    torch.testing.assert_close(found[:, :4], before)
    assert (before < 0).any()
    assert (found[:, 4:] >= 0).all()


def test_tokens_are_averaged_and_channels_last_is_known() -> None:
    vision = ExtractorSpec("timm", "test_vit", "random:0", image_size=160, layers=("blocks.0", "features"))
    assert load_extractor(vision).n_features == 64 + 64
    torch.manual_seed(0)
    network = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, img_size=56, window_size=7)
    with torch.no_grad():
        assert LayerFeatures(network.eval(), ("layers.1",))(torch.zeros(1, 3, 56, 56)).shape == (1, 192)


def test_threads_do_not_see_each_others_layers() -> None:
    torch.manual_seed(0)
    network = LayerFeatures(timm.create_model("resnet10t", num_classes=0).eval(), LAYERS)
    parts = torch.randn(8, 1, 3, SIZE, SIZE)
    with torch.no_grad(), ThreadPoolExecutor(4) as pool:
        expected = [network(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda part: network(part).detach(), parts))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_emd_over_all_layers_is_the_mean_over_every_channel() -> None:
    features = load_extractor(TINY)(make_images(20))
    edges = edges_from_reference(features, 16, "equal-width")
    a, b = (HistogramSketch.from_features(part, edges) for part in (features[:10], features[10:]))
    curves = np.abs(np.cumsum(a.frequencies() - b.frequencies(), axis=1)).sum(axis=1)
    assert distances.get("emd").matrix([a], [b])[0, 0] == pytest.approx(curves.mean())
    assert len(curves) == 960


def test_layers_of_the_pretrained_network_agree_between_folded_and_eager() -> None:
    layers = ("blocks.1", "blocks.3", "blocks.5", "features")
    spec = replace(packaged_efficientnet_lite0(image_size=96), layers=layers)
    eager, folded = (load_extractor(spec, acceleration=mode) for mode in ("off", "fold"))
    assert (folded.arithmetic, folded.n_features) == ("float32 folded cpu", 24 + 80 + 192 + 1280)
    for own, fast in zip(
        *(np.split(extractor(make_images(3, 96)), [24, 104, 296], axis=1) for extractor in (eager, folded)),
        strict=True,
    ):
        assert np.linalg.norm(fast - own) < 1e-5 * np.linalg.norm(own)
