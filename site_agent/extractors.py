"""The frozen network that turns images into features, and what identifies it."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from federation.errors import ExtractorError
from federation.space import ExtractorIdentity, Transform
from site_agent.extractor_spec import PACKAGE, RANDOM, ExtractorSpec, packaged_efficientnet_lite0
from site_agent.network.acceleration import accelerate
from site_agent.network.architecture import Backbone, build_backbone
from site_agent.network.lanes import Lanes
from site_agent.network.layers import LayerFeatures
from site_agent.network.mode import Acceleration, Device
from site_agent.network.weights import content_digest, load_state, packaged_state, read_state

__all__ = [
    "Acceleration",
    "Extractor",
    "ExtractorSpec",
    "load_backbone",
    "load_extractor",
    "packaged_efficientnet_lite0",
]

Features = npt.NDArray[np.float32]

_BATCH = 64


class Extractor:
    """A frozen network with its normalisation: uint8 images in, features out.

    Several threads may call it. An image's features depend neither on the images around it nor on the number
    of cores: the network always sees batches of one shape, the last filled up with black, each on one core.

    Attributes:
        step: How many images the network sees at once.
        lanes: Where it is executed.
        portion: How many images all lanes see at once.
        batch_size: How many images a call should have; multiples of it waste no work.
        arithmetic: How it is executed.

    Args:
        backbone: The network.
        identity: What it is.
        acceleration: How to execute it.
        device: Where.
    """

    def __init__(
        self,
        backbone: Backbone,
        identity: ExtractorIdentity,
        acceleration: Acceleration,
        device: torch.device,
    ) -> None:
        self.identity = identity
        self._device = device
        self.step, lanes = _split(identity.transform.image_size, device)
        self.lanes = Lanes(lanes)
        self.portion = self.step * lanes
        self.batch_size = self.portion * max(1, _BATCH // self.portion)
        self._scale, self._shift = (part.to(device) for part in _normalization(identity.transform))
        self._network, probe = backbone.network.to(device), self._normalized(self._probe())
        forward = self.lanes.run(lambda: accelerate(self._network, probe, acceleration))
        self._run = forward.run
        self.arithmetic = forward.arithmetic

    @property
    def n_features(self) -> int:
        """Length of a feature vector."""
        return self.identity.n_features

    def __call__(self, images: torch.Tensor) -> Features:
        """Return the features of images; multiples of ``batch_size`` waste no work.

        Args:
            images: uint8 [N, 3, S, S], in any memory order; channels last is fastest.

        Returns:
            float32 [N, n_features].

        Raises:
            ExtractorError: If the images have another type or shape.
        """
        size = self.identity.transform.image_size
        if images.dtype != torch.uint8 or images.shape[1:] != (3, size, size):
            raise ExtractorError(
                f"the extractor got images {images.dtype} {list(images.shape)}",
                remedy=f"give torch.uint8 [N, 3, {size}, {size}]",
            )
        return torch.cat(self.lanes.map(self._features, torch.split(images, self.step))).numpy()

    def prepared(self, images: torch.Tensor) -> torch.Tensor:
        """Return at most ``step`` images as the network sees them.

        Args:
            images: uint8 [n, 3, S, S].

        Returns:
            float32 [step, 3, S, S], normalised, channels last, filled up with black.
        """
        if len(images) < self.step:
            images = torch.cat([images, images.new_zeros(self.step - len(images), *images.shape[1:])])
        return self._normalized(images.to(self._device))

    @property
    def differentiable(self) -> nn.Module:
        """The frozen network as its library executes it, on the extractor's device; it has gradients."""
        return self._network

    @cached_property
    def ignores_position(self) -> bool:
        """Whether an image has the same features to the bit at every place of a batch, tried once on noise.

        A private sketch needs it: one more image moves those after it to other places.
        """
        probe = self._probe().cpu()
        alone = [self(image[None]) for image in probe]
        return np.array_equal(self(probe), np.concatenate(alone))

    @torch.inference_mode()
    def _features(self, images: torch.Tensor) -> torch.Tensor:
        return self._run(self.prepared(images))[: len(images)].cpu()

    def _normalized(self, images: torch.Tensor) -> torch.Tensor:
        levels = images.to(torch.float32, memory_format=torch.channels_last)
        return torch.addcmul(self._shift, levels, self._scale)

    def _probe(self) -> torch.Tensor:
        size = self.identity.transform.image_size
        random = torch.Generator().manual_seed(0)
        shape = (self.step, 3, size, size)
        return torch.randint(256, shape, generator=random, dtype=torch.uint8).to(self._device)


