"""Serves a hub's metrics and health: ``python -m aggregator.operations.server FOLDER``."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry

from aggregator.config import HubConfig
from aggregator.hub_folder import HubFolder
from aggregator.operations.collector import HubCollector
from aggregator.operations.hub_reading import HubParts
from federation import logs
from federation.config_file import read_config
from federation.errors import FedprintError
from federation.operations.readiness import against
from federation.operations.server import Observatory, OperationsServer, listening_at

log = logging.getLogger("fedprint.operations")


def observatory(parts: HubParts) -> Observatory:
    """Return what can be asked about a hub."""
    registry = CollectorRegistry()
    registry.register(HubCollector(parts))
    return Observatory(registry, lambda: readiness(parts))


def readiness(parts: HubParts) -> Mapping[str, str]:
    """Return part → code of what stands against work."""
    found = parts.read()
    ends = () if found.certificates is None else found.certificates.values()
    return against(found.readings.codes, found.disk, ends, found.processes, found.at)


def main(arguments: list[str]) -> int:
    """Serve until told to stop; the only argument is the hub's folder."""
    logs.configure_child("metrics")
    try:
        folder = HubFolder(Path(arguments[0]))
        place = read_config(folder.config, HubConfig).serve
        server = OperationsServer(
            listening_at(place.metrics_host), place.metrics_port, observatory(HubParts.of(folder))
        )
    except FedprintError as error:
        log.error("%s", error, extra={"code": error.code})
        return 1
    server.serve_until_told()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
