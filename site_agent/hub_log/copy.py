"""The copy on the disk: one file per head that was verified, and never one that replaces another.

``<log id>/<size>.json`` holds an update as the aggregator sent it and the site's signature of its head.
``<log id>/contradiction.json`` holds what contradicted the copy; while it is there nobody is answered.
"""

import json
import re
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from federation.canonical import canonical_json
from federation.errors import FedprintError, LogContradictionError, LogError
from federation.files import create_atomically, locked, read_file, write_atomically
from federation.identity import Identity
from federation.log.tree_head import CoSignedHead, SignedHead, log_id
from federation.log.update import RESTORED, LogUpdate
from site_agent.config import SiteConfig
from site_agent.site_folder import SiteFolder

_CONTRADICTION, _ACCEPTED, _LOCK = "contradiction.json", "accepted.json", ".lock"
_HEAD_FILE = re.compile(r"\d{12}\.json")
_LOG_FOLDER = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class KeptUpdate:
    """What the site was told of the log and verified.

    Args:
        at: Unix time in seconds at which it did.
        job_id: The job after which it was told.
        update: The update.
        signature: The site's signature of its head, 64 bytes.
    """

    at: float
    job_id: str
    update: LogUpdate
    signature: bytes

    @property
    def signed(self) -> SignedHead:
        """The head."""
        return self.update.signed

    def cosigned(self, site: str, key: str) -> CoSignedHead:
        """Return the head as the site of a name and public key co-signed it."""
        return CoSignedHead(self.signed, site, key, self.signature)

    def require_unchanged(self, site: Identity) -> None:
        """Raise unless aggregator and site both signed the head as it is kept.

        Raises:
            LogError: If one of them did not; what came was verified, so the file was changed since.
        """
        try:
            self.cosigned(site.name, site.public_key).verify()
        except FedprintError as error:
            raise LogError(
                f"the copy of the log of size {self.signed.size} was changed or damaged at this site",
                remedy="restore the site's folder from a backup; `fedprint site verify` says what is wrong",
            ) from error

    def to_bytes(self) -> bytes:
        """Return the content of its file."""
        told = {"at": self.at, "job": self.job_id, "signature": self.signature.hex()}
        return canonical_json({**told, "update": json.loads(self.update.to_bytes())})

    @classmethod
    def read(cls, path: Path) -> "KeptUpdate":
        """Read a file.

        Raises:
            LogError: If it is damaged.
        """
        try:
            value = json.loads(read_file(path, "copy of the log"))
            update = LogUpdate.from_bytes(canonical_json(value["update"]))
            signature = bytes.fromhex(value["signature"])
            return cls(float(value["at"]), str(value["job"]), update, signature)
        except (FedprintError, KeyError, TypeError, ValueError) as error:
            raise LogError(f"{path} is damaged", remedy="restore the site's folder from a backup") from error


@dataclass(frozen=True)
class LogCopy:
    """The site's copy of one aggregator's log.

    Args:
        folder: Its folder, which has the log's id as its name.
    """

    folder: Path

    @classmethod
    def of(cls, config: SiteConfig, aggregator: str) -> "LogCopy":
        """Return the copy of the log of an aggregator's public key (64 hexadecimal digits)."""
        return cls(copies_of(config) / log_id(aggregator))

    def alone(self) -> AbstractContextManager[None]:
        """Keep other requests waiting that would add to the copy."""
        return locked(self.folder / _LOCK)

    def updates(self) -> list[KeptUpdate]:
        """Return everything that was verified, smallest head first.

        Raises:
            LogError: If a file is damaged.
        """
        return [KeptUpdate.read(path) for path in self._paths()]

    def last(self) -> KeptUpdate | None:
        """Return what was verified last.

        Raises:
            LogError: If it is damaged.
        """
        paths = self._paths()
        return KeptUpdate.read(paths[-1]) if paths else None

    @property
    def size(self) -> int:
        """Size of the last head that is kept; 0: none is."""
        paths = self._paths()
        return int(paths[-1].stem) if paths else 0

    def keep(self, update: LogUpdate, job_id: str, site: Identity) -> KeptUpdate:
        """Co-sign the head of a verified update and keep both, durably.

        Raises:
            StoreError: If that is impossible; nothing is co-signed then.
        """
        signature = CoSignedHead.by(site, update.signed).signature
        kept = KeptUpdate(round(time.time(), 3), job_id, update, signature)
        create_atomically(self.folder / f"{update.signed.size:012d}.json", kept.to_bytes())
        return kept

    def contradiction(self) -> dict[str, Any] | None:
        """Return what contradicts the copy: ``problem``, ``at``, ``job`` and ``update``; None: nothing."""
        path = self.folder / _CONTRADICTION
        if not path.exists():
            return None
        try:
            return dict(json.loads(read_file(path, "contradiction")))
        except ValueError:  # whatever it said, somebody has to look
            return {"problem": f"{path} is damaged", "at": 0.0, "job": "", "update": None}

    def dispute(self, problem: str, job_id: str, update: LogUpdate) -> None:
        """Keep what contradicts the copy; the first contradiction stays.

        Raises:
            StoreError: If that is impossible.
        """
        told = {"at": round(time.time(), 3), "job": job_id, "problem": problem}
        content = canonical_json({**told, "update": json.loads(update.to_bytes())})
        create_atomically(self.folder / _CONTRADICTION, content)

    def require_undisputed(self) -> None:
        """Raise while a contradiction waits for a person.

        Raises:
            LogContradictionError: If one does.
        """
        found = self.contradiction()
        if found is not None:
            raise LogContradictionError(
                f"the aggregator is not answered: {found['problem']}", remedy=RESTORED
            )

    def accept(self, why: str) -> Path:
        """Put copy and contradiction aside, for good, and begin a new copy with the next head that comes.

        Args:
            why: What the person found out who accepts it.

        Returns:
            The folder in which everything is kept that was known before.
        """
        with self.alone():
            write_atomically(
                self.folder / _ACCEPTED, canonical_json({"at": round(time.time(), 3), "why": why})
            )
            n = len(list(self.folder.parent.glob(f"{self.folder.name}.accepted-*"))) + 1
            return self.folder.rename(self.folder.with_name(f"{self.folder.name}.accepted-{n}"))

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.json") if _HEAD_FILE.fullmatch(path.name))


def copies_of(config: SiteConfig) -> Path:
    """Return the folder of a site's copies of logs."""
    if config.hub is None:  # a simulation
        return config.state / "hub-log"
    return SiteFolder(config.policy_path.parent).log_copy


def all_copies(config: SiteConfig) -> list[LogCopy]:
    """Return the site's copies of logs, of every aggregator that it ever verified one of."""
    folders = sorted(copies_of(config).glob("*"))
    return [LogCopy(folder) for folder in folders if _LOG_FOLDER.fullmatch(folder.name)]


def require_undisputed(config: SiteConfig, aggregator: str) -> None:
    """Raise unless an aggregator's log contradicts nothing that the site was shown before.

    Args:
        config: The site.
        aggregator: Public key of who asks, 64 hexadecimal digits.

    Raises:
        LogContradictionError: If it does, until a person has accepted that.
    """
    LogCopy.of(config, aggregator).require_undisputed()
