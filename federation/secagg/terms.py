"""The terms of a round: what every site of a cohort is asked, word for word."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

from federation.canonical import canonical_json, sha256_hex
from federation.errors import ConfigError, TermsError
from federation.names import check_name
from federation.secagg import graph
from federation.secagg.ring import MODULI

PROTOCOL = b"fedprint secure aggregation 1"

SMALLEST_COHORT = 3
"""A sum of fewer contributions tells each contributor too much about the others."""

MAX_LENGTH = 2**27
_HEX_32, _HEX_64 = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Terms:
    """What a round is about and who takes part; every site signs its digest with its keys.

    Args:
        round_id: 32 hexadecimal digits that no other round has.
        cohort: Name of the cohort.
        members: Site → Ed25519 public key, 64 hexadecimal digits; nobody else takes part.
        purpose: What is summed, as canonical JSON can hold it.
        length: Number of integers in every vector.
        bits: 32 or 64; sums are modulo 2^bits.
        bound: No site adds a number of larger magnitude.
        degree: How many neighbours a site shares masks and secrets with.
        threshold: How many shares recover a secret.
        minimum: Fewer contributions are not opened.
        colluders: How many members may work together with the aggregator without learning more than sums.
        expires: Unix time in seconds after which nobody goes on.
    """

    round_id: str
    cohort: str
    members: Mapping[str, str]
    purpose: Mapping[str, Any]
    length: int
    bits: int
    bound: int
    degree: int
    threshold: int
    minimum: int
    colluders: int
    expires: float

    @classmethod
    def for_cohort(
        cls,
        round_id: str,
        cohort: str,
        members: Mapping[str, str],
        purpose: Mapping[str, Any],
        *,
        length: int,
        bound: int,
        expires: float,
        colluders: int | None = None,
    ) -> Self:
        """Return terms with the graph, thresholds and modulus that the protocol prescribes for a cohort.

        Args:
            round_id: As above.
            cohort: As above.
            members: As above.
            purpose: As above.
            length: As above.
            bound: As above.
            expires: As above.
            colluders: As above; None: as many as the protocol can bear, fewer than a third.

        Raises:
            TermsError: If no safe round has these terms.
        """
        n = len(members)
        most = graph.most_colluders(n)
        terms = cls(
            round_id=round_id,
            cohort=cohort,
            members=dict(members),
            purpose=dict(purpose),
            length=length,
            bits=next((bits for bits in MODULI if _fits(n, bound, bits)), max(MODULI)),
            bound=bound,
            degree=graph.degree(n),
            threshold=graph.threshold(n),
            minimum=graph.minimum(n),
            colluders=most if colluders is None else colluders,
            expires=expires,
        )
        terms.check()
        return terms

    @property
    def n(self) -> int:
        """Number of members."""
        return len(self.members)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of everything above, which signatures and keys of the round are bound to."""
        return bytes.fromhex(sha256_hex(PROTOCOL + b" terms\n" + canonical_json(self.to_json())))

    @property
    def honest(self) -> int:
        """How many contributors at least add noise that nobody who looks at the sum knows."""
        return honest_shares(self.minimum, self.colluders)

    @property
    def roster_id(self) -> str:
        """SHA-256 of members and keys, 64 hexadecimal digits; operators compare it by phone."""
        return roster_id(self.members)

    def check(self) -> None:
        """Raise unless the terms are possible and no weaker than the protocol prescribes.

        Raises:
            TermsError: Naming the term, its value and what is expected.
        """
        self._check_names()
        if self.n < SMALLEST_COHORT:
            raise TermsError(
                f"cohort {self.cohort} has {self.n} members, expected at least {SMALLEST_COHORT}",
                remedy="a sum of fewer sites does not hide them from each other",
            )
        _expect("bits", self.bits, self.bits in MODULI, f"one of {MODULI}")
        _expect("length", self.length, 1 <= self.length <= MAX_LENGTH, f"1 to {MAX_LENGTH:,}")
        fits = self.bound >= 1 and _fits(self.n, self.bound, self.bits)
        _expect("bound", self.bound, fits, f"a sum of {self.n} below 2^{self.bits - 1}")
        n = self.n
        _expect("degree", self.degree, graph.degree(n) <= self.degree < n, f"{graph.degree(n)} to {n - 1}")
        lowest, holders = graph.threshold(n, self.degree), self.degree + 1
        sound = lowest <= self.threshold <= holders
        _expect("threshold", self.threshold, sound, f"{lowest} to {holders} for {holders} holders")
        lowest = graph.minimum(n)
        _expect("minimum", self.minimum, lowest <= self.minimum <= n, f"{lowest} to {n}")
        most = graph.most_colluders(n)
        _expect("colluders", self.colluders, 0 <= self.colluders <= most, f"0 to {most}")
        _expect("expires", self.expires, math.isfinite(self.expires), "a point in time")

    def to_json(self) -> dict[str, Any]:
        """Return the terms as canonical JSON can hold them."""
        plain = {term.name: getattr(self, term.name) for term in fields(self)}
        return {**plain, "members": dict(self.members), "purpose": dict(self.purpose)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` returned, checking it.

        Raises:
            TermsError: If anything is missing, unknown, of the wrong type or impossible.
        """
        try:
            terms = cls(**value)
            whole = ("length", "bits", "bound", "degree", "threshold", "minimum", "colluders")
            if not all(type(getattr(terms, name)) is int for name in whole):
                raise TypeError
            if not isinstance(terms.members, dict) or not isinstance(terms.purpose, dict):
                raise TypeError
            if type(terms.expires) not in (int, float):
                raise TypeError
            terms.check()
            _ = terms.digest
        except (TypeError, ValueError) as error:
            raise TermsError(
                "the terms of a round are malformed", remedy="use the same fedprint version everywhere"
            ) from error
        return terms

    def _check_names(self) -> None:
        _expect("round_id", self.round_id, _is_hex(_HEX_32, self.round_id), "32 hexadecimal digits")
        try:
            for name in (self.cohort, *self.members):
                check_name("cohort or site", name)
        except (ConfigError, TypeError) as error:
            raise TermsError(f"the terms of a round name what cannot be a name: {error}") from error
        for site, key in self.members.items():
            _expect(f"the key of {site}", key, _is_hex(_HEX_64, key), "64 hexadecimal digits")
        if len(set(self.members.values())) != self.n:
            raise TermsError(f"two members of cohort {self.cohort} have the same key")


def honest_shares(minimum: int, colluders: int) -> int:
    """Return how many shares of noise are unknown to whoever looks at a sum of at least ``minimum`` sites.

    Colluders know theirs; and where nobody colludes, a member that looks at the sum still knows its own.
    """
    return minimum - max(1, colluders)


def roster_id(members: Mapping[str, str]) -> str:
    """Return the SHA-256 of members and their keys, 64 hexadecimal digits."""
    return sha256_hex(PROTOCOL + b" roster\n" + canonical_json(dict(members)))


def _fits(n: int, bound: int, bits: int) -> bool:
    return n * bound < 1 << (bits - 1)


def _is_hex(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _expect(name: str, value: object, sound: bool, expected: str) -> None:
    if not sound:
        raise TermsError(
            f"{name} is {str(value)[:80]}, expected {expected}", remedy="correct the terms of the round"
        )
