"""Architectures that a site trains unless its policy names others: small or standard, and well known."""

from federation.transfer.recipe import Network

_TIMM = (
    "tf_efficientnet_lite0",
    "efficientnet_b0",
    "resnet10t",
    "resnet14t",
    "resnet18",
    "resnet26",
    "resnet34",
    "resnet50",
    "mobilenetv2_050",
    "mobilenetv2_100",
    "mobilenetv3_small_050",
    "mobilenetv3_small_100",
    "mobilenetv3_large_100",
    "mnasnet_small",
    "lcnet_050",
    "lcnet_100",
    "regnetx_002",
    "regnety_002",
    "densenet121",
    "vit_tiny_patch16_224",
    "test_resnet",
    "test_efficientnet",
    "test_vit",
)
_TORCHVISION = (
    "resnet18",
    "resnet34",
    "resnet50",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "densenet121",
    "efficientnet_b0",
)

STANDARD = frozenset([f"timm:{name}" for name in _TIMM] + [f"torchvision:{name}" for name in _TORCHVISION])
"""``library:name`` of every one."""


def architecture(network: Network) -> str:
    """Return ``library:name`` without the tag that names published weights, as in ``resnet34.a1_in1k``."""
    return f"{network.library}:{network.name.partition('.')[0]}"
