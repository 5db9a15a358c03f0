"""The aggregator's side of a round: collect what sites say, pass on what is for others, open the sum.

A state's ``check`` judges one site's message and raises without changing anything, so that a bad message is
treated like a missing one; ``close`` ends the step with whoever is left. Nothing here is secret until enough
sites reveal their shares, and then only masks of the sum are.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from federation.errors import RosterError, ShareError, VectorError
from federation.secagg import graph, keys, ring, shamir
from federation.secagg.checks import (
    check_advertisement,
    check_confirmation,
    check_directory,
    circle_of,
    require_enough,
    sign,
)
from federation.secagg.messages import (
    Advertisement,
    Confirmation,
    Confirmations,
    Directory,
    MaskedInput,
    Sealed,
    Survivors,
    Unmasking,
)
from federation.secagg.terms import Terms


@dataclass(frozen=True)
class Opened:
    """What a round was for.

    Args:
        total: int64 [length], the sum of the contributors' vectors.
        contributors: Whose vectors it is the sum of, sorted.
    """

    total: npt.NDArray[np.int64]
    contributors: tuple[str, ...]


@dataclass(frozen=True)
class Advertising:
    """Sites are asked for their keys.

    Args:
        terms: What the round is about.
    """

    terms: Terms

    def check(self, site: str, message: Advertisement) -> None:
        """Raise unless a member signed these keys with these terms: RosterError, SignatureError."""
        check_advertisement(self.terms, site, message)
        for key in (message.cipher_key, message.mask_key):
            keys.require_usable(key, site)  # or every honest site would stop at it

    def close(self, replies: Mapping[str, Advertisement]) -> "Sharing":
        """Go on with the sites that advertised keys.

        Raises:
            CohortTooSmallError: If they are too few.
            RosterError: If two of them have a key in common.
        """
        directory = Directory(dict(sorted(replies.items())))
        check_directory(self.terms, directory)
        return Sharing(self.terms, directory)


@dataclass(frozen=True)
class Sharing:
    """Sites are asked to share their secrets.

    Args:
        terms: What the round is about.
        directory: Everybody's keys, which every site gets.
    """

    terms: Terms
    directory: Directory

    @cached_property
    def session(self) -> bytes:
        """Hash of the terms and everybody's keys."""
        return keys.session_of(self.terms, self.directory)

    @cached_property
    def circle(self) -> graph.Graph:
        """Who is whose neighbour."""
        return circle_of(self.terms, self.directory, self.session)

    @property
    def sites(self) -> tuple[str, ...]:
        """Who is asked."""
        return tuple(self.directory.advertisements)

    def check(self, site: str, message: Sealed) -> None:
        """Raise ShareError unless a site shared with each of its neighbours, RosterError for a stranger."""
        _require_asked(site, self.sites)
        if set(message.shares) != set(self.circle.of(site)):
            raise ShareError(f"site {site} did not share its secrets with exactly its neighbours")

    def close(self, replies: Mapping[str, Sealed]) -> "Masking":
        """Go on with the sites that shared their secrets; CohortTooSmallError if they are too few."""
        require_enough(len(replies), self.terms.minimum, "sites shared their secrets")
        return Masking(self, dict(sorted(replies.items())))


@dataclass(frozen=True)
class Masking:
    """Sites are asked for their masked vectors.

    Args:
        shared: The step before.
        sealed: Site → its sealed shares.
    """

    shared: Sharing
    sealed: Mapping[str, Sealed]

    @property
    def terms(self) -> Terms:
        """What the round is about."""
        return self.shared.terms

    @property
    def sites(self) -> tuple[str, ...]:
        """Who is asked."""
        return tuple(self.sealed)

    def delivery(self, site: str) -> Sealed:
        """Return the shares that neighbours sealed for a site."""
        peers = self.shared.circle.of(site)
        return Sealed({peer: self.sealed[peer].shares[site] for peer in peers if peer in self.sealed})

    def check(self, site: str, message: MaskedInput) -> None:
        """Raise VectorError unless a vector has the length and modulus of the terms, RosterError as above."""
        _require_asked(site, self.sites)
        vector, terms = message.vector, self.terms
        if vector.shape != (terms.length,) or 8 * vector.dtype.itemsize != terms.bits:
            raise VectorError(
                f"site {site} sent {vector.size} numbers modulo 2^{8 * vector.dtype.itemsize}, expected "
                f"{terms.length} modulo 2^{terms.bits}"
            )

    def close(self, replies: Mapping[str, MaskedInput]) -> "Confirming":
        """Go on with the sites that sent their vectors; CohortTooSmallError if they are too few."""
        require_enough(len(replies), self.terms.minimum, "sites sent their vectors")
        masked = ring.zeros(self.terms.length, self.terms.bits)
        for message in replies.values():
            masked += message.vector
        alive = tuple(sorted(replies))
        dead = tuple(site for site in self.sites if site not in replies)
        return Confirming(self.shared, Survivors(alive, dead), masked)


