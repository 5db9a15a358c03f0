"""What cameras, scanners and archives do to a scene: contrast, colour, sharpness and noise."""

import numpy as np
import numpy.typing as npt

from site_agent.reference_corpus.dice import Dice, Field
from site_agent.reference_corpus.fields import axis, grain

Image = npt.NDArray[np.uint8]

_THUMBNAILS = (28, 32, 48, 64, 96, 128)


def developed(dice: Dice, scene: Field) -> Image:
    """Return a scene as uint8 [size, size, 3].

    Args:
        dice: Chance.
        scene: float32 [3, size, size], roughly in [0, 1].
    """
    scene = np.clip(scene, 0, 1)
    if dice.chance(0.3):
        scene = _without_colour(scene)
    if dice.chance(0.3):
        scene = _enlarged(scene, dice.pick(*_THUMBNAILS))
    if dice.chance(0.7):
        scene = scene + dice.between(-0.6, 0.6) * (scene * (1 - scene))
    if dice.chance(0.5):
        low, high = dice.between(0, 0.2), dice.between(0.7, 1.2)
        scene = low + (high - low) * scene
    if dice.chance(0.3):
        scene = scene + dice.between(0.01, 0.12) * grain(dice, scene.shape[1])
    levels = np.clip(scene * 255 + 0.5, 0, 255).astype(np.uint8)  # the cast rounds towards zero
    return np.ascontiguousarray(levels.transpose(1, 2, 0))


def _without_colour(scene: Field) -> Field:
    luma = 0.25 * scene[0] + 0.5 * scene[1] + 0.25 * scene[2]
    return np.repeat(luma[None], 3, axis=0)


def _enlarged(scene: Field, side: int) -> Field:
    """Sample a scene at about ``side`` pixels and interpolate back, as small archive images are."""
    size = scene.shape[1]
    every = max(1, size // side)
    small = scene[:, ::every, ::every]
    cells = small.shape[1]
    position = np.clip(axis(size) * np.float32(cells) - np.float32(0.5), 0, cells - 1)
    left = np.minimum(position.astype(np.int64), cells - 2)
    t = (position - left.astype(np.float32))[:, None]
    for _ in range(2):
        near, far = small[:, left], small[:, left + 1]
        small = (near + (far - near) * t).transpose(0, 2, 1)
    return small
