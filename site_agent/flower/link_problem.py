"""Why the hub cannot be reached, in one sentence and a remedy for somebody who does not know Flower."""

import email.utils
import errno
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from federation.errors import FedprintError

_SKEW_S = 60.0
_CODE = re.compile(r"\[code: (\d+)\]")
_NOT_ACTIVATED = "2004"
_EXPIRED, _NAME, _ADDRESS = 10, 62, 64  # OpenSSL's numbers of what is wrong with a certificate
_REFUSED_KEY = (
    "the hub does not accept this site's node key → if the site is new, wait until the hub has approved its "
    "enrolment; if it took part before, ask the hub whether its membership was revoked or has expired, and "
    "make sure that no other machine runs `fedprint site serve` with this key"
)


def explain(error: BaseException, address: str) -> str:
    """Return why a connection failed and what to do, without anything secret.

    Args:
        error: What was raised; what caused it is looked at, too.
        address: host:port of the hub.
    """
    causes = list(_causes(error))
    for kind, words in _WORDS:
        found = next((each for each in causes if isinstance(each, kind)), None)
        if found is not None:
            return words(found, address)
    if _CODE.search(str(error)):
        return _activation(error)
    if isinstance(error, FedprintError):
        return str(error)
    return (
        f"the connection to the hub at {address} failed ({type(error).__name__}) → it is tried again "
        "by itself; if it persists, look for this moment in logs/supernode.log"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised from, and so on; the one at the root of it last."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _certificate(error: ssl.SSLCertVerificationError, address: str) -> str:
    if error.verify_code == _EXPIRED:
        return (
            f"the certificate of the hub at {address} has expired → ask the hub to renew it; "
            "if it did, set this machine's clock"
        )
    if error.verify_code in (_NAME, _ADDRESS):
        return (
            f"the certificate of the hub at {address} is made out for another name → use the address of your "
            "invitation in site.toml, or ask the hub for a certificate that names this address"
        )
    return (
        f"whoever answers at {address} shows a certificate that the consortium's authority did not sign → "
        "something between here and the hub may read along (ask your network's people for an exception), or "
        "hub/ca.crt is not the consortium's: compare its fingerprint with the hub by phone"
    )


def _no_tls(_error: ssl.SSLError, address: str) -> str:
    return (
        f"{address} does not speak TLS → check host and port in site.toml against your invitation; "
        "if they are right, ask the hub whether a proxy in front of it took the encryption away"
    )


def _no_name(_error: OSError, address: str) -> str:
    return f"the name in {address} is not known here → check it in site.toml, or ask your network's people"


def _timeout(_error: BaseException, address: str) -> str:
    return (
        f"{address} does not answer → ask your network's people to allow outgoing connections to it; "
        "if others reach it, the hub may be down"
    )


def _connect(error: BaseException, address: str) -> str:
    numbers = {each.errno for each in _causes(error) if isinstance(each, OSError)}
    if errno.ECONNREFUSED in numbers:
        return f"nothing listens at {address} → the hub may be down or the port in site.toml be another one"
    return f"{address} cannot be reached → check this machine's network; it is tried again by itself"


def _status(error: httpx.HTTPStatusError, _address: str) -> str:
    skew = _skew(error.response)
    if abs(skew) > _SKEW_S:
        return (
            f"this machine's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the hub's → "
            "let it be set over the network (timedatectl set-ntp true)"
        )
    if error.response.status_code in (401, 412):
        return _REFUSED_KEY
    return (
        f"the hub answered with the HTTP status {error.response.status_code} → if a proxy stands between, "
        "let it pass /v1/fleet/ unchanged; otherwise ask the hub to look into its log"
    )


def _activation(error: BaseException) -> str:
    found = _CODE.search(str(error))
    code = found.group(1) if found else ""
    if code == _NOT_ACTIVATED:
        return _REFUSED_KEY
    return f"the hub refused the connection with code {code} → ask the hub to look into its log"


def _skew(response: httpx.Response) -> float:
    """Seconds that this machine's clock is ahead of the clock of who answered; 0 where it did not say."""
    try:
        told = email.utils.parsedate_to_datetime(response.headers["date"])
    except (KeyError, ValueError):
        return 0.0
    return time.time() - told.timestamp()


_WORDS: tuple[tuple[type[BaseException], Callable[[Any, str], str]], ...] = (
    (ssl.SSLCertVerificationError, _certificate),
    (ssl.SSLError, _no_tls),
    (socket.gaierror, _no_name),
    (httpx.TimeoutException, _timeout),
    (httpx.HTTPStatusError, _status),
    (httpx.TransportError, _connect),
    (ConnectionError, _connect),
)