def load_extractor(
    spec: ExtractorSpec, *, acceleration: Acceleration = "auto", device: Device = "auto"
) -> Extractor:
    """Load a frozen extractor.

    Args:
        spec: Which one.
        acceleration: How to execute it, see `site_agent.network.acceleration`.
        device: Where; ``"auto"`` is CUDA if there is one.

    Raises:
        ExtractorError: If the network is unknown, has no pooled features or does not take this image size,
            or its weights are missing, altered or those of another network, or a layer does not exist.
    """
    backbone = load_backbone(spec)
    transform = Transform(
        spec.image_size, spec.preprocessing, backbone.interpolation, backbone.mean, backbone.std
    )
    digest = content_digest(backbone.network)
    if spec.layers:
        backbone = replace(backbone, network=LayerFeatures(backbone.network, spec.layers))
    n_features = Lanes(1).run(lambda: _count_features(spec, backbone))
    identity = ExtractorIdentity(spec.library, spec.name, digest, transform, n_features, spec.layers)
    return Extractor(backbone, identity, acceleration, _device(device))


def load_backbone(spec: ExtractorSpec) -> Backbone:
    """Load the network of an extractor with its weights, on the CPU, frozen, without normalisation.

    Raises:
        ExtractorError: If the network is unknown, or its weights are missing, altered or another network's.
    """
    with _seeded(spec.weights):
        backbone = build_backbone(
            spec.library, spec.name, spec.image_size, download=spec.weights == "download"
        )
    if spec.sha256 is not None:
        state = read_state(Path(spec.weights), spec.sha256)
    elif spec.weights.startswith(PACKAGE):
        state = packaged_state(spec.weights.removeprefix(PACKAGE), backbone.network)
    else:
        return backbone
    load_state(backbone.network, backbone.head, state, f"the weights {spec.weights}")
    return backbone


@contextlib.contextmanager
def _seeded(weights: str) -> Iterator[None]:
    """Keep building a network from drawing on the caller's random numbers."""
    with torch.random.fork_rng(devices=[]):
        seed = weights.removeprefix(RANDOM) if weights.startswith(RANDOM) else "0"
        if not seed.isdecimal():
            raise ExtractorError(f"{weights!r} names no seed", remedy=f"write {RANDOM}0")
        torch.manual_seed(int(seed))
        yield


def _count_features(spec: ExtractorSpec, backbone: Backbone) -> int:
    """Run one image, the only test of a network's input and output that holds for all of them."""
    image = torch.zeros(1, 3, spec.image_size, spec.image_size)
    try:
        with torch.inference_mode():
            features = backbone.network(image)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ExtractorError(
            f"{spec.name} does not take images of {spec.image_size} px: {error}",
            remedy="choose the image size the network was trained for, or a network that takes any",
        ) from error
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        raise ExtractorError(
            f"{spec.name} has no pooled features: one image gives {_described(features)}, expected [1, F]",
            remedy="choose a classification network, such as resnet34",
        )
    return int(features.shape[1])


def _described(features: object) -> str:
    return str(list(features.shape)) if isinstance(features, torch.Tensor) else type(features).__name__


def _normalization(transform: Transform) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what to multiply grey levels by and to add, each float32 [1, 3, S, S], channels last.

    Stretching both over the image keeps the arithmetic in long runs of memory: three numbers repeated
    along the fastest axis would be several times slower.
    """
    size = transform.image_size
    mean, std = (np.array(part).reshape(1, 3, 1, 1) for part in (transform.mean, transform.std))
    scale, shift = (
        torch.tensor(part, dtype=torch.float32)
        .expand(1, 3, size, size)
        .contiguous(memory_format=torch.channels_last)
        for part in (1 / (255 * std), -mean / std)
    )
    return scale, shift


def _split(image_size: int, device: torch.device) -> tuple[int, int]:
    """Return how many images the network sees at once, and how many lanes do so at the same time.

    On a CPU few images are best: what one layer hands to the next then stays in the core's cache.
    """
    if device.type == "cuda":
        return _BATCH, 1
    return 4 if image_size > 112 else 16, torch.get_num_threads()


def _device(device: Device) -> torch.device:
    if device == "cuda" and not torch.cuda.is_available():
        raise ExtractorError("this machine has no usable CUDA device", remedy="use device 'auto' or 'cpu'")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
