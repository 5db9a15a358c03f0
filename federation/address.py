"""Where a hub is reached: ``host:port``."""

import ipaddress
import re

from federation.errors import ConfigError

_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_MOST = 65_535


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of an address; the host of IPv6 stands in brackets.

    Args:
        address: Such as ``hub.example.org:8000``, ``192.0.2.7:8000``, ``[2001:db8::7]:8000``.

    Raises:
        ConfigError: If it is none.
    """
    host, colon, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]") if host.startswith("[") and host.endswith("]") else host
    if colon and _is_port(port) and (_is_ip(bare, 6) if bare != host else is_host(host)):
        return bare, int(port)
    raise ConfigError(
        f"{address!r} is no address",
        remedy="write host:port in lower case, such as hub.example.org:8000 or [2001:db8::7]:8000",
    )


def is_address(value: object) -> bool:
    """Return whether a value is an address."""
    try:
        return isinstance(value, str) and bool(split_address(value))
    except ConfigError:
        return False


def is_host(host: str) -> bool:
    """Return whether a text is a host name in lower case or an IPv4 address."""
    last = host.rpartition(".")[2]
    return _is_ip(host, 4) or (_HOST.fullmatch(host) is not None and not last.isdecimal())


def as_ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return a host as an IP address; None where it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine itself."""
    ip = as_ip(host)
    return host == "localhost" or (ip is not None and ip.is_loopback)


def _is_ip(host: str, version: int) -> bool:
    ip = as_ip(host)
    return ip is not None and ip.version == version and str(ip) == host


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and str(int(text)) == text and 1 <= int(text) <= _MOST
