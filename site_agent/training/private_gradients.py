"""Sums of patients' clipped gradients, in whole numbers.

The gradient of a patient is the sum of the gradients of their images. It is clipped as one vector over all
parameters and cut to whole units towards zero, so that it is never longer than the clip norm is in units, and
sums of such vectors are exact whatever their order.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from site_agent.training.chance import torch_chance
from site_agent.training.epoch import Examples
from site_agent.training.private_network import PerImage
from site_agent.training.private_patients import Patient, images_at_a_time

Units: TypeAlias = list[torch.Tensor]
"""int64 on the CPU, one tensor per trained parameter, in its shape."""

_BELOW_ONE = 1 - 1e-9  # where doubles are scaled down to one, so that rounding does not lead beyond


class PatientGradients:
    """Gradients of patients under a network as it is at the time.

    The network sees batches of one shape, filled up with zeros, and the images of a patient always together.
    Where a trial with random numbers shows that the company of others changes an image's gradient in any bit,
    every patient is shown alone: nobody's part may depend on who else is there.

    Args:
        network: Keeps gradients per image.
        images_per_patient: Most images of one patient.
        clip_norm: Most that a patient's gradient may be long.
        units: How many units the clip norm is.
    """

    def __init__(self, network: PerImage, images_per_patient: int, clip_norm: float, units: int) -> None:
        self._network = network
        self._clip_norm = clip_norm
        self._units = units
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        self._least_slots = images_per_patient
        n_numbers = sum(parameter.numel() for parameter in self._parameters)
        self._slots = images_at_a_time(n_numbers, images_per_patient)
        self._alone: bool | None = None

    def total(self, patients: Sequence[Patient], examples: Examples, device: torch.device) -> Units:
        """Return the sum of the patients' clipped gradients; of nobody it is zero.

        Args:
            patients: Whom to add up.
            examples: Where their images are.
            device: Where the network is.
        """
        total = [torch.zeros(p.shape, dtype=torch.int64) for p in self._parameters]
        if patients and self._alone is None:
            self._try_company(examples.inputs(np.array(patients[0].images[:1]), None))
        for group in self._groups(patients):
            for own in self._of_each(group, examples, device):
                for sum_, part in zip(total, own, strict=True):
                    sum_ += part
        return total

    def _groups(self, patients: Sequence[Patient]) -> Iterator[list[Patient]]:
        """Divide patients so that the images of a group fit into one batch of the network."""
        group: list[Patient] = []
        for patient in patients:
            n_images = sum(len(member.images) for member in (*group, patient))
            if group and (self._alone or n_images > self._slots):
                yield group
                group = []
            group.append(patient)
        if group:
            yield group

    def _of_each(self, group: list[Patient], examples: Examples, device: torch.device) -> Iterator[Units]:
        """Return the clipped gradient of each patient of a group."""
        shown = [examples.inputs(np.array(patient.images), torch_chance(patient.stream)) for patient in group]
        positions = np.array([image for patient in group for image in patient.images])
        gradients = self._per_image(torch.cat(shown), examples.targets(positions, device))
        start = 0
        for patient in group:
            stop = start + len(patient.images)
            yield self._clipped([_sum_in_order(gradient[start:stop]) for gradient in gradients])
            start = stop

    def _per_image(self, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        """Return float32 [B, *shape] for every parameter: the gradient of each image's cross-entropy.

        Args:
            x: float32 [n, …] inputs, n at most B.
            y: int64 [n] labels.
        """
        rest = self._slots - len(x)
        full = torch.cat([x, x.new_zeros((rest, *x.shape[1:]))])
        losses = nn.functional.cross_entropy(
            self._network(full), torch.cat([y, y.new_zeros(rest)]), reduction="none"
        )
        torch.autograd.backward(losses[: len(x)].sum())
        return [_taken(p, full) for p in self._parameters]

    def _clipped(self, gradient: list[torch.Tensor]) -> Units:
        """Return one patient's gradient, float64, in whole units, no longer than the clip norm."""
        norm = float(sum(float(part.square().sum()) for part in gradient)) ** 0.5
        if not np.isfinite(norm):
            return [torch.zeros(part.shape, dtype=torch.int64) for part in gradient]
        scale = self._units * _BELOW_ONE / max(norm, self._clip_norm)
        return [(part * scale).trunc().to("cpu", torch.int64) for part in gradient]

    def _try_company(self, image: torch.Tensor) -> None:
        """Find out whether an image's gradient is the same to the bit in other company and other places."""
        chance = torch_chance("private-company")
        shape = (2, self._slots, *image.shape[1:])
        one, other = torch.randn(shape, generator=chance).to(image.device)
        kept = torch.arange(0, self._slots, 2, device=image.device)
        other[kept] = one[kept]
        y = torch.zeros(self._slots, dtype=torch.int64, device=image.device)
        before = self._per_image(one, y)
        after = [gradient.flip(0) for gradient in self._per_image(other.flip(0), y)]
        self._alone = not all(torch.equal(a[kept], b[kept]) for a, b in zip(before, after, strict=True))
        if self._alone:
            self._slots = self._least_slots


def _sum_in_order(images: torch.Tensor) -> torch.Tensor:
    """Return the sum of float32 [k, …] over k as float64, added one after the other."""
    total = images[0].double()
    for image in images[1:]:
        total = total + image.double()
    return total


def _taken(parameter: nn.Parameter, batch: torch.Tensor) -> torch.Tensor:
    """Return the gradients per image that were left at a parameter; zero where it took no part."""
    found: torch.Tensor | None = getattr(parameter, "grad_sample", None)
    parameter.grad = None
    parameter.grad_sample = None  # type: ignore[attr-defined]
    return batch.new_zeros((len(batch), *parameter.shape)) if found is None else found
