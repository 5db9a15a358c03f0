"""Augments batches of training images as a policy says, with chance from a generator of their own.

Every image goes through one of the policy's chains (AutoAugment, Cubuk et al. 2019). A batch is divided by
chain and by the chance of each operation, and each operation then takes its part of the batch in one call.
"""

from collections.abc import Callable, Mapping

import torch
from torchvision.transforms.v2 import functional as F  # noqa: N812, the name its own documentation uses

from federation.transfer.augmentation import AugmentationPolicy, Operation
from federation.transfer.magnitudes import MAGNITUDES
from site_agent.training.geometry import rotated, scaled, sheared, shifted
from site_agent.training.plain_augmentation import plain_augmentation

Augmenter = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""Images uint8 [B, 3, S, S] and a source of chance → images of the same shape and type."""

_Applied = Callable[[torch.Tensor, torch.Tensor, torch.Generator], torch.Tensor]
"""Images uint8 [n, 3, S, S], amounts float32 [n] in the unit of ``MAGNITUDES`` and chance → images."""

_WHITE = 255
_BLUR_STEPS = 4

PLAIN = AugmentationPolicy(
    chains=(
        (
            Operation(name="horizontal_flip", probability=0.5),
            Operation(name="translate_x", probability=1, strength=0.25),
            Operation(name="translate_y", probability=1, strength=0.25),
        ),
    ),
    origin="plain",
)
"""What is done where no policy is named, as a policy: half of the images mirrored, shifts of up to 1/16."""


def augmenter(policy: AugmentationPolicy | None) -> Augmenter:
    """Return what augments batches by a policy; None means the plain one.

    The same images and state of the generator give the same result; the global generators of torch, numpy
    and Python are neither read nor moved. The images that are passed in stay as they are.
    """
    chains = (policy or PLAIN).chains
    if chains == PLAIN.chains:
        return plain_augmentation

    def augment(images: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
        augmented = images.clone()
        assigned = torch.randint(len(chains), (len(images),), generator=chance, device=chance.device)
        for number, chain in enumerate(chains):
            members = torch.nonzero(assigned == number).squeeze(1).to(images.device)
            if len(members):
                augmented[members] = _through(chain, augmented[members], chance)
        return augmented

    return augment


def _through(chain: tuple[Operation, ...], images: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    """Put images that may be changed in place through the operations of one chain."""
    for operation in chain:
        met = torch.rand(len(images), generator=chance, device=chance.device) < operation.probability
        chosen = torch.nonzero(met).squeeze(1).to(images.device)
        if len(chosen):
            amounts = _amounts(operation, len(chosen), chance).to(images.device)
            images[chosen] = _APPLIED[operation.name](images[chosen], amounts, chance)
    return images


def _amounts(operation: Operation, n: int, chance: torch.Generator) -> torch.Tensor:
    magnitude = MAGNITUDES[operation.name]
    drawn = torch.rand(n, generator=chance, device=chance.device)
    return magnitude.amount(operation.strength) * (2 * drawn - 1 if magnitude.both_ways else drawn)


def _per_image(values: torch.Tensor) -> torch.Tensor:
    return values.view(-1, 1, 1, 1)


def _levels(images: torch.Tensor) -> torch.Tensor:
    return images.round_().clamp_(0, _WHITE).to(torch.uint8)


def _away_from(degenerate: Callable[[torch.Tensor], torch.Tensor]) -> _Applied:
    """Return the operation that moves images away from a degenerate twin, or towards it."""

    def applied(images: torch.Tensor, amounts: torch.Tensor, _: torch.Generator) -> torch.Tensor:
        twin = degenerate(images).float()
        return _levels(torch.lerp(twin, images.float(), 1 + _per_image(amounts)))

    return applied


def _always(change: Callable[[torch.Tensor], torch.Tensor]) -> _Applied:
    """Return the operation that knows only all or nothing."""
    return lambda images, _amounts, _chance: change(images)


def _blurred(images: torch.Tensor, amounts: torch.Tensor, _: torch.Generator) -> torch.Tensor:
    """Blur by a Gaussian; amounts are σ over the side, rounded to few steps that share a kernel."""
    step = MAGNITUDES["blur"].amount(1) / _BLUR_STEPS
    rounded = (amounts / step).ceil().int()
    for level in torch.unique(rounded).tolist():
        sigma = level * step * images.shape[-1]
        if sigma > 0:
            members = rounded == level
            images[members] = F.gaussian_blur(images[members], [2 * int(2 * sigma) + 3] * 2, [sigma] * 2)
    return images


def _noisy(images: torch.Tensor, amounts: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    drawn = torch.randn(images.shape, generator=chance, device=chance.device).to(images.device)
    return _levels(images.float() + drawn * _per_image(amounts) * _WHITE)


def _posterized(images: torch.Tensor, amounts: torch.Tensor, _: torch.Generator) -> torch.Tensor:
    kept = (_WHITE << amounts.round().int()) & _WHITE
    return images & _per_image(kept.to(torch.uint8))


def _solarized(images: torch.Tensor, amounts: torch.Tensor, _: torch.Generator) -> torch.Tensor:
    threshold = _per_image((_WHITE + 1) * (1 - amounts))
    return torch.where(images >= threshold, F.invert(images), images)


def _erased(images: torch.Tensor, amounts: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    """Replace a square of each image by the mean of the image; amounts are its side over the image's."""
    side = images.shape[-1]
    sizes = amounts * side
    corners = torch.rand(2, len(images), generator=chance, device=chance.device).to(images.device)
    inside = [_stretch(corner * (side - sizes), sizes, side) for corner in corners]
    square = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    means = images.float().mean((2, 3), keepdim=True).to(torch.uint8)
    return torch.where(square, means, images)


def _stretch(first: torch.Tensor, lengths: torch.Tensor, side: int) -> torch.Tensor:
    """Return bool [n, side]: which pixels' centres lie in a stretch of each image."""
    centres = torch.arange(side, device=first.device) + 0.5
    return (centres >= first[:, None]) & (centres < (first + lengths)[:, None])


def _geometric(change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> _Applied:
    return lambda images, amounts, _chance: change(images, amounts)


_APPLIED: Mapping[str, _Applied] = {
    "identity": _always(lambda images: images),
    "horizontal_flip": _always(F.horizontal_flip),
    "vertical_flip": _always(F.vertical_flip),
    "rotate": _geometric(rotated),
    "shear_x": _geometric(lambda images, amounts: sheared(images, amounts, axis=0)),
    "shear_y": _geometric(lambda images, amounts: sheared(images, amounts, axis=1)),
    "translate_x": _geometric(lambda images, amounts: shifted(images, amounts, axis=3)),
    "translate_y": _geometric(lambda images, amounts: shifted(images, amounts, axis=2)),
    "scale": _geometric(scaled),
    "brightness": _away_from(torch.zeros_like),
    "contrast": _away_from(lambda images: F.adjust_contrast(images, 0.0)),
    "saturation": _away_from(lambda images: F.adjust_saturation(images, 0.0)),
    "sharpness": _away_from(lambda images: F.adjust_sharpness(images, 0.0)),
    "blur": _blurred,
    "noise": _noisy,
    "posterize": _posterized,
    "solarize": _solarized,
    "autocontrast": _always(F.autocontrast),
    "equalize": _always(F.equalize),
    "invert": _always(F.invert),
    "erase": _erased,
}
