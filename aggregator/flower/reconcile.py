"""Keeps the nodes that may connect equal to the members of the consortium."""

import logging
from collections.abc import Mapping
from typing import Protocol

from aggregator.flower.control import FlowerNode
from federation.errors import DeploymentError
from federation.membership import Membership
from federation.node_key import pem_of_public_text

log = logging.getLogger("fedprint.members")


class NodeRegister(Protocol):
    """Where nodes are registered."""

    def nodes(self) -> list[FlowerNode]:
        """Return the registered nodes."""

    def register(self, name: str, node_key: str) -> None:
        """Let a node connect."""

    def unregister(self, node: FlowerNode) -> None:
        """Let a node connect no longer."""


def reconcile(register: NodeRegister, members: Mapping[str, Membership]) -> None:
    """Unregister nodes that are no member's or have another key than it; register those that miss.

    Args:
        register: Flower's register of nodes.
        members: Site → its membership, of those that count now.

    Raises:
        DeploymentError: If the SuperLink cannot be reached or refuses.
    """
    wanted = {(site, pem_of_public_text(member.node_key)) for site, member in members.items()}
    known: set[tuple[str, bytes]] = set()
    for node in register.nodes():
        name_and_key = (node.name, node.public_key)
        if name_and_key in wanted:
            known.add(name_and_key)
        else:
            register.unregister(node)
            log.warning("the node of %s may connect no longer", node.name)
    _register(register, {site: members[site].node_key for site, _ in sorted(wanted - known)})


def _register(register: NodeRegister, missing: Mapping[str, str]) -> None:
    """Register nodes; one that cannot be does not keep the others out."""
    trouble: DeploymentError | None = None
    for site, node_key in missing.items():
        try:
            register.register(site, node_key)
        except DeploymentError as error:
            trouble = error
        else:
            log.info("the node of %s may connect", site)
    if trouble is not None:
        raise trouble
