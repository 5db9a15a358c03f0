"""What shows that a model was paid for: the ledger must know of it, as of a round of a cohort."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from federation.canonical import canonical_json
from federation.files import write_atomically
from site_agent.rounds.payment import Payment

PAYMENT_FILE = "payment.json"
"""The file of a payment within the folder of the step that made the model."""


def payment_path(folder: Path) -> Path:
    """Return where the payment for a step's model is kept, for ever."""
    return folder / PAYMENT_FILE


def keep_payment(folder: Path, payment: Payment) -> None:
    """Make durable what paid for a step's model.

    Args:
        folder: The step's folder.
        payment: The entry of the ledger.

    Raises:
        StoreError: If that fails.
    """
    write_atomically(payment_path(folder), canonical_json(asdict(payment)))


def model_payments(state: Path) -> Iterator[tuple[Path, Payment | None]]:
    """Return what paid for the model of which step; None where the file cannot be read.

    Args:
        state: The site's state folder.
    """
    for path in sorted(state.glob(f"transfer/*/{PAYMENT_FILE}")):
        try:
            yield path, Payment(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            yield path, None
