"""Augmentation policies that people can read: which operation, how often, how strongly."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from federation.transfer.recipe import Strict

OperationName = Literal[
    "identity",
    "horizontal_flip",
    "vertical_flip",
    "rotate",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "scale",
    "brightness",
    "contrast",
    "saturation",
    "sharpness",
    "blur",
    "noise",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
    "invert",
    "erase",
]
"""Operations over torchvision's transforms; nothing else can be asked of a site."""

OPERATIONS: tuple[str, ...] = get_args(OperationName)
Share = Annotated[float, Field(ge=0, le=1)]


class Operation(Strict):
    """One operation on an image.

    Args:
        name: Which.
        probability: How often it is applied.
        strength: From 0, nothing, to 1, the most that is sensible.
    """

    name: OperationName
    probability: Share
    strength: Share = 0.5


class AugmentationPolicy(Strict):
    """Chains of operations; every image is put through one of them, chosen by chance (AutoAugment's shape).

    Args:
        chains: At least one chain of at most four operations.
        origin: Who found it and how, for people.
    """

    chains: tuple[Annotated[tuple[Operation, ...], Field(max_length=4, strict=False)], ...] = Field(
        min_length=1, max_length=50, strict=False
    )
    origin: str = Field("", max_length=200)
