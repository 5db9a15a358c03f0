"""What shows that a site released with noise, and must therefore be in its ledger."""

from pathlib import Path

from federation.container import read_head
from federation.errors import FingerprintError
from federation.fingerprint import Fingerprint
from site_agent.ledger.storage import LedgerFiles
from site_agent.rounds.payment import payments
from site_agent.state import SiteState
from site_agent.transfer.payment import model_payments


def private_releases(files: LedgerFiles) -> tuple[Path, ...]:
    """Return the kept releases that were charged; exact ones of public data never are.

    A file that cannot be read counts as charged.
    """
    return tuple(path for path in files.releases if _charged(path))


def has_released(files: LedgerFiles) -> bool:
    """Return whether anything at the site says that it released with noise before."""
    state = SiteState(files.folder)
    traces = (*files.folder.glob("standing/*/*.safetensors"), *state.admissions.glob("*/*.json"))
    logged = any(
        event.get("event") == "released" and event.get("mode") in ("private", "pooled")
        for event in state.events()
    )
    paid = any(payments(files.folder)) or any(model_payments(files.folder))
    return bool(traces) or logged or bool(private_releases(files)) or paid


def _charged(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return not Fingerprint.from_head(read_head(file.read)).privacy.is_exact
    except (OSError, FingerprintError):
        return True
