"""Scenes combined: a second scene beyond a wavy border, smaller ones set in as round pieces.

Real pictures show several things at once, and a network's features answer to most of them; single scenes
alone reach too few of the high feature values that set the upper bin edges.
"""

from site_agent.reference_corpus.dice import Dice, Field
from site_agent.reference_corpus.fields import clouds, ellipse, inside, step
from site_agent.reference_corpus.scenes import SCENES


def collage(dice: Dice, kind: int, size: int) -> Field:
    """Return float32 [3, size, size]: a scene of the given kind, often joined by others of any kind."""
    canvas = SCENES[kind](dice, size)
    if dice.chance(0.4):
        border = step(clouds(dice, size, dice.integer(1, 4), 3), 0.5, 0.05)
        canvas += border * (dice.pick(*SCENES)(dice, size) - canvas)
    for _ in range(dice.pick(0, 0, 1, 2)):
        _set_in(canvas, dice, size // 2)
    return canvas


def _set_in(canvas: Field, dice: Dice, side: int) -> None:
    scene = dice.pick(*SCENES)(dice, side)
    top, left = (int(place * (canvas.shape[1] - side)) for place in dice.point())
    radii = dice.point(0.2, 0.5)
    cover = inside(ellipse(dice, side, (0.5, 0.5), *radii), 0.1)
    spot = canvas[:, top : top + side, left : left + side]
    spot += cover * (scene - spot)
