"""Kept releases that must be in the ledger: those with noise."""

from pathlib import Path

from federation.container import read_head
from federation.errors import FingerprintError
from federation.fingerprint import Fingerprint
from site_agent.ledger.storage import LedgerFiles


def private_releases(files: LedgerFiles) -> tuple[Path, ...]:
    """Return the kept releases that were charged; exact ones of public data never are.

    A file that cannot be read counts as charged.
    """
    return tuple(path for path in files.releases if _charged(path))


def _charged(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return not Fingerprint.from_head(read_head(file.read)).privacy.is_exact
    except (OSError, FingerprintError):
        return True
