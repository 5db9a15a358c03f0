"""What the strength of an augmentation means in degrees, shares and levels."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Magnitude:
    """What an operation does at full strength; at strength s it does at most s times as much.

    The amount is drawn anew for each image, evenly between nothing and the most.

    Args:
        words: What it does, for people; ``{}`` stands for the amount.
        most: Amount at strength 1; None where there is only all or nothing.
        unit: What the amount is written in; ``%`` where it is a share.
        both_ways: Whether the amount is drawn with either sign.
    """

    words: str
    most: float | None = None
    unit: str = "%"
    both_ways: bool = False

    def amount(self, strength: float) -> float:
        """Return the most that is done at a strength from 0 to 1."""
        return 1.0 if self.most is None else self.most * strength

    def describe(self, strength: float) -> str:
        """Return in words what is done at a strength from 0 to 1."""
        shown = self.amount(strength) * (100 if self.unit == "%" else 1)
        return self.words.format(f"{shown:.3g}{self.unit if self.unit == '°' else f' {self.unit}'}")


MAGNITUDES: Mapping[str, Magnitude] = {
    "identity": Magnitude("leave as it is"),
    "horizontal_flip": Magnitude("mirror left and right"),
    "vertical_flip": Magnitude("mirror top and bottom"),
    "rotate": Magnitude("rotate up to {}", 30, "°", both_ways=True),
    "shear_x": Magnitude("shear sideways up to {}", 16, "°", both_ways=True),
    "shear_y": Magnitude("shear upwards or downwards up to {}", 16, "°", both_ways=True),
    "translate_x": Magnitude("shift sideways by up to {}", 0.25, both_ways=True),
    "translate_y": Magnitude("shift upwards or downwards by up to {}", 0.25, both_ways=True),
    "scale": Magnitude("larger or smaller by up to {}", 0.4, both_ways=True),
    "brightness": Magnitude("brighter or darker by up to {}", 0.6, both_ways=True),
    "contrast": Magnitude("more or less contrast by up to {}", 0.6, both_ways=True),
    "saturation": Magnitude("more or less colour by up to {}", 0.9, both_ways=True),
    "sharpness": Magnitude("sharper or softer by up to {}", 0.9, both_ways=True),
    "blur": Magnitude("blur by up to {} of the side", 0.05),
    "noise": Magnitude("noise of up to {} of white", 0.1),
    "posterize": Magnitude("up to {} fewer than 8 bits per colour", 6, "bits"),
    "solarize": Magnitude("invert up to the brightest {} of the levels", 0.75),
    "autocontrast": Magnitude("stretch the levels to black and white"),
    "equalize": Magnitude("spread the levels evenly"),
    "invert": Magnitude("invert"),
    "erase": Magnitude("erase a square of up to {} of the side", 0.4),
}
"""Operation → what it does. Geometry and colour follow AutoAugment's ranges (Cubuk et al. 2019, table 6),
cut to what leaves a small medical image readable."""
