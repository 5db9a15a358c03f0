"""A site's side of a round: five states, each of which is left once.

advertise → ``Advertised`` → share → ``Shared`` → mask → ``Masked`` → confirm → ``Confirmed`` → unmask.

A step checks everything it was told before it says anything. Taken again from the same state it gives the
same bytes; a state object refuses a second step all the same, since the answers to two different questions
could reveal the vector. The steps are those of Bonawitz et al. 2017, figure 4, with active adversaries.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from federation.errors import ReplayError, RosterError, SurvivorsError
from federation.identity import Identity
from federation.secagg import keys, ring, shamir
from federation.secagg.checks import (
    check_advertisement,
    check_confirmation,
    check_directory,
    check_each,
    check_values,
    circle_of,
    require_enough,
    sign,
)
from federation.secagg.messages import (
    SHARE_BYTES,
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

Shares = Mapping[str, bytes]
_SEED_BYTES = 32


class _State:
    """What a site remembers between two steps; leaving it is possible once."""

    _left = False

    def _leave(self) -> None:
        if self._left:
            raise ReplayError(
                f"a site was asked to leave its state {type(self).__name__} a second time",
                remedy="answer again with what was said before; for another answer start another round",
            )
        object.__setattr__(self, "_left", True)


@dataclass(frozen=True)
class Advertised(_State):
    """The site has advertised its keys.

    Args:
        terms: What the round is about.
        site: The site.
        advertisement: What it said.
        seeds: Secret seeds of the cipher key, the mask key, the own mask and the polynomials, 128 bytes.
    """

    terms: Terms
    site: str
    advertisement: Advertisement
    seeds: bytes = field(repr=False)

    def share(self, directory: Directory) -> tuple["Shared", Sealed]:
        """Share the site's secrets among its neighbours.

        Args:
            directory: Everybody's keys.

        Raises:
            RosterError: If somebody is no member, or the site's own keys or somebody's are not as advertised.
            SignatureError: If a neighbour did not sign its keys together with these terms.
            CohortTooSmallError: If too few sites take part.
            ReplayError: If this was done before.
        """
        check_directory(self.terms, directory)
        if directory.advertisements.get(self.site) != self.advertisement:
            raise RosterError(
                f"site {self.site} is not listed with the keys that it advertised",
                remedy="somebody altered them on the way; do not take part until that is understood",
            )
        session = keys.session_of(self.terms, directory)
        circle = circle_of(self.terms, directory, session)
        peers = circle.of(self.site)
        require_enough(len(peers) + 1, self.terms.threshold, "sites can hold shares of this one's secrets")
        listed = directory.advertisements
        check_each(peers, lambda peer: check_advertisement(self.terms, peer, listed[peer]))
        self._leave()
        return self._dealt(directory, session, peers)

    def _dealt(self, directory: Directory, session: bytes, peers: tuple[str, ...]) -> tuple["Shared", Sealed]:
        cipher_seed, mask_seed, own_seed, polynomial_seed = _seeds(self.seeds)
        holders = sorted((*peers, self.site))
        dealt = [
            shamir.split(
                secret, len(holders), self.terms.threshold, keys.stream(polynomial_seed, session, what)
            )
            for secret, what in ((mask_seed, "mask key"), (own_seed, "own mask"))
        ]
        shares = {site: b"".join(both) for site, *both in zip(holders, *dealt, strict=True)}
        cipher_key = keys.private_key(cipher_seed)
        agreed = {
            peer: keys.agree(cipher_key, directory.advertisements[peer].cipher_key, peer) for peer in peers
        }
        sealed = {
            peer: keys.seal(keys.sealing_key(secret, session, self.site, peer), shares[peer])
            for peer, secret in agreed.items()
        }
        shared = Shared(
            self.terms,
            self.site,
            session,
            tuple(sorted(directory.advertisements)),
            {peer: directory.advertisements[peer].mask_key for peer in peers},
            mask_seed + own_seed,
            {peer: keys.sealing_key(secret, session, peer, self.site) for peer, secret in agreed.items()},
            shares[self.site],
        )
        return shared, Sealed(sealed)


@dataclass(frozen=True)
class Shared(_State):
    """The site has shared its secrets.

    Args:
        terms: What the round is about.
        site: The site.
        session: Hash of the terms and everybody's keys.
        sites: Everybody in the directory, sorted.
        mask_keys: Neighbour → its public mask key.
        seeds: Secret seeds of the mask key and the own mask, 64 bytes.
        opening_keys: Neighbour → key that its shares are sealed under.
        own_shares: The site's share of its own two secrets.
    """

    terms: Terms
    site: str
    session: bytes
    sites: tuple[str, ...]
    mask_keys: Mapping[str, bytes]
    seeds: bytes = field(repr=False)
    opening_keys: Mapping[str, bytes] = field(repr=False)
    own_shares: bytes = field(repr=False)

    def mask(self, delivery: Sealed, values: npt.NDArray[np.int64]) -> tuple["Masked", MaskedInput]:
        """Return the site's vector under its own mask and one for every neighbour that shared its secrets.

        Args:
            delivery: The shares that neighbours sealed for this site.
            values: int64 [length], none larger than the terms' bound.

        Raises:
            ShareError: If shares were altered, or sealed for another site or round.
            RosterError: If somebody shared who is no neighbour.
            CohortTooSmallError: If too few did.
            VectorError: If the vector is not what the terms allow.
            ReplayError: If this was done before.
        """
        held = self.receive(delivery)
        check_values(self.terms, values)
        self._leave()
        mask_seed, own_seed = _seeds(self.seeds)
        vector = ring.encode(values, self.terms.bits)
        ring.add_mask(vector, keys.own_mask_key(own_seed, self.session, self.site), +1)
        mask_key = keys.private_key(mask_seed)
        for peer in delivery.shares:
            secret = keys.agree(mask_key, self.mask_keys[peer], peer)
            key = keys.pair_mask_key(secret, self.session, self.site, peer)
            ring.add_mask(vector, key, sign(self.site, peer))
        peers = tuple(sorted(self.mask_keys))
        return Masked(self.terms, self.site, self.session, self.sites, peers, held), MaskedInput(vector)

    def receive(self, delivery: Sealed) -> Shares:
        """Return who trusted this site with which shares, itself included, without leaving the state.

        A site can look before it computes anything on its data.

        Args:
            delivery: As for ``mask``.

        Raises:
            ShareError: As ``mask``.
            RosterError: As ``mask``.
            CohortTooSmallError: As ``mask``.
        """
        strangers = sorted(set(delivery.shares) - set(self.mask_keys))
        if strangers:
            raise RosterError(f"shares came from {strangers[0]}, which is no neighbour of {self.site}")
        require_enough(
            len(delivery.shares) + 1, self.terms.threshold, "sites shared their secrets with this one"
        )
        opened = {
            sender: keys.unseal(self.opening_keys[sender], sealed, sender)
            for sender, sealed in delivery.shares.items()
        }
        return {**opened, self.site: self.own_shares}


@dataclass(frozen=True)
class Masked(_State):
    """The site has sent its masked vector.

    Args:
        terms: What the round is about.
        site: The site.
        session: Hash of the terms and everybody's keys.
        sites: Everybody in the directory, sorted.
        peers: The site's neighbours, sorted.
        held: Site → its two shares that this site holds, of its mask key and of its own mask.
    """

    terms: Terms
    site: str
    session: bytes
    sites: tuple[str, ...]
    peers: tuple[str, ...]
    held: Shares = field(repr=False)

    def confirm(self, survivors: Survivors, identity: Identity) -> tuple["Confirmed", Confirmation]:
        """Sign the list of survivors, and forget the shares that it makes worthless.

        Args:
            survivors: Whose vectors are summed and who dropped out.
            identity: The site's long-term key.

        Raises:
            SurvivorsError: If the list contradicts itself or what this site saw.
            CohortTooSmallError: If too few are left.
            ReplayError: If this was done before.
        """
        self.check(survivors)
        self._leave()
        signature = identity.sign(keys.confirmed(self.session, survivors))
        alive = set(survivors.alive)
        shares = {
            owner: both[SHARE_BYTES:] if owner in alive else both[:SHARE_BYTES]
            for owner, both in self.held.items()
        }
        state = Confirmed(self.terms, self.site, self.session, self.peers, survivors, shares)
        return state, Confirmation(signature)

    def check(self, survivors: Survivors) -> None:
        """Raise unless the site would sign a list of survivors; arguments and errors as of ``confirm``."""
        alive, dead = set(survivors.alive), set(survivors.dead)
        if alive & dead:
            raise SurvivorsError(
                f"{min(alive & dead)} is said to have contributed and to have dropped out",
                remedy="both kinds of shares of one site reveal its vector; do not trust this aggregator",
            )
        unknown = sorted((alive | dead) - set(self.sites))
        if unknown:
            raise SurvivorsError(f"the survivors name {unknown[0]}, which did not advertise keys")
        if self.site not in alive:
            raise SurvivorsError(f"site {self.site} sent its vector and is not among those who contributed")
        near = {*self.peers, self.site}
        if (alive | dead) & near != set(self.held):
            odd = min(((alive | dead) & near) ^ set(self.held))
            raise SurvivorsError(f"the survivors are not those who shared their secrets: see {odd}")
        require_enough(len(alive), self.terms.minimum, "sites contributed")
        require_enough(len(alive & near), self.terms.threshold, "sites hold shares of this one's secrets")


@dataclass(frozen=True)
class Confirmed(_State):
    """The site has signed the survivors.

    Args:
        terms: What the round is about.
        site: The site.
        session: Hash of the terms and everybody's keys.
        peers: The site's neighbours, sorted.
        survivors: What it signed.
        shares: Owner → the one share that may be revealed.
    """

    terms: Terms
    site: str
    session: bytes
    peers: tuple[str, ...]
    survivors: Survivors
    shares: Shares = field(repr=False)

    def unmask(self, confirmations: Confirmations) -> Unmasking:
        """Reveal the shares that open the sum, once enough sites are seen to have signed the same survivors.

        Args:
            confirmations: The other sites' signatures.

        Raises:
            SignatureError: If one is not of the same survivors, terms and keys.
            SurvivorsError: If somebody confirmed who did not contribute.
            CohortTooSmallError: If too few confirmed.
            ReplayError: If this was done before.
        """
        strangers = sorted(set(confirmations.signatures) - set(self.survivors.alive))
        if strangers:
            raise SurvivorsError(f"{strangers[0]} confirmed the survivors and is none of them")
        witnesses = [peer for peer in self.peers if peer in confirmations.signatures]
        require_enough(len(witnesses) + 1, self.terms.threshold, "sites confirmed the survivors")
        message, signed = keys.confirmed(self.session, self.survivors), confirmations.signatures
        check_each(
            witnesses[: self.terms.threshold - 1],
            lambda peer: check_confirmation(self.terms, peer, signed[peer], message),
        )
        self._leave()
        return Unmasking(dict(self.shares))


def advertise(
    terms: Terms, site: str, identity: Identity, randomness: keys.Randomness = os.urandom
) -> tuple[Advertised, Advertisement]:
    """Begin a round: draw the site's secrets and sign its keys together with the terms.

    Args:
        terms: What the round is about; that they suit the site is for its policy to say.
        site: The site.
        identity: Its long-term key.
        randomness: Source of secret random bytes; anything but the default is for tests.

    Raises:
        TermsError: If the terms are impossible or weaker than the protocol prescribes.
        RosterError: If the site is not a member under its own key.
    """
    terms.check()
    if terms.members.get(site) != identity.public_key:
        raise RosterError(
            f"site {site} is not a member of cohort {terms.cohort} under its own key",
            remedy="compare the roster with the aggregator's operator by phone",
        )
    seeds = randomness(4 * _SEED_BYTES)
    cipher_seed, mask_seed, own_seed, _ = _seeds(seeds)
    public = keys.public_key(cipher_seed), keys.public_key(mask_seed), keys.commitment(terms, site, own_seed)
    signature = identity.sign(keys.advertised(terms, site, b"".join(public)))
    advertisement = Advertisement(*public, signature)
    return Advertised(terms, site, advertisement, seeds), advertisement


def _seeds(seeds: bytes) -> list[bytes]:
    return [seeds[i : i + _SEED_BYTES] for i in range(0, len(seeds), _SEED_BYTES)]
