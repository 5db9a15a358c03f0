"""Augmentation policies that people can read: which operation, how often, how strongly."""

import json
from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationError

from federation.config_complaints import describe as complaints
from federation.errors import ConfigError
from federation.transfer.magnitudes import MAGNITUDES
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

_LONGEST_TEXT = 100_000
_UNCHANGED = MAGNITUDES["identity"].words

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


def to_text(policy: AugmentationPolicy) -> str:
    """Return a policy as a JSON file that people can read and edit: one operation per line."""
    chains = ",\n".join(f"    [{_lines(chain)}]" for chain in policy.chains)
    origin = json.dumps(policy.origin, ensure_ascii=False)
    return f'{{\n  "origin": {origin},\n  "chains": [\n{chains}\n  ]\n}}\n'


def from_text(text: str) -> AugmentationPolicy:
    """Read a policy from a JSON file.

    Raises:
        ConfigError: If it is no JSON or no policy; the message names the entry, the value and what is
            expected.
    """
    if len(text) > _LONGEST_TEXT:
        raise ConfigError(
            f"an augmentation policy has {len(text):,} characters, expected at most {_LONGEST_TEXT:,}",
            remedy="leave out some of its chains",
        )
    try:
        return AugmentationPolicy.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(
            f"an augmentation policy cannot be read: {_complaint(error, text)}",
            remedy="correct the file; a chain is a list of operations with name, probability and strength",
        ) from error


def describe(policy: AugmentationPolicy) -> str:
    """Return in words what is done to an image: ``rotate up to 15° (half of the images), then …``."""
    chains = list(dict.fromkeys(_chain_words(chain) for chain in policy.chains))
    return chains[0] if len(chains) == 1 else "one of: " + "; or ".join(chains)


def _lines(chain: tuple[Operation, ...]) -> str:
    shown = (json.dumps(operation.model_dump(mode="json")) for operation in chain)
    return ",\n     ".join(shown)


def _complaint(error: ValidationError, text: str) -> str:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as failure:
        return f"it is no JSON ({failure})"
    return complaints(error, content)


def _chain_words(chain: tuple[Operation, ...]) -> str:
    changes = [operation for operation in chain if operation.name != "identity"]
    return ", then ".join(_operation_words(operation) for operation in changes) or _UNCHANGED


def _operation_words(operation: Operation) -> str:
    often = _often(operation.probability)
    return MAGNITUDES[operation.name].describe(operation.strength) + (f" ({often})" if often else "")


def _often(probability: float) -> str:
    """Return how many images an operation is for; nothing where it is for all."""
    named = {0.0: "never", 0.25: "a quarter of the images", 0.5: "half of the images", 1.0: ""}
    return named.get(probability, f"{probability * 100:.0f} % of the images")
