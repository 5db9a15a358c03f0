"""The key by which a site's SuperNode is known to the hub."""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from federation.errors import ConfigError
from federation.files import read_file

_REMEDY = "restore it from backup, or make a new one with fedprint site rotate-keys"


def read_node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the private key in a file.

    Args:
        path: NIST P-384 in OpenSSH's format, not encrypted.

    Raises:
        StoreError: If the file cannot be read.
        ConfigError: If it holds something else.
    """
    try:
        key = load_ssh_private_key(read_file(path, "the node key"), None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} holds no node key", remedy=_REMEDY) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp384r1":
        raise ConfigError(f"the key in {path} is not of the kind P-384", remedy=_REMEDY)
    return key
