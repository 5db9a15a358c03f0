import pytest
import timm
import torch
import torchvision
from torch import nn

from federation.errors import ExtractorError
from site_agent.fisher.layers import FED, TASK2VEC, LayerChoice, chosen_weights, layout_of, weights_by_name


def frozen(network):
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def resnet34():
    return frozen(timm.create_model("resnet34", num_classes=0))


def test_fed_keeps_as_many_numbers_of_resnet34_as_published(resnet34):
    layout = layout_of(resnet34, FED, "kernel", 32)
    assert layout.n_weights == 2_350_464
    assert not any(layer.name in ("conv1", "bn1") or "downsample" in layer.name for layer in layout.layers)


def test_task2vec_keeps_as_many_filters_of_resnet34_as_published(resnet34):
    assert layout_of(resnet34, TASK2VEC, "filter", 32).n_weights == 17_024
    assert layout_of(resnet34, LayerChoice(batchnorm=False), "filter", 32).n_weights == 8_512


def test_both_libraries_choose_the_same_layers_of_one_architecture():
    ours = frozen(torchvision.models.resnet18())
    ours.fc = nn.Identity()
    theirs = frozen(timm.create_model("resnet18", num_classes=0))
    for choice in (FED, TASK2VEC):
        assert layout_of(ours, choice, "kernel", 32) == layout_of(theirs, choice, "kernel", 32)


def test_the_first_blocks_of_efficientnet_lite_are_dropped():
    network = frozen(timm.create_model("tf_efficientnet_lite0", num_classes=0))
    names = [layer.name for layer in layout_of(network, FED, "filter", 32).layers]
    assert names[0].startswith("blocks.0.0")
    assert "conv_head" in names
    assert not {"conv_stem", "bn1"} & set(names)


def test_weights_that_are_not_used_as_convolution_matrix_or_scale_are_left_out():
    network = frozen(torchvision.models.VisionTransformer(32, 16, 1, 2, 8, 16))
    network.heads = nn.Identity()
    names = [layer.name for layer in layout_of(network, TASK2VEC, "filter", 32).layers]
    assert names[0] == "conv_proj"
    assert not any("attention" in name for name in names)


def test_a_choice_that_leaves_nothing_is_refused():
    with pytest.raises(ExtractorError, match="leaves no layer"):
        chosen_weights(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten()), LayerChoice(final_fraction=0.5))


def test_a_layer_that_the_network_does_not_have_is_named():
    with pytest.raises(ExtractorError, match="no layer 'layer9'"):
        weights_by_name(nn.Sequential(nn.Conv2d(3, 3, 1)), ["0", "layer9"])


def test_looking_at_a_network_leaves_no_gradients(resnet34):
    layout_of(resnet34, TASK2VEC, "filter", 32)
    assert all(weight.grad is None for weight in resnet34.parameters())
    assert torch.is_grad_enabled()
