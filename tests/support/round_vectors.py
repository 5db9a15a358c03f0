"""Test vectors of a round of secure aggregation: one that goes well, and lies with the error each ends in.

``python tests/support/round_vectors.py`` prints what tests/federation/secagg/vectors.json holds.
Identities and seeds are hashes of the sites' names, so that everything can be made again by anybody.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from cohorts import Cohort, identity, names, small_cohort, terms_of

from federation.identity import Identity
from federation.secagg import client, keys
from federation.secagg.memory import remember
from federation.secagg.messages import (
    Advertisement,
    Confirmations,
    Directory,
    MaskedInput,
    Sealed,
    Survivors,
    Unmasking,
)

STEPS = ("advertise", "share", "mask", "confirm", "unmask")
OTHER_ROUND = "f" * 32
ME, A, B, C = names(4)
Message = Any


def spoken(message: Message) -> dict[str, Any]:
    """Return a message as JSON can hold it."""
    return {
        "body": dict(message.body()),
        "blobs": {name: blob.hex() for name, blob in message.blobs().items()},
    }


def all_vectors() -> dict[str, Any]:
    """Return the honest round and the lies."""
    return {"honest": _honest(), "told to a site": _to_sites(), "told to the aggregator": _to_aggregator()}


def _cohort(**missing: Any) -> Cohort:
    cohort = small_cohort(4, missing=missing)
    cohort.unmask()
    return cohort


def _honest() -> dict[str, Any]:
    cohort = small_cohort(4, missing={"mask": {C}})
    opened = cohort.unmask()
    answers = {
        step: {site: spoken(answer) for site, answer in cohort.answers[step].items()} for step in STEPS
    }
    return {
        "terms": cohort.terms.to_json(),
        "digest": cohort.terms.digest.hex(),
        "seeds": {site: states[0].seeds.hex() for site, states in cohort.history.items()},
        "values": {site: values.tolist() for site, values in cohort.values.items()},
        "answers": answers,
        "session": cohort.servers["share"].session.hex(),
        "contributors": list(opened.contributors),
        "total": opened.total.tolist(),
    }


@dataclass(frozen=True)
class _Lie:
    """Something false that a site is told, and the error it ends in."""

    name: str
    step: str
    error: str
    tell: Callable[[Cohort], Message]
    cohort: Callable[[], Cohort] = _cohort


def _to_sites() -> list[dict[str, Any]]:
    return [_told_to_site(lie) for lie in (*_FALSE_DIRECTORIES, *_FALSE_DELIVERIES, *_FALSE_SURVIVORS)] + [
        _told_to_site(lie) for lie in _FALSE_CONFIRMATIONS
    ]


def _told_to_site(lie: _Lie) -> dict[str, Any]:
    cohort = lie.cohort()
    before = cohort.history[ME][STEPS.index(lie.step) - 1]
    return {
        "name": lie.name,
        "step": lie.step,
        "terms": cohort.terms.to_json(),
        "state": remember(before),
        "values": cohort.values[ME].tolist(),
        "message": spoken(lie.tell(cohort)),
        "error": lie.error,
    }


def _directory(change: Callable[[dict[str, Advertisement], Cohort], None]) -> Callable[[Cohort], Directory]:
    def tell(cohort: Cohort) -> Directory:
        listed = dict(cohort.servers["share"].directory.advertisements)
        change(listed, cohort)
        return Directory(listed)

    return tell


def _signed_by(signer: Identity, site: str, known: Advertisement, cohort: Cohort) -> Advertisement:
    signature = signer.sign(keys.advertised(cohort.terms, site, keys.signed_keys(known)))
    return replace(known, signature=signature)


def _swap(listed: dict[str, Advertisement], _: Cohort) -> None:
    listed[A], listed[B] = listed[B], listed[A]


def _own_keys_replaced(listed: dict[str, Advertisement], _: Cohort) -> None:
    listed[ME] = replace(listed[ME], mask_key=keys.public_key(bytes(31) + b"\x01"))


def _key_replaced(listed: dict[str, Advertisement], _: Cohort) -> None:
    listed[A] = replace(listed[A], cipher_key=keys.public_key(bytes(31) + b"\x02"))


def _forged(listed: dict[str, Advertisement], cohort: Cohort) -> None:
    listed[A] = _signed_by(identity("somebody-else"), A, listed[A], cohort)


def _from(sites: Any, **changes: Any) -> Callable[[dict[str, Advertisement], Cohort], None]:
    """Put in keys that a member really signed, but for a round of other terms."""

    def change(listed: dict[str, Advertisement], _: Cohort) -> None:
        listed[A] = client.advertise(terms_of(sites, **changes), A, identity(A), lambda n: b"\x03" * n)[1]

    return change


def _stranger(listed: dict[str, Advertisement], cohort: Cohort) -> None:
    listed["stranger"] = _signed_by(identity("stranger"), "stranger", listed.pop(C), cohort)


def _too_few(listed: dict[str, Advertisement], _: Cohort) -> None:
    del listed[B], listed[C]


def _same_key(listed: dict[str, Advertisement], cohort: Cohort) -> None:
    listed[A] = _signed_by(identity(A), A, replace(listed[A], mask_key=listed[B].mask_key), cohort)


def _small_order(listed: dict[str, Advertisement], cohort: Cohort) -> None:
    listed[A] = _signed_by(identity(A), A, replace(listed[A], cipher_key=bytes(32)), cohort)


_FALSE_DIRECTORIES = (
    _Lie("keys of two sites are swapped", "share", "SignatureError", _directory(_swap)),
    _Lie("the site's own keys are replaced", "share", "RosterError", _directory(_own_keys_replaced)),
    _Lie("a peer's key is replaced", "share", "SignatureError", _directory(_key_replaced)),
    _Lie("a peer's signature is somebody else's", "share", "SignatureError", _directory(_forged)),
    _Lie(
        "a peer's keys are replayed from another round",
        "share",
        "SignatureError",
        _directory(_from(names(4), round_id=OTHER_ROUND)),
    ),
    _Lie(
        "a peer was sent another request", "share", "SignatureError", _directory(_from(names(4), bound=999))
    ),
    _Lie("a peer was sent another roster", "share", "SignatureError", _directory(_from(names(5)))),
    _Lie("a stranger takes the place of a member", "share", "RosterError", _directory(_stranger)),
    _Lie("too few sites take part", "share", "CohortTooSmallError", _directory(_too_few)),
    _Lie("two sites have the same key", "share", "RosterError", _directory(_same_key)),
    _Lie("a peer's key is a point of small order", "share", "RosterError", _directory(_small_order)),
)


def _delivery(change: Callable[[dict[str, bytes], Cohort], None]) -> Callable[[Cohort], Sealed]:
    def tell(cohort: Cohort) -> Sealed:
        shares = dict(cohort.servers["mask"].delivery(ME).shares)
        change(shares, cohort)
        return Sealed(shares)

    return tell


def _altered(shares: dict[str, bytes], _: Cohort) -> None:
    shares[A] = bytes([shares[A][0] ^ 1]) + shares[A][1:]


def _of_another(shares: dict[str, bytes], _: Cohort) -> None:
    shares[A] = shares[B]


def _for_another(shares: dict[str, bytes], cohort: Cohort) -> None:
    shares[A] = cohort.answers["share"][A].shares[B]


def _reflected(shares: dict[str, bytes], cohort: Cohort) -> None:
    shares[A] = cohort.answers["share"][ME].shares[A]


def _own(shares: dict[str, bytes], _: Cohort) -> None:
    shares[ME] = shares[A]


def _only_one(shares: dict[str, bytes], _: Cohort) -> None:
    del shares[B], shares[C]


_FALSE_DELIVERIES = (
    _Lie("a share is altered on the way", "mask", "ShareError", _delivery(_altered)),
    _Lie("a share is delivered twice, in two names", "mask", "ShareError", _delivery(_of_another)),
    _Lie("a share is meant for another site", "mask", "ShareError", _delivery(_for_another)),
    _Lie("the site's own words come back in a peer's name", "mask", "ShareError", _delivery(_reflected)),
    _Lie("shares come from the site itself", "mask", "RosterError", _delivery(_own)),
    _Lie("too few sites shared", "mask", "CohortTooSmallError", _delivery(_only_one)),
)


def _one_dropped() -> Cohort:
    return _cohort(mask={C})


_FALSE_SURVIVORS = (
    _Lie(
        "a site is alive and dead",
        "confirm",
        "SurvivorsError",
        lambda _: Survivors((ME, A, B, C), (C,)),
    ),
    _Lie(
        "the list is inflated by a stranger",
        "confirm",
        "SurvivorsError",
        lambda _: Survivors((ME, A, B, C, "stranger"), ()),
    ),
    _Lie(
        "the list is inflated by a site that did not share",
        "confirm",
        "SurvivorsError",
        lambda _: Survivors((ME, A, B, C), ()),
        lambda: _cohort(share={C}),
    ),
    _Lie(
        "the site itself is called dead", "confirm", "SurvivorsError", lambda _: Survivors((A, B, C), (ME,))
    ),
    _Lie("a site that shared is left out", "confirm", "SurvivorsError", lambda _: Survivors((ME, A, B), ())),
    _Lie("too few survived", "confirm", "CohortTooSmallError", lambda _: Survivors((ME, A), (B, C))),
)


def _signatures(change: Callable[[dict[str, bytes], Cohort], None]) -> Callable[[Cohort], Confirmations]:
    def tell(cohort: Cohort) -> Confirmations:
        signatures = dict(cohort.servers["unmask"].confirmations.signatures)
        change(signatures, cohort)
        return Confirmations(signatures)

    return tell


def _of_other_survivors(signatures: dict[str, bytes], cohort: Cohort) -> None:
    session, other = cohort.servers["share"].session, Survivors((ME, A, B, C), ())
    signatures[A] = identity(A).sign(keys.confirmed(session, other))


def _of_other_session(signatures: dict[str, bytes], cohort: Cohort) -> None:
    signatures[A] = identity(A).sign(keys.confirmed(bytes(32), cohort.servers["confirm"].survivors))


def _by_the_dead(signatures: dict[str, bytes], cohort: Cohort) -> None:
    session, survivors = cohort.servers["share"].session, cohort.servers["confirm"].survivors
    signatures[C] = identity(C).sign(keys.confirmed(session, survivors))


def _by_too_few(signatures: dict[str, bytes], _: Cohort) -> None:
    del signatures[A]


def _repeated(signatures: dict[str, bytes], _: Cohort) -> None:
    signatures[A] = signatures[B]


_FALSE_CONFIRMATIONS = (
    _Lie(
        "a peer signed other survivors",
        "unmask",
        "SignatureError",
        _signatures(_of_other_survivors),
        _one_dropped,
    ),
    _Lie(
        "a peer signed in another session",
        "unmask",
        "SignatureError",
        _signatures(_of_other_session),
        _one_dropped,
    ),
    _Lie(
        "a site that dropped out confirms",
        "unmask",
        "SurvivorsError",
        _signatures(_by_the_dead),
        _one_dropped,
    ),
    _Lie("too few confirm", "unmask", "CohortTooSmallError", _signatures(_by_too_few), _one_dropped),
    _Lie(
        "a signature is used for two sites", "unmask", "SignatureError", _signatures(_repeated), _one_dropped
    ),
)


def _to_aggregator() -> list[dict[str, Any]]:
    return [
        _told_to_aggregator("keys are signed by somebody else", "advertise", "SignatureError", _forged_keys),
        _told_to_aggregator("keys are of another round", "advertise", "SignatureError", _replayed_keys),
        _told_to_aggregator("shares for a neighbour are missing", "share", "ShareError", _missing_share),
        _told_to_aggregator("the vector is truncated", "mask", "VectorError", _truncated),
        _told_to_aggregator("the vector has another modulus", "mask", "VectorError", _wrong_modulus),
        _told_to_aggregator("a number is beyond the bound", "mask", "VectorError", _beyond),
        _told_to_aggregator("other survivors are confirmed", "confirm", "SignatureError", _other_survivors),
        _told_to_aggregator("a share is wrong", "unmask", "ShareError", _wrong_share),
        _told_to_aggregator("a share is sent twice for another's", "unmask", "ShareError", _doubled_share),
        _told_to_aggregator("a share is missing", "unmask", "ShareError", _left_out),
    ]


def _told_to_aggregator(
    name: str, step: str, error: str, tell: Callable[[Cohort], Message]
) -> dict[str, Any]:
    """Return the honest answers of every step, in one of which the first site lies."""
    cohort = small_cohort(3)
    cohort.unmask()
    answers = {s: {site: spoken(a) for site, a in cohort.answers[s].items()} for s in STEPS}
    answers[step][ME] = spoken(tell(cohort))
    return {"name": name, "step": step, "terms": cohort.terms.to_json(), "answers": answers, "error": error}


def _forged_keys(cohort: Cohort) -> Message:
    return _signed_by(identity(A), ME, cohort.answers["advertise"][ME], cohort)


def _replayed_keys(_: Cohort) -> Message:
    terms = terms_of(names(3), round_id=OTHER_ROUND)
    return client.advertise(terms, ME, identity(ME), lambda n: b"\x04" * n)[1]


def _missing_share(cohort: Cohort) -> Message:
    shares = dict(cohort.answers["share"][ME].shares)
    del shares[A]
    return Sealed(shares)


def _truncated(cohort: Cohort) -> Message:
    return MaskedInput(cohort.answers["mask"][ME].vector[:-1])


def _wrong_modulus(cohort: Cohort) -> Message:
    return MaskedInput(cohort.answers["mask"][ME].vector.astype(np.uint64))


def _beyond(cohort: Cohort) -> Message:
    vector = cohort.answers["mask"][ME].vector.copy()
    vector[:1] += np.uint32(2**30)
    return MaskedInput(vector)


def _other_survivors(cohort: Cohort) -> Message:
    session = cohort.servers["share"].session
    signature = identity(ME).sign(keys.confirmed(session, Survivors((ME, A), (B,))))
    return replace(cohort.answers["confirm"][ME], signature=signature)


def _wrong_share(cohort: Cohort) -> Message:
    shares = dict(cohort.answers["unmask"][ME].shares)
    shares[A] = shares[A][:-1] + bytes([shares[A][-1] ^ 1])
    return Unmasking(shares)


def _doubled_share(cohort: Cohort) -> Message:
    shares = dict(cohort.answers["unmask"][ME].shares)
    return Unmasking({**shares, A: shares[B]})


def _left_out(cohort: Cohort) -> Message:
    shares = dict(cohort.answers["unmask"][ME].shares)
    del shares[B]
    return Unmasking(shares)


if __name__ == "__main__":
    json.dump(all_vectors(), sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")
