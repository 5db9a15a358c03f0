"""Folders of hubs that can be served, for tests."""

import json
import socket

from aggregator.certificates import issue_server, new_authority, new_server_key
from aggregator.flower.secrets import make_secrets
from aggregator.hub_folder import HubFolder
from federation.files import write_atomically
from federation.identity import Identity


def free_ports(n):
    """Return ports that nobody listens on."""
    probes = [socket.socket() for _ in range(n)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def write_tls(folder, host="127.0.0.1"):
    """Write an authority and the hub's certificate."""
    authority, key = new_authority("Hearts"), new_server_key()
    write_atomically(folder.ca_certificate, authority.certificate)
    write_atomically(folder.server_key, key)
    write_atomically(folder.server_certificate, issue_server(authority, host, key))


def serve_table(port, operator_port, metrics_port):
    """Return the table of a hub file."""
    ports = {"port": port, "operator_port": operator_port, "metrics_port": metrics_port}
    lines = "".join(f"{key} = {value}\n" for key, value in ports.items())
    return f'[serve]\naddress = "127.0.0.1:{port}"\n{lines}'


def write_hub(path):
    """Write the folder of a hub without members."""
    folder = HubFolder(path)
    folder.members.mkdir(parents=True)
    content = 'consortium = "Hearts"\nmembers = "members"\n' + serve_table(*free_ports(3))
    folder.config.write_text(content)
    Identity.load_or_create("Hearts", path / "hub.key")
    write_tls(folder)
    make_secrets(folder)
    return folder


def status_of(folder):
    """Return what the supervisor says."""
    path = folder.supervisor_status
    return json.loads(path.read_text()) if path.exists() else {"programs": {}}
