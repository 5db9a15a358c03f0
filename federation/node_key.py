"""Keys by which Flower knows a site's node: ECDSA on P-384, in the text form of OpenSSH."""

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from federation.errors import EnrolmentError, SignatureError

_PREFIX = "ecdsa-sha2-nistp384 "
_MOST_CHARACTERS = 256
_HASH = ec.ECDSA(hashes.SHA384())


def new_node_key() -> bytes:
    """Return a new private key, in the file format of OpenSSH."""
    return ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def read_node_key(data: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the private key of a file.

    Raises:
        EnrolmentError: If it is no such key.
    """
    try:
        key = serialization.load_ssh_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key() from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise _no_key()
    return key


def public_text(key: ec.EllipticCurvePrivateKey) -> str:
    """Return the public half as OpenSSH writes it, without a comment."""
    return _text(key.public_key())


def is_public_text(value: object) -> bool:
    """Return whether a value is a public node key in its one form."""
    if not isinstance(value, str) or len(value) > _MOST_CHARACTERS or not value.startswith(_PREFIX):
        return False
    try:
        return _text(_public_key(value)) == value
    except ValueError:
        return False


def pem_of_public_text(text: str) -> bytes:
    """Return a public node key as Flower keeps it: SubjectPublicKeyInfo, PEM.

    Raises:
        ValueError: If the text is no such key.
    """
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return _public_key(text).public_bytes(serialization.Encoding.PEM, form)


def sign_with_node_key(key: ec.EllipticCurvePrivateKey, message: bytes) -> str:
    """Return the ECDSA signature (SHA-384, DER) of a message as hexadecimal digits."""
    return key.sign(message, _HASH).hex()


def verify_node_signature(public: str, signature: str, message: bytes, what: str) -> None:
    """Raise unless a message was signed with a node key.

    Args:
        public: Its public half, as OpenSSH writes it.
        signature: Hexadecimal digits.
        message: The signed bytes.
        what: What they are, for the message of the error.

    Raises:
        SignatureError: If it was not.
    """
    try:
        _public_key(public).verify(bytes.fromhex(signature), message, _HASH)
    except (InvalidSignature, ValueError) as error:
        raise SignatureError(
            f"{what} does not show that its sender holds the node key it names",
            remedy="ask the site to write it again, and compare the fingerprint by phone",
        ) from error


def _public_key(text: str) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_ssh_public_key(text.encode())
    except UnsupportedAlgorithm as error:
        raise ValueError(text) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise ValueError(text)
    return key


def _text(key: ec.EllipticCurvePublicKey) -> str:
    form = serialization.PublicFormat.OpenSSH
    return key.public_bytes(serialization.Encoding.OpenSSH, form).decode()


def _no_key() -> EnrolmentError:
    return EnrolmentError(
        "the node key is no private key on P-384 in the format of OpenSSH",
        remedy="restore node.key from backup, or enrol the site anew with a new invitation",
    )
