"""Secrets that the processes of one hub share: files that only their owner can read, never arguments."""

import secrets
import stat
from pathlib import Path

from aggregator.hub_folder import HubFolder
from federation.errors import DeploymentError
from federation.files import create_atomically, read_file

_BYTES = 32
_SHORTEST = 32


def make_secrets(folder: HubFolder) -> None:
    """Make the secrets that are not there yet.

    Raises:
        StoreError: If they cannot be written.
    """
    for path in (folder.operator_token, folder.superexec_secret):
        if not path.exists():
            create_atomically(path, secrets.token_hex(_BYTES).encode())


def read_secret(path: Path, what: str) -> str:
    """Return a secret of the hub.

    Args:
        path: Its file.
        what: What it is, for the message of an error.

    Raises:
        DeploymentError: If others can read the file, or it holds too little to be a secret.
        StoreError: If it cannot be read.
    """
    check_private(path, what)
    secret = read_file(path, what).decode("ascii", "replace")
    if len(secret) < _SHORTEST or not secret.isalnum():
        raise DeploymentError(
            f"{what} {path} holds no secret of {_SHORTEST} letters and digits or more",
            remedy="remove the file; `fedprint hub serve` makes a new one",
        )
    return secret


def check_private(path: Path, what: str) -> None:
    """Raise if anybody but the owner can read a file.

    Raises:
        DeploymentError: If the file is missing or its permissions allow others anything.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise DeploymentError(
            f"{what} {path} cannot be read: {error.strerror}", remedy="run `fedprint hub init` or restore it"
        ) from error
    if mode & 0o077:
        raise DeploymentError(
            f"{what} {path} can be read or changed by others (mode {mode:o})",
            remedy=f"if nobody else has read it: chmod 600 {path}; otherwise replace it",
        )
