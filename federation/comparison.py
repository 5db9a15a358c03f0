"""The short number that two people read to each other by telephone before a site is let in.

It is made from everything that a stranger between them could have exchanged, so that one comparison covers
both directions. A stranger must commit to what the site is shown before the site makes its keys, and then
needs a second preimage of these 30 decimal digits: 2^99 trials.
"""

import hashlib
import hmac
from dataclasses import asdict, dataclass

from federation.canonical import canonical_json

_DOMAIN = b"fedprint comparison 1\n"
_GROUPS, _DIGITS = 6, 5


@dataclass(frozen=True)
class Compared:
    """What must be the same at both ends.

    Args:
        consortium: Name of the consortium.
        hub_key: The hub's Ed25519 key, 64 hexadecimal digits.
        ca_sha256: SHA-256 of the authority's certificate (DER), 64 hexadecimal digits.
        site: Name of the site.
        identity_key: The site's Ed25519 key, 64 hexadecimal digits.
        node_key: Public key of its node, as OpenSSH writes it.
    """

    consortium: str
    hub_key: str
    ca_sha256: str
    site: str
    identity_key: str
    node_key: str

    @property
    def number(self) -> str:
        """Six groups of five decimal digits."""
        digest = hashlib.sha256(_DOMAIN + canonical_json(asdict(self))).digest()
        digits = str(int.from_bytes(digest, "big") % 10 ** (_GROUPS * _DIGITS)).zfill(_GROUPS * _DIGITS)
        return " ".join(digits[i : i + _DIGITS] for i in range(0, len(digits), _DIGITS))

    def matches(self, heard: str) -> bool:
        """Return whether a number that somebody typed in is this one; spaces and dashes do not matter."""
        typed = "".join(c for c in heard if c not in " -.\t")
        return hmac.compare_digest(typed.encode(), self.number.replace(" ", "").encode())
