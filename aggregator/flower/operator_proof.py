"""How the hub's own processes prove at the operator's port that they hold its token, without showing it.

While the SuperLink is down, any user of the machine can listen at its port. Who were shown the token could
then do everything at the hub; who is shown a proof has a request that was made once, and nothing else.
"""

import hashlib
import hmac
import time

HEADER = "fedprint-proof"
RECENT_S = 60.0

_SCHEME = "Fedprint-HMAC"
_DOMAIN = b"fedprint operator's request"


def proof(token: str, method: str, path: str, body: bytes, now: float | None = None) -> str:
    """Return the value of the header that proves a request.

    Args:
        token: The operator's token.
        method: Of the request.
        path: Of its target, without host and query.
        body: Its body.
        now: Unix time in seconds; by default the clock's.
    """
    at, digest = f"{time.time() if now is None else now:.3f}", hashlib.sha256(body).hexdigest()
    return f"{_SCHEME} {at} {digest} {_mac(token, method, path, at, digest)}"


def proven_body(token: str, method: str, path: str, shown: str, now: float | None = None) -> str:
    """Return the SHA-256 that the body must have for a header to prove the request; empty: it proves nothing.

    Args:
        token: The operator's token.
        method: Of the request.
        path: Of its target.
        shown: Value of the header.
        now: Unix time in seconds; by default the clock's.
    """
    scheme, at, digest, mac = (*shown.split(" "), "", "", "", "")[:4]
    expected = _mac(token, method, path, at, digest)
    if scheme != _SCHEME or not hmac.compare_digest(mac.encode(), expected.encode()):
        return ""
    return digest if abs((time.time() if now is None else now) - float(at)) < RECENT_S else ""


def _mac(token: str, method: str, path: str, at: str, digest: str) -> str:
    parts = (_DOMAIN, *(part.encode("utf-8", "surrogateescape") for part in (method, path, at, digest)))
    return hmac.new(token.encode(), b"\n".join(parts), hashlib.sha256).hexdigest()
