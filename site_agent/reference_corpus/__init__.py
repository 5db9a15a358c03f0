"""A public reference corpus that the project renders itself: the images behind a space's bin edges.

Bin edges must come from images that belong to no site, and every party must be able to make them again.
So the corpus is drawn, not collected: textures, cells, tissue, radiographs, ultrasound, fundi, skin,
handwriting, layers, panels, silhouettes and dead-leaves scenes, each with random geometry, palette,
contrast, sharpness and noise.

What is guaranteed: image ``i`` at a given size is the same bytes on every machine and every NumPy.
Chance comes from raw Philox words, whose stream NumPy promises not to change, never from its
distributions. Arithmetic on pixels is integer, or float32 ``+ - * /``, square root, floor and comparison,
each one rounded exactly as IEEE 754 says; there is no sine, power, matrix product, Fourier transform or
floating-point sum whose last bit could depend on a library or a processor. The first images are pinned
by digest in the tests.
"""

import hashlib
from collections.abc import Iterator

from site_agent.reference_corpus.collage import collage
from site_agent.reference_corpus.developing import Image, developed
from site_agent.reference_corpus.dice import Dice
from site_agent.reference_corpus.scenes import SCENES

VERSION = "procedural-v1"
DEFAULT_IMAGES = 480

__all__ = ["DEFAULT_IMAGES", "VERSION", "corpus_digest", "reference_image", "reference_images"]


def reference_images(n: int = DEFAULT_IMAGES, size: int = 224) -> Iterator[Image]:
    """Yield the first ``n`` images of the corpus, one at a time.

    Args:
        n: How many; a multiple of the number of scene kinds (12) keeps the mixture even.
        size: Side in pixels.

    Yields:
        uint8 [size, size, 3], RGB.
    """
    return (reference_image(index, size) for index in range(n))


def reference_image(index: int, size: int = 224) -> Image:
    """Return image ``index`` of the corpus as uint8 [size, size, 3] RGB; kinds of scene take turns."""
    dice = Dice(index)
    return developed(dice, collage(dice, index % len(SCENES), size))


def corpus_digest(n: int = DEFAULT_IMAGES, size: int = 224) -> str:
    """Return the SHA-256 over the pixels of the first ``n`` images at ``size``, in order."""
    digest = hashlib.sha256()
    for image in reference_images(n, size):
        digest.update(image.tobytes())
    return digest.hexdigest()
