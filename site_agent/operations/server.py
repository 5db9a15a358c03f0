"""Serves a site's metrics and health: ``python -m site_agent.operations.server FOLDER``."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry

from federation import logs
from federation.errors import FedprintError
from federation.operations.readiness import against
from federation.operations.server import Observatory, OperationsServer, listening_at
from site_agent.operations.collector import SiteCollector
from site_agent.operations.site_reading import SiteParts
from site_agent.site_folder import SiteFolder

log = logging.getLogger("fedprint.operations")

DISCONNECTED = "disconnected"


def observatory(parts: SiteParts) -> Observatory:
    """Return what can be asked about a site."""
    registry = CollectorRegistry()
    registry.register(SiteCollector(parts))
    return Observatory(registry, lambda: readiness(parts))


def readiness(parts: SiteParts) -> Mapping[str, str]:
    """Return part → code of what stands against work."""
    found = parts.read()
    ends = () if found.ends is None else found.ends.values()
    standing = against(found.readings.codes, found.disk, ends, found.processes, found.at)
    return standing if found.link.connected else {**standing, "hub": DISCONNECTED}


def main(arguments: list[str]) -> int:
    """Serve until told to stop; the only argument is the site's folder."""
    logs.configure_child("metrics")
    try:
        parts = SiteParts.of(SiteFolder(Path(arguments[0])))
        place = parts.config.serve
        server = OperationsServer(listening_at(place.metrics_host), place.metrics_port, observatory(parts))
    except FedprintError as error:
        log.error("%s", error, extra={"code": error.code})
        return 1
    server.serve_until_told()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
