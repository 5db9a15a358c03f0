"""What a training needs to go on after any interruption: one safetensors file that checks itself."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from federation.canonical import canonical_json, sha256_hex
from federation.container import pack, unpack
from federation.errors import FingerprintError
from federation.files import write_atomically
from federation.transfer.result import Progress

log = logging.getLogger("fedprint.site")

CHECKPOINT_FILE, PROGRESS_FILE = "checkpoint.safetensors", "progress.json"

Arrays = Mapping[str, npt.NDArray[Any]]
_NETWORK, _OPTIMIZER = "network.", "optimizer."


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a training between two epochs.

    Args:
        step_id: The step it belongs to.
        epoch: Epochs done.
        loss: Mean training loss of the last one; None where there was none or nobody may know it.
        arrays: State of network and optimizer by name.
    """

    step_id: str
    epoch: int
    loss: float | None
    arrays: Arrays = field(repr=False)

    @classmethod
    def of(
        cls,
        step_id: str,
        epoch: int,
        loss: float | None,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> "Checkpoint":
        """Return the present state of network and optimizer."""
        arrays = {f"{_NETWORK}{name}": _array(value) for name, value in network.state_dict().items()}
        for number, state in optimizer.state_dict()["state"].items():
            arrays |= {f"{_OPTIMIZER}{number}.{key}": _array(value) for key, value in state.items()}
        return cls(step_id, epoch, loss, arrays)

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put network and optimizer into the state that was kept."""
        parts = {name: torch.from_numpy(np.array(array)) for name, array in self.arrays.items()}
        network.load_state_dict(
            {name.removeprefix(_NETWORK): value for name, value in parts.items() if name.startswith(_NETWORK)}
        )
        trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in parts.items():
            if name.startswith(_OPTIMIZER):
                number, _, key = name.removeprefix(_OPTIMIZER).partition(".")
                states.setdefault(int(number), {})[key] = _laid_out_like(trained[int(number)], value)
        optimizer.load_state_dict(optimizer.state_dict() | {"state": states})

    def write(self, folder: Path, total: int) -> None:
        """Make it durable, and say beside it how far the training is.

        Raises:
            StoreError: If it cannot be written.
        """
        header = {"step_id": self.step_id, "epoch": self.epoch, "loss": self.loss}
        data = pack(header | {"sha256": _digest(header, self.arrays)}, self.arrays)
        write_atomically(folder / CHECKPOINT_FILE, data)
        progress = Progress(epoch=self.epoch, epochs=total, loss=self.loss)
        write_atomically(folder / PROGRESS_FILE, progress.model_dump_json().encode())

    @classmethod
    def read(cls, folder: Path, step_id: str) -> "Checkpoint | None":
        """Return what was kept for a step; None if nothing was, or it is damaged: training starts over."""
        path = folder / CHECKPOINT_FILE
        if not path.exists():
            return None
        try:
            header, arrays = unpack(path.read_bytes(), f"the checkpoint {path}")
            if header.pop("sha256", "") != _digest(header, arrays) or header["step_id"] != step_id:
                raise FingerprintError(f"the checkpoint {path} is damaged or another step's")
            return cls(step_id, int(header["epoch"]), header["loss"], arrays)
        except (FingerprintError, KeyError, TypeError, ValueError) as error:
            log.warning("%s; the step is trained from its beginning", error)
            return None


def read_progress(folder: Path) -> Progress | None:
    """Return how far the training in a folder was when it was last made durable; None before that."""
    path = folder / PROGRESS_FILE
    return Progress.model_validate(json.loads(path.read_text())) if path.exists() else None


def _digest(header: Mapping[str, Any], arrays: Arrays) -> str:
    tensors = {name: sha256_hex(np.ascontiguousarray(array).tobytes()) for name, array in arrays.items()}
    return sha256_hex(canonical_json({"header": dict(header), "tensors": tensors}))


def _laid_out_like(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return a value in its parameter's order of memory: a fused optimizer takes for granted that it is."""
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value


def _array(value: torch.Tensor) -> npt.NDArray[Any]:
    return np.array(value.detach().cpu().numpy(), order="C")
