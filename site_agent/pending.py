"""What a private release leaves on the site's disk: noise that is drawn but not sent, and what stands."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from federation.container import pack, unpack
from federation.errors import FingerprintError, StoreError
from federation.files import locked, read_file, remove_durably, write_atomically
from federation.fingerprint import Fingerprint
from federation.names import check_name
from site_agent.ledger.budget import Charge

_FINGERPRINT = "fingerprint"


@dataclass(frozen=True)
class Standing:
    """The release of a task in a space that is sent whenever it is asked for.

    Args:
        cohort: The cohort that was released last, ``series/name``; None: nobody knows who is in it.
        encoded: The signed fingerprint.
    """

    cohort: str | None
    encoded: bytes

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The signed fingerprint, decoded."""
        return Fingerprint.from_bytes(self.encoded)

    @property
    def ledger_hash(self) -> str:
        """Hash of the ledger's entry that paid for it."""
        return self.fingerprint.privacy.ledger_hash


@dataclass(frozen=True)
class Pending:
    """A release whose noise is drawn; nobody has seen it yet.

    Args:
        charge: What it costs and whom.
        fingerprint: The fingerprint without the ledger's entry and without signature.
        tokens: What the patients of its cohort are remembered as; empty without cohorts.
    """

    charge: Charge
    fingerprint: Fingerprint
    tokens: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ReleaseFiles:
    """Pending and standing releases of one task in one space, as files that are replaced as a whole.

    Args:
        folder: The site's state folder.
        task: The task.
        space_id: The space.
    """

    folder: Path
    task: str
    space_id: str

    @property
    def standing_path(self) -> Path:
        """Where the standing release is kept."""
        return self._path("standing")

    @property
    def pending_path(self) -> Path:
        """Where a release is kept until it stands."""
        return self._path("pending")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other threads and processes of the site from releasing the same task."""
        with locked(self.pending_path.with_suffix(".lock")):
            yield

    def standing(self) -> Standing | None:
        """Return the standing release, if any.

        Raises:
            StoreError: If it is damaged.
        """
        found = self._read(self.standing_path)
        if found is None:
            return None
        header, encoded = found
        try:
            standing = Standing(header["cohort"], encoded)
            _ = standing.fingerprint
        except (KeyError, FingerprintError) as error:
            raise _damaged(self.standing_path) from error
        return standing

    def keep_standing(self, standing: Standing) -> None:
        """Make a release the standing one.

        Raises:
            StoreError: If that cannot be made durable.
        """
        header = {"cohort": standing.cohort}
        write_atomically(self.standing_path, _packed(header, standing.encoded))

    def pending(self) -> Pending | None:
        """Return the release that was begun, if any.

        Raises:
            StoreError: If it is damaged.
        """
        found = self._read(self.pending_path)
        if found is None:
            return None
        header, fingerprint = found
        try:
            charge, tokens = Charge.from_json(header["charge"]), frozenset(header["tokens"])
            return Pending(charge, Fingerprint.from_bytes(fingerprint), tokens)
        except (KeyError, TypeError, ValueError, FingerprintError) as error:
            raise _damaged(self.pending_path) from error

    def keep_pending(self, pending: Pending) -> None:
        """Put a release aside before it is charged.

        Raises:
            StoreError: If that cannot be made durable.
        """
        header = {"charge": pending.charge.to_json(), "tokens": sorted(pending.tokens)}
        write_atomically(self.pending_path, _packed(header, pending.fingerprint.to_bytes()))

    def drop_pending(self) -> None:
        """Forget the release that was begun."""
        remove_durably(self.pending_path)

    def _path(self, what: str) -> Path:
        return self.folder / what / check_name("task", self.task) / f"{self.space_id}.safetensors"

    def _read(self, path: Path) -> tuple[dict[str, Any], bytes] | None:
        if not path.exists():
            return None
        try:
            header, arrays = unpack(read_file(path, "a kept release"), "kept release")
            return dict(header), arrays[_FINGERPRINT].tobytes()
        except (FingerprintError, KeyError) as error:
            raise _damaged(path) from error


def _packed(header: dict[str, Any], fingerprint: bytes) -> bytes:
    return pack(header, {_FINGERPRINT: np.frombuffer(fingerprint, np.uint8)})


def _damaged(path: Path) -> StoreError:
    return StoreError(
        f"{path} is damaged, so it is not known what was released; nothing leaves",
        remedy="restore the site's state folder from backup",
    )
