"""The frozen network that turns images into features."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from federation.errors import ExtractorError
from site_agent.extractors import (
    Acceleration,
    Extractor,
    ExtractorSpec,
    load_backbone,
    load_extractor,
    packaged_efficientnet_lite0,
)
from site_agent.network.architecture import build_backbone

SIZE = 64
TINY = ExtractorSpec("timm", "lcnet_050", "random:0", image_size=SIZE)


def make_images(n: int, size: int = SIZE) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(256, (n, 3, size, size), generator=random, dtype=torch.uint8)


@pytest.fixture(scope="module")
def tiny() -> Extractor:
    return load_extractor(TINY)


@pytest.mark.parametrize("acceleration", ["off", "fold", "auto"])
def test_features_are_those_of_the_librarys_network_on_normalised_images(acceleration: Acceleration) -> None:
    images = make_images(5)
    torch.manual_seed(0)
    network = timm.create_model("lcnet_050", num_classes=0).eval()
    config = timm.get_pretrained_cfg("lcnet_050")
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (config.mean, config.std))
    with torch.no_grad():
        expected = network((images / 255 - mean) / std).numpy()

    features = load_extractor(TINY, acceleration=acceleration)(images)

    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_packaged_extractor_is_pretrained_and_normalises_as_its_library_says() -> None:
    extractor = load_extractor(packaged_efficientnet_lite0(image_size=SIZE))
    transform = extractor.identity.transform
    assert (transform.mean, transform.std, transform.interpolation) == ((0.5,) * 3, (0.5,) * 3, "bicubic")
    assert extractor.identity.weights_sha256.startswith("dd122b45d8d0")
    assert (extractor.n_features, extractor(make_images(1)).shape) == (1280, (1, 1280))


def test_features_of_an_image_do_not_depend_on_the_images_around_it(tiny: Extractor) -> None:
    images = make_images(tiny.batch_size + 3)
    alone = np.concatenate([tiny(image[None]) for image in images[-5:]])
    np.testing.assert_array_equal(tiny(images)[-5:], alone)


def test_features_do_not_depend_on_the_memory_order_of_images(tiny: Extractor) -> None:
    images = make_images(4)
    reordered = images.contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(tiny(images), tiny(reordered))


def test_features_do_not_depend_on_the_number_of_cores(tiny: Extractor) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = load_extractor(TINY)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(tiny(make_images(20)), alone(make_images(20)))


def test_no_images_give_no_features(tiny: Extractor) -> None:
    assert tiny(make_images(0)).shape == (0, tiny.n_features)


def test_several_threads_may_use_one_extractor(tiny: Extractor) -> None:
    batches = [make_images(12), make_images(12).flip(0)]
    expected = [tiny(batch) for batch in batches]
    found: list[np.ndarray | None] = [None] * 6

    def work(index: int) -> None:
        found[index] = tiny(batches[index % 2])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, features in enumerate(found):
        np.testing.assert_array_equal(features, expected[index % 2])


@pytest.mark.parametrize(
    "images", [torch.zeros(2, 3, SIZE, SIZE), torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8)]
)
def test_images_of_another_type_or_shape_are_refused(tiny: Extractor, images: torch.Tensor) -> None:
    with pytest.raises(ExtractorError, match=r"give torch.uint8 \[N, 3, 64, 64\]"):
        tiny(images)


def test_batch_size_is_a_multiple_of_what_the_lanes_take(tiny: Extractor) -> None:
    assert tiny.batch_size >= 64 or torch.get_num_threads() > 1
    assert tiny.batch_size % torch.get_num_threads() == 0


def test_identity_depends_on_weights_and_not_on_acceleration() -> None:
    folded, eager = load_extractor(TINY, acceleration="fold"), load_extractor(TINY, acceleration="off")
    other = load_extractor(replace(TINY, weights="random:1"), acceleration="off")
    assert folded.identity == eager.identity
    assert folded.arithmetic != eager.arithmetic
    assert other.identity.weights_sha256 != eager.identity.weights_sha256


def test_identity_states_the_transform() -> None:
    extractor = load_extractor(replace(TINY, preprocessing="paper"), acceleration="off")
    transform = extractor.identity.transform
    assert (transform.image_size, transform.preprocessing) == (SIZE, "paper")
    assert transform.mean == pytest.approx((0.485, 0.456, 0.406))


def test_random_weights_leave_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    load_backbone(TINY)
    assert torch.equal(torch.rand(3), expected)


def test_backbone_is_frozen_and_in_evaluation_mode() -> None:
    network = load_backbone(TINY).network
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize(
    ("library", "name", "suggestion"),
    [
        ("timm", "resnt34", "resnet34"),
        ("torchvision", "resnet_34", "resnet34"),
        ("timm", "resnet34.a9_in1k", "a1_in1k"),
    ],
)
def test_unknown_network_is_refused_with_names_that_exist(library: str, name: str, suggestion: str) -> None:
    with pytest.raises(ExtractorError, match=suggestion):
        load_extractor(ExtractorSpec(library, name, "random:0"))  # type: ignore[arg-type]


def test_image_size_that_the_network_does_not_take_is_refused() -> None:
    with pytest.raises(ExtractorError, match="test_vit does not take images of 50 px"):
        load_extractor(ExtractorSpec("timm", "test_vit", "random:0", image_size=50))


def test_transformer_is_built_for_the_image_size_asked_for() -> None:
    extractor = load_extractor(ExtractorSpec("timm", "test_vit", "random:0", image_size=64))
    assert extractor(make_images(2)).shape == (2, 64)


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("resnet18", "fc"),
        ("mobilenet_v2", "classifier.1"),
        ("mobilenet_v3_small", "classifier.3"),
        ("efficientnet_b0", "classifier.1"),
        ("densenet121", "classifier"),
        ("convnext_tiny", "classifier.2"),
        ("vgg11", "classifier.6"),
        ("swin_t", "head"),
        ("vit_b_16", "heads.head"),
    ],
)
def test_torchvision_networks_lose_only_their_last_layer(name: str, head: str) -> None:
    with torch.device("meta"):
        backbone = build_backbone("torchvision", name, 224, download=False)
        features = backbone.network(torch.empty(2, 3, 224, 224))
    assert backbone.head == (head,)
    assert features.ndim == 2
    assert features.shape[1] != 1000


def test_torchvision_features_follow_the_weights_own_normalisation() -> None:
    spec = ExtractorSpec("torchvision", "shufflenet_v2_x0_5", "random:0", image_size=SIZE)
    extractor = load_extractor(spec)
    assert extractor.n_features == 1024
    assert extractor.identity.transform.std == pytest.approx((0.229, 0.224, 0.225))
    assert extractor.identity.transform.interpolation == "bilinear"


def test_network_without_linear_classifier_is_refused() -> None:
    with pytest.raises(ExtractorError, match="no pooled features"):
        load_backbone(ExtractorSpec("torchvision", "squeezenet1_0", "random:0"))


def test_network_whose_features_are_maps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = replace(load_backbone(TINY), network=torch.nn.Conv2d(3, 2, 1))
    monkeypatch.setattr("site_agent.extractors.load_backbone", lambda spec: backbone)
    with pytest.raises(ExtractorError, match=r"one image gives \[1, 2, 64, 64\], expected \[1, F\]"):
        load_extractor(TINY)


def test_file_without_digest_and_digest_without_file_are_refused() -> None:
    with pytest.raises(ExtractorError, match=r"sha256sum weights\.pth"):
        ExtractorSpec("timm", "lcnet_050", "weights.pth")
    with pytest.raises(ExtractorError, match="which is not a file"):
        ExtractorSpec("timm", "lcnet_050", "download", "ab" * 32)


def test_random_weights_need_a_seed() -> None:
    with pytest.raises(ExtractorError, match="random:0"):
        load_extractor(replace(TINY, weights="random:x"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_asking_for_cuda_where_there_is_none_is_refused() -> None:
    with pytest.raises(ExtractorError, match="no usable CUDA device"):
        load_extractor(TINY, device="cuda")


@pytest.mark.reference
def test_packaged_weights_are_those_of_the_reference_file(shared: Path) -> None:
    file = shared / "weights" / "tf_efficientnet_lite0_timm.pth"
    digest = "a10ced4272603428e4c809f608b1e421947300fb091090709aab83491e1a8000"
    named = load_extractor(ExtractorSpec("timm", "tf_efficientnet_lite0", str(file), digest))
    packaged = load_extractor(packaged_efficientnet_lite0())
    assert named.identity == packaged.identity
    np.testing.assert_array_equal(named(make_images(2, 224)), packaged(make_images(2, 224)))


@pytest.mark.reference
def test_torchvision_weights_load_from_a_file(shared: Path) -> None:
    file = shared / "weights" / "mobilenet_v2_torchvision_from_coral_tf2_ptq.pth"
    digest = "8ebafd27e0660d5363a7d6123b08cc874d369df9b87f9dbc42aa12b942cca7eb"
    extractor = load_extractor(ExtractorSpec("torchvision", "mobilenet_v2", str(file), digest))
    features = extractor(make_images(2, 224))
    assert features.shape == (2, 1280)
    assert features.min() >= 0
