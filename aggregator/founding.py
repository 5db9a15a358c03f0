"""The first files of a hub: its keys, its certificate and its configuration."""

import json
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from aggregator.certificates import Issued, check_server, issue_server, new_authority, new_server_key
from aggregator.hub_folder import HubFolder
from federation.address import as_ip, is_loopback, split_address
from federation.certificate_file import one_certificate
from federation.errors import ConfigError
from federation.files import create_atomically, make_private, read_file
from federation.identity import Identity
from federation.signed_document import is_text
from federation.space import Space

_TEMPLATE = "hub.example.toml"
_CATALOGUE = "catalogue.sqlite"


@dataclass(frozen=True)
class ImportedTls:
    """A certificate authority that the consortium has already.

    Args:
        ca_certificate: PEM file of its certificate.
        ca_key: PEM file of its key, which then issues the hub's certificates here; None: it stays elsewhere.
        server_certificate: PEM file of a certificate that it issued for the hub; needed without ``ca_key``.
        server_key: PEM file of the key of that certificate.
    """

    ca_certificate: Path
    ca_key: Path | None = None
    server_certificate: Path | None = None
    server_key: Path | None = None

    def __post_init__(self) -> None:
        issued = self.server_certificate is not None, self.server_key is not None
        if issued[0] != issued[1] or issued[0] == (self.ca_key is not None):
            raise ConfigError(
                "--ca-certificate needs either --ca-key, or --server-certificate and --server-key",
                remedy="with the authority's key fedprint issues the hub's certificate; without it name one",
            )


@dataclass(frozen=True)
class Founding:
    """What a new hub is to be.

    Args:
        consortium: Name of the consortium.
        address: host:port at which sites reach it.
        space: File of the space that all sites work in; None: it is put there later.
        database: URL of a database server; None: an SQLite file in the folder.
        tls: The consortium's own authority; None: a new one is made.
    """

    consortium: str
    address: str
    space: Path | None = None
    database: str | None = None
    tls: ImportedTls | None = None


def found_hub(path: Path, founding: Founding) -> Identity:
    """Make a hub's folder, or what is still missing in one; return the hub's identity.

    Files that are there stay as they are. The hub file is written last: once it is there, the hub is whole.

    Args:
        path: The folder.
        founding: What the hub is to be.

    Raises:
        ConfigError: If there is a hub already, or something that was named cannot be used.
        StoreError: If a file cannot be read or written.
    """
    folder = HubFolder(path)
    host, _ = split_address(founding.address)
    if not is_text(founding.consortium):
        raise ConfigError("the consortium's name is empty or too long", remedy="use 1 to 256 characters")
    if folder.config.exists():
        raise ConfigError(f"there is a hub in {path} already", remedy="choose another folder")
    for private in (path, folder.tls, folder.members, folder.invitations):
        make_private(private)
    _put_space(folder, founding.space)
    _put_tls(folder, founding, host)
    identity = Identity.load_or_create(founding.consortium, folder.key)
    create_atomically(folder.config, _config_text(founding).encode())
    return identity


def _put_space(folder: HubFolder, source: Path | None) -> None:
    if source is not None:
        data = read_file(source, "space")
        Space.from_bytes(data)
        _put(folder.space, data)


def _put_tls(folder: HubFolder, founding: Founding, host: str) -> None:
    if founding.tls is not None:
        _import(folder, founding.tls)
    elif not folder.ca_certificate.exists():
        _put_authority(folder, new_authority(founding.consortium))
    if not folder.server_certificate.exists():
        create_atomically(folder.server_key, new_server_key())
        authority = Issued(read_file(folder.ca_certificate, "authority"), read_file(folder.ca_key, "its key"))
        issued = issue_server(authority, host, read_file(folder.server_key, "key"))
        create_atomically(folder.server_certificate, issued)
    check_server(folder.ca_certificate, folder.server_certificate, folder.server_key, host)


def _put_authority(folder: HubFolder, authority: Issued) -> None:
    """Write a new authority; a key that was left without its certificate is of no use."""
    folder.ca_key.unlink(missing_ok=True)
    create_atomically(folder.ca_key, authority.key)
    create_atomically(folder.ca_certificate, authority.certificate)


def _import(folder: HubFolder, tls: ImportedTls) -> None:
    _put(folder.ca_certificate, one_certificate(read_file(tls.ca_certificate, "authority")))
    named = (
        (folder.ca_key, tls.ca_key),
        (folder.server_key, tls.server_key),
        (folder.server_certificate, tls.server_certificate),
    )
    for place, source in named:
        if source is not None:
            _put(place, read_file(source, "file"))


def _put(path: Path, data: bytes) -> None:
    """Write a file that is not there; another one in its place is not overwritten."""
    create_atomically(path, data)
    if read_file(path, "file") != data:
        raise ConfigError(f"{path} exists already and has other content", remedy="choose another folder")


def _config_text(founding: Founding) -> str:
    host, port = split_address(founding.address)
    values = {
        '"CONSORTIUM"': _quoted(founding.consortium),
        '"CATALOGUE"': _quoted(founding.database or _CATALOGUE),
        '"ADDRESS"': _quoted(founding.address),
        '"HOST"': _quoted(_bound_to(host)),
        "\nport = 8000\n": f"\nport = {port}\n",
    }
    text = (Path(__file__).parent / _TEMPLATE).read_text("utf-8")
    for placeholder, value in values.items():
        text = text.replace(placeholder, value, 1)
    return text


def _bound_to(host: str) -> str:
    """Return the address to listen at: every one of this machine, but where sites are on it too."""
    if is_loopback(host):
        return host if as_ip(host) else "127.0.0.1"
    return str(IPv6Address(0) if ":" in host else IPv4Address(0))


def _quoted(text: str) -> str:
    """Return a text as TOML writes it; JSON's escapes are TOML's, printable text has no others."""
    return json.dumps(text, ensure_ascii=False)
