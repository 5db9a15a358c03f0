"""A site's folder as ``site init`` leaves it, and a consortium's certificates, without either."""

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from federation.identity import Identity
from site_agent.site_folder import SiteFolder

HUB_KEY = "ab" * 32
_PEM, _SSH = serialization.Encoding.PEM, serialization.Encoding.OpenSSH
_OPEN = serialization.NoEncryption()


@dataclass(frozen=True)
class Authority:
    """Who signs the certificates of a consortium."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, name: str = "consortium", days: int = 30) -> "Authority":
        key, named = ec.generate_private_key(ec.SECP384R1()), _name(name)
        builder = _builder(named, named, key.public_key(), days)
        builder = builder.add_extension(x509.BasicConstraints(True, 0), True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(identifier, False).add_extension(usage, True)
        return cls(key, builder.sign(key, hashes.SHA256()))

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(_PEM)

    def write_server(self, folder: Path) -> tuple[Path, Path]:
        """Write certificate and key of a server on loopback."""
        key = ec.generate_private_key(ec.SECP384R1())
        builder = _builder(_name("hub"), self.certificate.subject, key.public_key(), 30)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        certificate = builder.add_extension(issuer, False).sign(self.key, hashes.SHA256())
        paths = folder / "server.pem", folder / "server.key"
        paths[0].write_bytes(certificate.public_bytes(_PEM))
        paths[1].write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, _OPEN))
        return paths


def write_site(path: Path, authority: Authority, address: str, *ports: int) -> SiteFolder:
    """Write the folder of a site that may be served; ports are those of the runtime and the metrics."""
    runtime_port, metrics_port = ports or (9094, 9465)
    folder = SiteFolder(path)
    folder.state.mkdir(parents=True)
    folder.ca_certificate.parent.mkdir()
    folder.ca_certificate.write_bytes(authority.pem)
    folder.config.write_text(
        f"""
name = "anna"
[hub]
address = "{address}"
consortium = "Test"
public_key = "{HUB_KEY}"
[serve]
runtime_port = {runtime_port}
metrics_port = {metrics_port}
[[dataset]]
format = "npz"
task = "digits"
file = "digits.npz"
modality = "scan"
"""
    )
    folder.policy.write_text(f'schema = 1\n[aggregator]\npublic_keys = ["{HUB_KEY}"]\n')
    write_node_key(folder.node_key)
    Identity.load_or_create("anna", folder.state / "identity.key")
    return folder


def write_node_key(path: Path) -> None:
    """Write a node's private key for its owner alone."""
    key = ec.generate_private_key(ec.SECP384R1())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(key.private_bytes(_PEM, serialization.PrivateFormat.OpenSSH, _OPEN))


def public_node_key(path: Path) -> bytes:
    """Return the public half of a node's key, as Flower registers it."""
    key = serialization.load_ssh_private_key(path.read_bytes(), None)
    return key.public_key().public_bytes(_SSH, serialization.PublicFormat.OpenSSH)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def _builder(subject, issuer, key, days):
    now = datetime.datetime.now(datetime.UTC)
    begun = now - datetime.timedelta(days=40)
    ends = now + datetime.timedelta(days=days)
    return x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), begun, ends)
