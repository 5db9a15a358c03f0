"""A model that travels: weights without a head, named by their content, signed by the site that made them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from federation.canonical import canonical_json, sha256_hex
from federation.container import pack, unpack
from federation.errors import FingerprintError, ModelError
from federation.identity import Identity, verify
from federation.names import check_name, task_key
from federation.transfer.recipe import Network
from federation.transfer.result import ModelPrivacy

MAX_MODEL_BYTES = 200 * 2**20
"""ResNet-50 takes 90 MiB."""

_SCHEMA = 1
_TYPES = (np.dtype(np.float32), np.dtype(np.int64))
Normalization = Literal["batch", "frozen", "group"]
Weights = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class TravellingModel:
    """A trained backbone.

    Args:
        network: Its architecture.
        normalization: What its normalisation layers are: as published, frozen statistics, or groups.
        site: Who trained it.
        task: On which task.
        step_id: The step that made it.
        weights: Name → array, the state of the backbone without its head.
        privacy: What it promises; None: it was trained without noise.
        travels_to: Sites that it was let leave for, and no others may begin at it; empty: it does not say.
        public_key: Key of the site, 64 hexadecimal digits.
        signature: 64 bytes over all of the above.
    """

    network: Network
    normalization: Normalization
    site: str
    task: str
    step_id: str
    weights: Weights = field(repr=False)
    privacy: ModelPrivacy | None = None
    travels_to: tuple[str, ...] = ()
    public_key: str = ""
    signature: bytes = field(default=b"", repr=False)

    @property
    def address(self) -> str:
        """Address of the task it was trained on."""
        return task_key(self.site, self.task)

    def signed(self, identity: Identity) -> "TravellingModel":
        """Return the model signed by the site that made it."""
        named = replace(self, public_key=identity.public_key)
        return replace(named, signature=identity.sign(named._message()))

    def to_bytes(self) -> bytes:
        """Return the only valid encoding; its SHA-256 is the model's id."""
        return pack(self._header() | {"signature": self.signature.hex()}, self.weights)

    @classmethod
    def from_bytes(cls, data: bytes, model_id: str) -> "TravellingModel":
        """Read a model that is named by its id, and verify its signature under the key that it states.

        Whether that key is the site's is for the reader to check.

        Raises:
            ModelError: If it is not the named one, too large, no safetensors file of plain tensors, not
                finite, or not signed.
        """
        if len(data) > MAX_MODEL_BYTES:
            raise ModelError(f"a model has {len(data)} bytes, more than the allowed {MAX_MODEL_BYTES}")
        found = sha256_hex(data)
        if found != model_id:
            raise ModelError(
                f"a model has SHA-256 {found}, expected {model_id}", remedy="fetch it again from its site"
            )
        try:
            header, arrays = unpack(data, f"model {model_id[:12]}")
            model = cls._read(header, arrays)
        except FingerprintError as error:
            raise ModelError(error.problem, remedy=error.remedy) from error
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise ModelError(f"model {model_id[:12]} is malformed ({type(error).__name__})") from error
        model._check_arrays()
        verify(model.public_key, model.signature, model._message(), f"model {model_id[:12]}")
        return model

    @classmethod
    def _read(cls, header: Mapping[str, Any], arrays: Weights) -> "TravellingModel":
        if header["schema"] != _SCHEMA or header["normalization"] not in ("batch", "frozen", "group"):
            raise ValueError("unknown kind of model")
        privacy = header["privacy"]
        return cls(
            Network.model_validate(header["network"]),
            header["normalization"],
            check_name("site", header["site"]),
            check_name("task", header["task"]),
            str(header["step_id"]),
            arrays,
            None if privacy is None else ModelPrivacy.model_validate(privacy),
            tuple(check_name("site", name) for name in header.get("travels_to", ())),
            str(header["public_key"]),
            bytes.fromhex(header["signature"]),
        )

    def _header(self) -> dict[str, Any]:
        return {
            "schema": _SCHEMA,
            "network": self.network.model_dump(mode="json"),
            "normalization": self.normalization,
            "site": self.site,
            "task": self.task,
            "step_id": self.step_id,
            "privacy": None if self.privacy is None else self.privacy.model_dump(mode="json"),
            "public_key": self.public_key,
            **({"travels_to": list(self.travels_to)} if self.travels_to else {}),
        }

    def _message(self) -> bytes:
        tensors = {
            name: [str(array.dtype), list(array.shape), sha256_hex(array.tobytes())]
            for name, array in sorted(self.weights.items())
        }
        return b"fedprint model\n" + canonical_json({"header": self._header(), "tensors": tensors})

    def _check_arrays(self) -> None:
        for name, array in self.weights.items():
            if array.dtype not in _TYPES:
                raise ModelError(f"tensor {name[:80]} of a model is {array.dtype}, expected float32 or int64")
            if not np.isfinite(array).all():
                raise ModelError(f"tensor {name[:80]} of a model is not finite")
