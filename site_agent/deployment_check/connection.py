"""Whether the hub can be reached, is who it says it is, and has the same time."""

import http.client
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeAlias

from federation.address import split_address
from federation.errors import ConfigError
from federation.expiry import expiry_of
from site_agent.deployment_check.finding import Finding, fail, of_expiry, ok, warn
from site_agent.serve_config import HubConnection

Clock: TypeAlias = Callable[[], float]
"""Returns Unix time in seconds."""

SKEW_WARN_S, SKEW_FAIL_S = 5.0, 120.0
"""Seconds between the clocks of site and hub; Flower proves a node by a signed time stamp."""

_TIMEOUT_S = 10.0
_MOST_BYTES = 65_536
_HOST_MISMATCH, _IP_MISMATCH = 62, 64
_EXPIRED, _NOT_YET = 10, 9


@dataclass(frozen=True)
class Health:
    """What a hub answered.

    Args:
        status: HTTP status.
        date: Unix time of its clock; None where it does not say.
        certificate_ends: Unix time at which its certificate ends.
        waited_s: Seconds from asking to the answer.
    """

    status: int
    date: float | None
    certificate_ends: float
    waited_s: float


def check_connection(hub: HubConnection, clock: Clock) -> Iterator[Finding]:
    """Yield what is found on the way to the hub, up to the first thing that fails.

    Args:
        hub: How it is reached.
        clock: Returns Unix time in seconds.
    """
    try:
        host, port = split_address(hub.address)
        trust = ssl.create_default_context(cafile=str(hub.ca_certificate))
    except (ConfigError, OSError, ssl.SSLError) as error:
        yield fail("hub", f"[hub] in site.toml cannot be used: {error}", "repeat fedprint site init")
        return
    try:
        raw = socket.create_connection((host, port), _TIMEOUT_S)
    except OSError as error:
        yield _unreachable(hub.address, error)
        return
    yield ok("network", f"{hub.address} answers")
    with raw:
        try:
            health = _ask(trust.wrap_socket(raw, server_hostname=host), host, clock)
        except ssl.SSLCertVerificationError as error:
            yield _distrusted(host, error)
        except (OSError, http.client.HTTPException) as error:
            yield fail(
                "certificate",
                f"{hub.address} does not speak TLS as a hub does: {type(error).__name__}",
                "ask the network's people whether something between opens the connection, and the operator "
                "whether the hub serves",
            )
        else:
            yield from _judged(hub.address, health, clock)


def _ask(connection: ssl.SSLSocket, host: str, clock: Clock) -> Health:
    certificate = connection.getpeercert() or {}
    ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    began = clock()
    connection.sendall(f"GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = http.client.HTTPResponse(connection, method="GET")
    answer.begin()
    answer.read(_MOST_BYTES)
    return Health(answer.status, _date(answer.headers.get("Date", "")), ends, clock() - began)


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None


def _judged(address: str, health: Health, clock: Clock) -> Iterator[Finding]:
    now = clock()
    yield ok("identity", f"{address} shows a certificate of the consortium's authority for its name")
    ends = expiry_of("the hub's certificate", health.certificate_ends, now)
    yield of_expiry("certificate", ends, "tell the operator: fedprint hub renew-certificate")
    if health.status != http.client.OK:
        yield warn("health", f"the hub answers with status {health.status}", "tell the operator")
    if health.date is None:
        yield warn("clock", "the hub does not say what time it is", "make sure that NTP runs here")
    else:
        yield _skew(now - health.waited_s / 2 - health.date)


def _skew(ahead: float) -> Finding:
    """Judge how far this machine's clock is ahead of the hub's, which is told in whole seconds."""
    skew = max(0.0, abs(ahead - 0.5) - 0.5)
    side = "ahead of" if ahead > 0 else "behind"
    said = f"this machine's clock is {skew:.0f} s {side} the hub's"
    if skew > SKEW_FAIL_S:
        return fail("clock", f"{said}; the hub would refuse this site", "switch NTP on, such as chrony")
    if skew > SKEW_WARN_S:
        return warn("clock", said, "switch NTP on, such as chrony")
    return ok("clock", "the same time as the hub's")


def _unreachable(address: str, error: OSError) -> Finding:
    if isinstance(error, socket.gaierror):
        return fail("network", f"the name in {address} is not known here", "ask the network's people for DNS")
    if isinstance(error, ConnectionRefusedError):
        return fail("network", f"nothing listens at {address}", "ask the operator whether the hub serves")
    return fail(
        "network",
        f"{address} cannot be reached: {error.strerror or type(error).__name__}",
        f"ask the network's people to allow outgoing TCP to {address}",
    )


def _distrusted(host: str, error: ssl.SSLCertVerificationError) -> Finding:
    if error.verify_code in (_HOST_MISMATCH, _IP_MISMATCH):
        return fail(
            "identity",
            f"the certificate is trusted, but not for {host}",
            "ask the operator for the address that the certificate names, and write it into site.toml",
        )
    if error.verify_code in (_EXPIRED, _NOT_YET):
        return fail(
            "certificate",
            f"the hub's certificate does not hold now: {error.verify_message}",
            "check this machine's date; if it is right, the operator runs fedprint hub renew-certificate",
        )
    return fail(
        "identity",
        f"whoever answers at {host} is not the hub: {error.verify_message}",
        "something between opens the connection (a proxy that inspects TLS), or the address is another "
        "machine's; nothing was sent to it",
    )
