"""Models that a site keeps: named by the SHA-256 of their bytes, each once, and not more than fit."""

import re
from dataclasses import dataclass
from pathlib import Path

from federation.canonical import sha256_hex
from federation.errors import ModelError, StoreError
from federation.files import locked, read_file, remove_durably, write_atomically
from federation.transfer.model import MAX_MODEL_BYTES

_ID = re.compile(r"[0-9a-f]{64}")
_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class ModelStore:
    """Two folders of models: those made here, which stay, and those that give way to others.

    Those are models received, which can be sent again, and rounds of common trainings, which are averaged at
    once.

    Args:
        folder: Where.
        limit: Most bytes of all models together.
    """

    folder: Path
    limit: int

    def get(self, model_id: str) -> bytes | None:
        """Return a model; None where it is not here, or not the bytes that its name says any more.

        Raises:
            StoreError: If it cannot be read.
        """
        for path in (self._made(model_id), self._received(model_id)):
            if path.exists():
                data = read_file(path, "a model")
                if sha256_hex(data) == model_id:
                    return data
        return None

    def keep_made(self, data: bytes) -> str:
        """Keep a model that was made here, for good, and return its id; errors as of ``keep_received``."""
        return self._keep(self._made(sha256_hex(data)), data)

    def keep_passing(self, data: bytes) -> str:
        """Keep a round of a common training until others need its place; errors as of ``keep_received``."""
        return self._keep(self._received(sha256_hex(data)), data)

    def keep_received(self, data: bytes) -> str:
        """Keep a model that another site made, until others need its place, and return its id.

        Raises:
            ModelError: If it is larger than any model may be.
            StoreError: If there is no place for it, in the store or on the disk; nothing is changed then.
        """
        return self._keep(self._received(sha256_hex(data)), data)

    def _keep(self, path: Path, data: bytes) -> str:
        if len(data) > MAX_MODEL_BYTES:
            raise ModelError(f"a model has {len(data)} bytes, more than the allowed {MAX_MODEL_BYTES}")
        model_id = path.name.removesuffix(_SUFFIX)
        with locked(self.folder / "lock"):
            if path.exists() and sha256_hex(read_file(path, "a model")) == model_id:
                return model_id
            self._make_room(len(data))
            write_atomically(path, data)
        return model_id

    def _make_room(self, n_bytes: int) -> None:
        """Remove received models, those that came first at first, where one more would not fit."""
        made, received = self._sizes(self.folder), self._sizes(self.folder / "received")
        if made + n_bytes > self.limit:
            raise StoreError(
                f"one more model of {n_bytes:,} bytes does not fit: {made:,} bytes of models that were made "
                f"here are kept in {self.folder}, of {self.limit:,} allowed",
                remedy="raise models_mb of [transfer] in the site file, or remove models of experiments that "
                "are over",
            )
        for path in sorted((self.folder / "received").glob(f"*{_SUFFIX}"), key=_age):
            if made + received + n_bytes <= self.limit:
                return
            received -= path.stat().st_size
            remove_durably(path)

    def _sizes(self, folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.glob(f"*{_SUFFIX}"))

    def _made(self, model_id: str) -> Path:
        return self.folder / _file(model_id)

    def _received(self, model_id: str) -> Path:
        return self.folder / "received" / _file(model_id)


def _file(model_id: str) -> str:
    if not _ID.fullmatch(model_id):
        raise ModelError("a model id is none", remedy="use the same fedprint version everywhere")
    return model_id + _SUFFIX


def _age(path: Path) -> tuple[float, str]:
    return path.stat().st_mtime, path.name