@dataclass(frozen=True)
class Confirming:
    """Sites are asked to sign who is in the sum.

    Args:
        shared: The step in which secrets were shared.
        survivors: Who is, and who dropped out; every survivor gets this.
        masked: uint [length], the sum with its masks.
    """

    shared: Sharing
    survivors: Survivors
    masked: npt.NDArray[np.unsignedinteger[Any]]

    @property
    def terms(self) -> Terms:
        """What the round is about."""
        return self.shared.terms

    @property
    def sites(self) -> tuple[str, ...]:
        """Who is asked."""
        return self.survivors.alive

    @cached_property
    def _message(self) -> bytes:
        return keys.confirmed(self.shared.session, self.survivors)

    def check(self, site: str, message: Confirmation) -> None:
        """Raise SignatureError unless a survivor signed the survivors, RosterError as above."""
        _require_asked(site, self.sites)
        check_confirmation(self.terms, site, message.signature, self._message)

    def close(self, replies: Mapping[str, Confirmation]) -> "Revealing":
        """Go on with the sites that confirmed; CohortTooSmallError if they are too few."""
        require_enough(len(replies), self.terms.minimum, "sites confirmed the survivors")
        return Revealing(self, Confirmations({site: replies[site].signature for site in sorted(replies)}))


@dataclass(frozen=True)
class Revealing:
    """Sites are asked for the shares that open the sum.

    Args:
        confirmed: The step before.
        confirmations: Everybody's signature, which every site gets.
    """

    confirmed: Confirming
    confirmations: Confirmations

    @property
    def terms(self) -> Terms:
        """What the round is about."""
        return self.confirmed.terms

    @property
    def sites(self) -> tuple[str, ...]:
        """Who is asked."""
        return tuple(self.confirmations.signatures)

    def check(self, site: str, message: Unmasking) -> None:
        """Raise ShareError unless a site reveals one share for each secret it holds, RosterError as above."""
        _require_asked(site, self.sites)
        survivors = self.confirmed.survivors
        held = {*self.confirmed.shared.circle.of(site), site} & {*survivors.alive, *survivors.dead}
        if set(message.shares) != held:
            raise ShareError(f"site {site} did not reveal one share for each secret it holds")

    def close(self, replies: Mapping[str, Unmasking]) -> Opened:
        """Recover the masks and take them out of the sum.

        Raises:
            CohortTooSmallError: If too few shares of a secret came.
            ShareError: If shares do not recover the secret that its owner committed to.
            VectorError: If the sum is none of such contributions.
        """
        survivors = self.confirmed.survivors
        total = self.confirmed.masked.copy()
        for site in survivors.alive:
            ring.add_mask(total, self._own_mask_key(site, replies), -1)
        for site in survivors.dead:
            for peer, key in self._pair_mask_keys(site, replies):
                ring.add_mask(total, key, sign(site, peer))
        return Opened(_plausible(self.terms, ring.centred(total), len(survivors.alive)), survivors.alive)

    def _own_mask_key(self, site: str, replies: Mapping[str, Unmasking]) -> bytes:
        shared = self.confirmed.shared
        committed = shared.directory.advertisements[site].commitment
        seed = self._secret(site, replies, lambda seed: keys.commitment(self.terms, site, seed), committed)
        return keys.own_mask_key(seed, shared.session, site)

    def _pair_mask_keys(self, site: str, replies: Mapping[str, Unmasking]) -> Sequence[tuple[str, bytes]]:
        """Return the masks that survivors share with a site that dropped out."""
        shared, alive = self.confirmed.shared, set(self.confirmed.survivors.alive)
        listed = shared.directory.advertisements
        key = keys.private_key(self._secret(site, replies, keys.public_key, listed[site].mask_key))
        peers = [peer for peer in shared.circle.of(site) if peer in alive]
        agreed = ((peer, keys.agree(key, listed[peer].mask_key, peer)) for peer in peers)
        return [(peer, keys.pair_mask_key(secret, shared.session, site, peer)) for peer, secret in agreed]

    def _secret(
        self, owner: str, replies: Mapping[str, Unmasking], commit: Callable[[bytes], bytes], committed: bytes
    ) -> bytes:
        """Return the secret that enough of its shares agree on.

        Who sent a wrong share is not known, so that with shares to spare others are tried in turn.
        """
        holders = sorted((*self.confirmed.shared.circle.of(owner), owner))
        shares = {k: replies[h].shares[owner] for k, h in enumerate(holders) if h in replies}
        threshold = self.terms.threshold
        require_enough(len(shares), threshold, f"sites revealed their share of a secret of {owner}")
        positions = list(shares)
        for start in range(len(positions) if len(positions) > threshold else 1):
            turn = sorted((positions[start:] + positions[:start])[:threshold])
            try:
                secret = shamir.recover({k: shares[k] for k in turn}, threshold)
            except ShareError:
                continue
            if hmac.compare_digest(commit(secret), committed):
                return secret
        raise ShareError(
            f"the shares of {owner} do not recover what it committed to: it lied, or a holder of its shares",
            remedy="start another round; nothing was opened",
        )


def _plausible(terms: Terms, total: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    most = n * terms.bound
    if total.size and not -most <= int(total.min()) <= int(total.max()) <= most:
        raise VectorError(
            f"the opened sum of {n} sites is no sum of numbers up to {terms.bound:,}: a site did not follow "
            "the protocol",
            remedy="start another round; nothing was kept",
        )
    return total


def _require_asked(site: str, sites: Sequence[str]) -> None:
    if site not in sites:
        raise RosterError(f"{site} was not asked in this step")
