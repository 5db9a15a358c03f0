import pytest

from federation.address import is_loopback, split_address
from federation.errors import ConfigError


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("hub.example.org:8000", "hub.example.org", 8000),
        ("localhost:1", "localhost", 1),
        ("192.0.2.7:65535", "192.0.2.7", 65535),
        ("[2001:db8::7]:8000", "2001:db8::7", 8000),
    ],
)
def test_host_and_port_are_split(address, host, port):
    assert split_address(address) == (host, port)


@pytest.mark.parametrize(
    "address",
    [
        *("", "hub", "hub:", ":8000", "hub:0", "hub:65536", "hub:080", "hub:８０", "Hub:80", "hub_1:80"),
        *("-hub:80", "https://hub:80", "hub/x:80", "2001:db8::7:80", "[hub]:80", "[192.0.2.7]:80"),
        *("192.0.2.300:80", "a b:80"),
    ],
)
def test_anything_else_is_refused(address):
    with pytest.raises(ConfigError, match="is no address"):
        split_address(address)


def test_loopback_is_this_machine():
    assert is_loopback("localhost")
    assert is_loopback("127.0.0.9")
    assert is_loopback("::1")
    assert not is_loopback("192.0.2.7")
    assert not is_loopback("hub.example.org")
