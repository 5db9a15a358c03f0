"""A site's state between two steps as plain values, for the site's own disk: it holds secrets.

The terms are kept beside it, once for all states of a round.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from federation.errors import FedprintError, StoreError
from federation.secagg.client import Advertised, Confirmed, Masked, Shared
from federation.secagg.messages import Advertisement, Survivors
from federation.secagg.terms import Terms

State: TypeAlias = Advertised | Shared | Masked | Confirmed
_NAMES: Mapping[type[State], str] = {
    Advertised: "advertised", Shared: "shared", Masked: "masked", Confirmed: "confirmed",
}  # fmt: skip


def remember(state: State) -> dict[str, Any]:
    """Return a state, with its secrets, as JSON can hold it."""
    return {"state": _NAMES[type(state)], **_content(state)}


def recall(terms: Terms, site: str, value: Mapping[str, Any]) -> State:
    """Return the state that was remembered.

    Args:
        terms: The terms of its round.
        site: The site.
        value: What ``remember`` returned.

    Raises:
        StoreError: If it is no such thing.
    """
    try:
        return _READERS[value["state"]](terms, site, value)
    except (KeyError, TypeError, ValueError, AttributeError, FedprintError) as error:
        raise StoreError(
            f"what site {site} remembers of round {terms.round_id} is damaged",
            remedy="the round cannot go on here; the aggregator starts another one",
        ) from error


def _content(state: State) -> dict[str, Any]:
    match state:
        case Advertised():
            return {"advertisement": state.advertisement.to_bytes().hex(), "seeds": state.seeds.hex()}
        case Shared():
            return {
                "session": state.session.hex(),
                "sites": list(state.sites),
                "mask_keys": _to_hex(state.mask_keys),
                "seeds": state.seeds.hex(),
                "opening_keys": _to_hex(state.opening_keys),
                "own_shares": state.own_shares.hex(),
            }
        case Masked():
            return {
                "session": state.session.hex(),
                "sites": list(state.sites),
                "peers": list(state.peers),
                "held": _to_hex(state.held),
            }
        case Confirmed():
            return {
                "session": state.session.hex(),
                "peers": list(state.peers),
                "survivors": dict(state.survivors.body()),
                "shares": _to_hex(state.shares),
            }


def _advertised(terms: Terms, site: str, value: Mapping[str, Any]) -> Advertised:
    advertisement = Advertisement.from_bytes(bytes.fromhex(value["advertisement"]))
    return Advertised(terms, site, advertisement, bytes.fromhex(value["seeds"]))


def _shared(terms: Terms, site: str, value: Mapping[str, Any]) -> Shared:
    return Shared(
        terms,
        site,
        bytes.fromhex(value["session"]),
        tuple(value["sites"]),
        _from_hex(value["mask_keys"]),
        bytes.fromhex(value["seeds"]),
        _from_hex(value["opening_keys"]),
        bytes.fromhex(value["own_shares"]),
    )


def _masked(terms: Terms, site: str, value: Mapping[str, Any]) -> Masked:
    session, held = bytes.fromhex(value["session"]), _from_hex(value["held"])
    return Masked(terms, site, session, tuple(value["sites"]), tuple(value["peers"]), held)


def _confirmed(terms: Terms, site: str, value: Mapping[str, Any]) -> Confirmed:
    session, shares = bytes.fromhex(value["session"]), _from_hex(value["shares"])
    survivors = Survivors.from_parts(value["survivors"], {})
    return Confirmed(terms, site, session, tuple(value["peers"]), survivors, shares)


_READERS: Mapping[str, Callable[[Terms, str, Mapping[str, Any]], State]] = {
    "advertised": _advertised,
    "shared": _shared,
    "masked": _masked,
    "confirmed": _confirmed,
}


def _to_hex(values: Mapping[str, bytes]) -> dict[str, str]:
    return {name: value.hex() for name, value in values.items()}


def _from_hex(values: Mapping[str, str]) -> dict[str, bytes]:
    return {name: bytes.fromhex(value) for name, value in values.items()}
