"""The head: which entry is the ledger's last one, so that entries cut off its end are missed."""

import json
from dataclasses import dataclass

from federation.canonical import canonical_json
from federation.errors import LedgerError, SignatureError
from federation.identity import Identity, verify
from site_agent.ledger.entry import Entry

_DOMAIN = b"fedprint ledger head 1\n"


@dataclass(frozen=True)
class Head:
    """What the site signed after its last entry was durable.

    Args:
        seq: Number of that entry; 0 before there is one.
        hash: Its hash.
    """

    seq: int
    hash: str

    @classmethod
    def of(cls, entry: Entry) -> "Head":
        """Return the head of a ledger that ends with an entry."""
        return cls(entry.seq, entry.hash)

    def sign(self, identity: Identity) -> bytes:
        """Return the content of the head's file."""
        return _encode(self, identity.sign(_signed_bytes(self)))

    @classmethod
    def parse(cls, data: bytes, public_key: str) -> "Head":
        """Read the head's file.

        Raises:
            LedgerError: If it is damaged or the site did not sign it.
        """
        try:
            content = json.loads(data)
            signature = bytes.fromhex(content.pop("signature"))
            head = cls(**content)
            if type(head.seq) is not int or _encode(head, signature) != data:
                raise ValueError("another encoding of the same content")
            verify(public_key, signature, _signed_bytes(head), "the ledger's head")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SignatureError) as error:
            raise LedgerError(
                "ledger.head is damaged, or another key signed it",
                remedy="restore ledger.jsonl and ledger.head together from backup",
            ) from error
        return head


def _signed_bytes(head: Head) -> bytes:
    return _DOMAIN + canonical_json({"seq": head.seq, "hash": head.hash})


def _encode(head: Head, signature: bytes) -> bytes:
    return canonical_json({"seq": head.seq, "hash": head.hash, "signature": signature.hex()}) + b"\n"
