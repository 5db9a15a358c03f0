"""Models at the aggregator: files beside the catalogue that are named by their content."""

from dataclasses import dataclass
from pathlib import Path

from aggregator.catalogue_place import CataloguePlace, PlaceLike
from federation.canonical import sha256_hex
from federation.errors import ModelError
from federation.files import read_file, remove_durably, write_atomically
from federation.transfer.model import MAX_MODEL_BYTES, TravellingModel

MODELS_FOLDER = "models"


@dataclass(frozen=True)
class ModelFiles:
    """The models of all experiments, each once.

    Args:
        folder: Where they are.
    """

    folder: Path

    @classmethod
    def beside(cls, catalogue: PlaceLike) -> "ModelFiles":
        """Return the models of a catalogue."""
        return cls(CataloguePlace.of(catalogue).folder / MODELS_FOLDER)

    def path(self, model_id: str) -> Path:
        """Return where a model is, if it is there."""
        return self.folder / f"{model_id}.safetensors"

    def has(self, model_id: str) -> bool:
        """Return whether a model is there and undamaged."""
        path = self.path(model_id)
        return path.is_file() and sha256_hex(read_file(path, "model")) == model_id

    def read(self, model_id: str) -> bytes:
        """Return the bytes of a model.

        Raises:
            ModelError: If it is not there, or damaged.
        """
        path = self.path(model_id)
        data = read_file(path, "model") if path.is_file() else b""
        if sha256_hex(data) != model_id:
            raise ModelError(
                f"model {model_id[:12]} is not in {self.folder}, or damaged",
                remedy="run the plan again: its site still has it",
            )
        return data

    def load(self, model_id: str) -> TravellingModel:
        """Return a model that was verified when it came; errors as of ``read``."""
        return TravellingModel.from_bytes(self.read(model_id), model_id)

    def keep(self, data: bytes) -> str:
        """Store the bytes of a model that was verified, unless it is there, and return its id.

        Raises:
            ModelError: If it is too large.
            StoreError: If the disk is full.
        """
        if len(data) > MAX_MODEL_BYTES:
            raise ModelError(f"a model has {len(data)} bytes, more than the allowed {MAX_MODEL_BYTES}")
        model_id = sha256_hex(data)
        if not self.has(model_id):
            write_atomically(self.path(model_id), data)
        return model_id

    def forget(self, model_id: str) -> None:
        """Remove a model that no step will begin at any more.

        Raises:
            StoreError: If it cannot be removed.
        """
        remove_durably(self.path(model_id))
