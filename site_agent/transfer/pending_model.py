"""A model that was trained with noise and is not paid for yet, on the site's disk; nobody has seen it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from federation.canonical import sha256_hex
from federation.container import pack, unpack
from federation.errors import FingerprintError, ModelError, SignatureError, StoreError
from federation.files import read_file, write_atomically
from federation.transfer.model import TravellingModel
from federation.transfer.result import StepResult
from site_agent.ledger.budget import Charge

PENDING_FILE = "pending-model.safetensors"
"""Where a model waits for its payment and for the end of its step, in the step's folder."""

_MODEL = "model"


@dataclass(frozen=True)
class PendingModel:
    """A model, what was measured of it, and what it costs.

    Args:
        charge: What it costs and whom.
        result: What the step found.
        encoded: The model with what it promises, but not yet with the entry that paid for it.
    """

    charge: Charge
    result: StepResult
    encoded: bytes = field(repr=False)

    @property
    def model(self) -> TravellingModel:
        """The model, decoded.

        Raises:
            ModelError: If it is damaged.
        """
        return TravellingModel.from_bytes(self.encoded, sha256_hex(self.encoded))

    def keep(self, folder: Path) -> None:
        """Put it aside in its step's folder.

        Raises:
            StoreError: If that cannot be made durable.
        """
        header = {"charge": self.charge.to_json(), "result": self.result.model_dump(mode="json")}
        arrays = {_MODEL: np.frombuffer(self.encoded, np.uint8)}
        write_atomically(folder / PENDING_FILE, pack(header, arrays))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return what waits in a step's folder, if anything.

        Raises:
            StoreError: If it is damaged.
        """
        path = folder / PENDING_FILE
        if not path.exists():
            return None
        try:
            header, arrays = unpack(read_file(path, "a model that waits"), "a model that waits")
            pending = cls._of(header, arrays)
            _ = pending.model
        except (FingerprintError, KeyError, TypeError, ValueError, ModelError, SignatureError) as error:
            raise StoreError(
                f"{path} is damaged, so it is not known which model was paid for; it does not leave",
                remedy="restore the site's state folder from backup",
            ) from error
        return pending

    @classmethod
    def _of(cls, header: Mapping[str, Any], arrays: Mapping[str, Any]) -> Self:
        result = StepResult.model_validate(header["result"])
        return cls(Charge.from_json(header["charge"]), result, arrays[_MODEL].tobytes())
