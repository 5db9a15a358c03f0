"""One line of the ledger: canonical JSON that the site signs and that names the line before it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

from federation.canonical import canonical_json, sha256_hex
from federation.errors import BudgetError
from federation.identity import Identity, verify
from site_agent.ledger.budget import Charge, Scope, exact
from site_agent.ledger.spending import Outlay

START = "start"
CHARGE = "charge"
RESTART = "restart"
KINDS = (START, CHARGE, RESTART)
FIRST_KINDS = (START, RESTART)
NOTHING_BEFORE = "0" * 64
"""What the first entry names as the hash of the entry before."""

_DOMAIN = b"fedprint ledger entry 1\n"
_KEYS = {"seq", "at", "previous", "kind", "body", "signature"}


@dataclass(frozen=True)
class Entry:
    """A line that was read or is about to be written.

    Args:
        seq: Number of the line, from 1.
        at: Unix time in seconds.
        previous: Hash of the line before.
        kind: ``"start"``, ``"charge"`` or ``"restart"``.
        body: What the kind needs.
        line: The signed line, without its end.
    """

    seq: int
    at: float
    previous: str
    kind: str
    body: Mapping[str, Any]
    line: bytes

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the signed line."""
        return sha256_hex(self.line)

    @cached_property
    def charge(self) -> Charge | None:
        """What a release spent, if the entry is a charge."""
        return Charge.from_json(self.body) if self.kind == CHARGE else None

    @cached_property
    def outlays(self) -> tuple[Outlay, ...]:
        """What the entry spends; a restart spends every budget that it names."""
        if self.charge is not None:
            return (Outlay.of(self.charge, self.at),)
        return tuple(_emptied(budget, self.at) for budget in self.body.get("budgets", ()))

    @classmethod
    def sign(
        cls, identity: Identity, seq: int, at: float, previous: str, kind: str, body: Mapping[str, Any]
    ) -> "Entry":
        """Return a new entry with the site's signature."""
        content = {"seq": seq, "at": at, "previous": previous, "kind": kind, "body": dict(body)}
        signature = identity.sign(_DOMAIN + canonical_json(content)).hex()
        return cls(seq, at, previous, kind, body, canonical_json({**content, "signature": signature}))

    @classmethod
    def parse(cls, line: bytes) -> "Entry":
        """Read a line, without asking who signed it.

        Raises:
            ValueError: If it is no entry that this version knows.
        """
        content = _loaded(line)
        if not isinstance(content, dict) or set(content) != _KEYS or content["kind"] not in KINDS:
            raise ValueError("no entry that this version knows")
        entry = cls(**{key: content[key] for key in _KEYS - {"signature"}}, line=line)
        if type(entry.seq) is not int or type(entry.at) is not float or not isfinite(entry.at):
            raise ValueError("number or time is none")
        if type(entry.previous) is not str or type(content["signature"]) is not str:
            raise ValueError("hash or signature is none")
        try:
            _ = entry.outlays
        except (TypeError, KeyError, AttributeError, BudgetError) as error:
            raise ValueError("the content is none of its kind") from error
        return entry

    def check_signature(self, public_key: str) -> None:
        """Raise unless the site signed exactly this line.

        Raises:
            SignatureError: If it did not.
            ValueError: If the line is another encoding of the same content.
        """
        content = json.loads(self.line)
        if canonical_json(content) != self.line:
            raise ValueError("another encoding of the same content")
        signature = bytes.fromhex(content.pop("signature"))
        verify(public_key, signature, _DOMAIN + canonical_json(content), f"ledger entry {self.seq}")


def _loaded(line: bytes) -> Any:
    try:
        return json.loads(line)
    except RecursionError as error:
        raise ValueError("nested without end") from error


def _emptied(budget: Mapping[str, str], at: float) -> Outlay:
    scope, name = Scope(budget["scope"]), budget["name"]
    population, task = (name, None) if scope is Scope.POPULATION else (None, name)
    return Outlay(at, population, task, None, exact(budget["rho"]))
