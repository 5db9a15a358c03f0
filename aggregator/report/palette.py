"""Colours of the heat map: one ramp of even lightness steps, for light and for dark pages.

The ramp is drawn in OKLCH (Ottosson, "A perceptual color space for image processing", 2020), where equal
steps of lightness look equal. Lightness falls monotonically, so the order survives colour blindness and
a black-and-white printer.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

N_LEVELS = 32

Stop = tuple[float, float, float]
# (lightness, chroma, hue in degrees) from near to far: near is what stands out from the page.
_LIGHT: Sequence[Stop] = ((0.29, 0.085, 268), (0.56, 0.115, 222), (0.80, 0.085, 185), (0.970, 0.014, 165))
_DARK: Sequence[Stop] = ((0.93, 0.085, 130), (0.76, 0.110, 170), (0.50, 0.090, 215), (0.245, 0.022, 250))

_OKLAB_TO_LMS = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_LMS_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def ramp(dark: bool) -> list[str]:
    """Return the colours of the levels, nearest first, as ``#rrggbb``.

    Args:
        dark: For a dark page, where near is light.
    """
    stops = np.array(_DARK if dark else _LIGHT)
    lightness = np.linspace(stops[0, 0], stops[-1, 0], N_LEVELS)
    order = np.argsort(stops[:, 0])
    chroma, hue = (np.interp(lightness, stops[order, 0], stops[order, c]) for c in (1, 2))
    return [_hex(rgb) for rgb in _oklch_to_srgb(lightness, chroma, np.radians(hue))]


def text_on(background: str) -> str:
    """Return black or white, whichever reads better on a colour."""
    return "#000" if contrast(background, "#000000") >= contrast(background, "#ffffff") else "#fff"


def contrast(a: str, b: str) -> float:
    """Return the WCAG 2 contrast ratio of two ``#rrggbb`` colours, from 1 to 21."""
    low, high = sorted((_luminance(a), _luminance(b)))
    return (high + 0.05) / (low + 0.05)


def ramp_css() -> str:
    """Return the rules of the classes ``k0`` (near) to ``k31`` (far) for light and dark pages."""
    light, dark = _rules(ramp(dark=False)), _rules(ramp(dark=True))
    return f"{light}@media screen and (prefers-color-scheme:dark){{{dark}}}"


def _rules(colours: list[str]) -> str:
    return "".join(f".k{i}{{background:{c};color:{text_on(c)}}}" for i, c in enumerate(colours))


def _oklch_to_srgb(
    lightness: npt.NDArray[np.float64], chroma: npt.NDArray[np.float64], hue: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    linear = np.clip((lab @ _OKLAB_TO_LMS.T) ** 3 @ _LMS_TO_RGB.T, 0.0, 1.0)
    encoded: npt.NDArray[np.float64] = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    return encoded


def _hex(rgb: npt.NDArray[np.float64]) -> str:
    return "#" + "".join(f"{round(float(channel) * 255):02x}" for channel in rgb)


def _luminance(colour: str) -> float:
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))
