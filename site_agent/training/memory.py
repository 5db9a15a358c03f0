"""Whether training fits in memory, judged before anything is loaded; nothing is computed for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from federation.errors import MemoryShortError
from federation.transfer.step import Step
from site_agent.network.architecture import build_backbone
from site_agent.training.private_patients import images_at_a_time

_COPIES = 4  # weights, gradients and two moments of Adam
_SLACK = 1.1
_FLOAT = 4
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def require_memory(step: Step, device: torch.device) -> None:
    """Refuse to train what does not fit.

    Raises:
        MemoryShortError: If weights, optimizer and the activations of one batch need more than is free.
        ExtractorError: If the network is unknown.
    """
    free, needed = free_bytes(device), needed_bytes(step)
    if free is not None and needed > free:
        raise MemoryShortError(
            f"training {step.network} with batches of {step.recipe.batch_size} takes about "
            f"{needed >> 20} MiB, {max(free, 0) >> 20} MiB of {device.type} memory are free",
            remedy="choose a smaller network, image size or batch",
        )


def needed_bytes(step: Step) -> int:
    """Return about how much memory the training of a step takes.

    The network is laid out, and run on one batch, with shapes alone.

    Raises:
        ExtractorError: If the network is unknown.
    """
    recipe, named = step.recipe, step.network
    with torch.device("meta"):
        network = build_backbone(named.library, named.name, named.image_size, download=False).network
    weights = _FLOAT * sum(parameter.numel() for parameter in network.parameters())
    if recipe.trainable == "head":
        return int(_SLACK * weights)
    if recipe.private is None:
        n_images, per_image = recipe.batch_size, 0
    else:  # gradients of each image by itself, of a few images at a time
        n_images = images_at_a_time(weights // _FLOAT, recipe.private.images_per_patient)
        per_image = weights
    total = _COPIES * weights + n_images * (per_image + _activations(network, named.image_size))
    return int(_SLACK * total)


def free_bytes(device: torch.device) -> int | None:
    """Return how much memory may still be taken; None where nobody can say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    known = [free for free in (_free_on_machine(), _free_in_group()) if free is not None]
    return min(known, default=None)


@contextmanager
def reported_shortage(step: Step) -> Iterator[None]:
    """Turn the several errors of memory that ran out into one.

    Raises:
        MemoryShortError: If memory runs out.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _short(step) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error) and "out of memory" not in str(error):
            raise
        raise _short(step) from error


def _short(step: Step) -> MemoryShortError:
    return MemoryShortError(
        f"memory ran out while {step.network} was trained with batches of {step.recipe.batch_size}",
        remedy="choose a smaller network, image size or batch",
    )


def _activations(network: nn.Module, image_size: int) -> int:
    """Return the bytes that one image leaves for the way back."""
    kept: dict[int, torch.UntypedStorage] = {}
    own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage  # held, so that no other can get its place
        return tensor

    network.requires_grad_(True)
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, _given):
            network(torch.zeros(1, 3, image_size, image_size, device="meta"))
    # Some networks cannot be run with shapes alone; for them the weights have to do.
    except (RuntimeError, NotImplementedError, AssertionError, ValueError):
        return 0
    return sum(storage.nbytes() for storage in kept.values())


def _given(tensor: Any) -> Any:
    return tensor


def _free_on_machine() -> int | None:
    if not _MEMINFO.exists():
        return None
    lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines() if ":" in line)
    available = lines.get("MemAvailable", "").split()
    return int(available[0]) * 1024 if available else None


def _free_in_group() -> int | None:
    """Return what a container has left of its limit."""
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        inactive = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) - used + int(inactive.get("inactive_file", 0))
