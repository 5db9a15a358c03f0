"""Networks that a site trains unless its policy says otherwise: well known, small or standard."""

STANDARD_NETWORKS = (
    "timm:convnext_atto",
    "timm:densenet121",
    "timm:efficientnet_b0",
    "timm:efficientnet_lite0",
    "timm:ghostnet_100",
    "timm:lcnet_050",
    "timm:lcnet_100",
    "timm:mixnet_s",
    "timm:mnasnet_100",
    "timm:mobilenetv2_050",
    "timm:mobilenetv2_100",
    "timm:mobilenetv3_large_100",
    "timm:mobilenetv3_small_050",
    "timm:mobilenetv3_small_100",
    "timm:regnetx_002",
    "timm:regnety_002",
    "timm:resnet10t",
    "timm:resnet14t",
    "timm:resnet18",
    "timm:resnet26",
    "timm:resnet34",
    "timm:resnet50",
    "timm:resnext50_32x4d",
    "timm:semnasnet_075",
    "timm:test_efficientnet",
    "timm:test_resnet",
    "timm:tf_efficientnet_lite0",
    "timm:tf_mobilenetv3_small_minimal_100",
    "timm:vit_tiny_patch16_224",
    "torchvision:densenet121",
    "torchvision:efficientnet_b0",
    "torchvision:mobilenet_v2",
    "torchvision:mobilenet_v3_small",
    "torchvision:mobilenet_v3_large",
    "torchvision:mnasnet0_5",
    "torchvision:regnet_y_400mf",
    "torchvision:resnet18",
    "torchvision:resnet34",
    "torchvision:resnet50",
    "torchvision:shufflenet_v2_x0_5",
    "torchvision:squeezenet1_1",
)
"""As ``"library:name"``; timm's may be asked for with one of their tags, ``resnet34.a1_in1k``."""


def is_standard(library: str, name: str) -> bool:
    """Return whether a network is one of ``STANDARD_NETWORKS``, whatever its tag."""
    return f"{library}:{name.partition('.')[0]}" in STANDARD_NETWORKS
