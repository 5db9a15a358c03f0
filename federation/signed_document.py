"""Signed files that people carry between a hub and its sites: canonical JSON with an Ed25519 signature.

A document has one valid encoding, its signature covers its kind and version, and it is read only if it
states exactly the fields that its kind has.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from federation.canonical import canonical_json
from federation.errors import EnrolmentError, SignatureError
from federation.identity import Identity, verify

_DOMAIN = b"fedprint document\n"
_SHAPE = ("kind", "signature", "version")
Check = Callable[[Any], bool]
"""Whether a value may stand in a field."""


@dataclass(frozen=True)
class DocumentKind:
    """What documents of one kind hold.

    Args:
        name: The kind, such as ``"membership"``.
        fields: Field → what its value must satisfy.
        version: The only version that is read and written.
        most_bytes: Longer files are refused before they are parsed.
    """

    name: str
    fields: Mapping[str, Check]
    version: int = 1
    most_bytes: int = 64 * 1024

    def sign(self, values: Mapping[str, Any], signer: Identity) -> str:
        """Return the signature of a document, 128 hexadecimal digits.

        Raises:
            EnrolmentError: If a value is not what its field holds.
        """
        self._check(values)
        return signer.sign(self._signed_bytes(values)).hex()

    def verify(self, values: Mapping[str, Any], signature: str, public_key: str) -> None:
        """Raise unless a document was signed under a key.

        Raises:
            SignatureError: If it was not.
        """
        try:
            raw = bytes.fromhex(signature)
        except ValueError:
            raw = b""
        verify(public_key, raw, self._signed_bytes(values), f"the {self.name}")

    def encode(self, values: Mapping[str, Any], signature: str) -> bytes:
        """Return the file of a signed document."""
        return canonical_json(self._whole(values) | {"signature": signature}) + b"\n"

    def decode(self, data: bytes) -> tuple[dict[str, Any], str]:
        """Return the values and the signature of a file, whose signature is not verified yet.

        Raises:
            EnrolmentError: If the file is no document of this kind and version in its one encoding.
        """
        content = self._parsed(data)
        signature = content.pop("signature")
        if (content.pop("kind"), content.pop("version")) != (self.name, self.version):
            raise self._malformed("it is of another kind or version; both sides need the same fedprint")
        self._check(content)
        if not is_hex(signature, 128) or self.encode(content, signature).strip() != data.strip():
            raise self._malformed("it was changed on its way")
        return content, signature

    def _parsed(self, data: bytes) -> dict[str, Any]:
        if len(data) > self.most_bytes:
            raise self._malformed(f"it has {len(data):,} bytes, expected at most {self.most_bytes:,}")
        try:
            content = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._malformed("it is no JSON") from error
        if not isinstance(content, dict) or any(field not in content for field in _SHAPE):
            raise self._malformed("it has no kind, version and signature")
        return content

    def _check(self, values: Mapping[str, Any]) -> None:
        if set(values) != set(self.fields):
            wrong = ", ".join(sorted(set(values) ^ set(self.fields)))
            raise self._malformed(f"these fields are missing or unknown: {wrong[:100]}")
        for field, check in self.fields.items():
            if not check(values[field]):
                raise self._malformed(f"{field} is not what it must be")

    def _whole(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {**values, "kind": self.name, "version": self.version}

    def _signed_bytes(self, values: Mapping[str, Any]) -> bytes:
        try:
            return _DOMAIN + canonical_json(self._whole(values))
        except ValueError as error:
            raise SignatureError(f"the {self.name} holds what nobody can sign") from error

    def _malformed(self, why: str) -> EnrolmentError:
        return EnrolmentError(
            f"this is no {self.name} that can be used: {why}",
            remedy="ask for the file again, as an attachment that no program opens or converts",
        )


def is_hex(value: object, n_digits: int) -> bool:
    """Return whether a value is so many lower-case hexadecimal digits."""
    return isinstance(value, str) and len(value) == n_digits and set(value) <= set("0123456789abcdef")


def is_key(value: object) -> bool:
    """Return whether a value is an Ed25519 key or a SHA-256, 64 hexadecimal digits."""
    return is_hex(value, 64)


def is_signature(value: object) -> bool:
    """Return whether a value is an Ed25519 signature, 128 hexadecimal digits."""
    return is_hex(value, 128)


def is_text(value: object, most: int = 256) -> bool:
    """Return whether a value is a short printable text that is not empty."""
    return isinstance(value, str) and 0 < len(value) <= most and value.isprintable()


def is_time(value: object) -> bool:
    """Return whether a value is a point in time, in whole seconds since 1970."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40


def is_count(value: object) -> bool:
    """Return whether a value is a whole number from 1."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31
